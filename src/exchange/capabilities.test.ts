import { describe, expect, it } from 'vitest'
import { NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { type Capability, decodeEnvelope, type ShareClaims, signCapability } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { World } from './capability-world.test-helper.ts'
import { mayRead, readableRoot } from './may-read.ts'
import type { HeldEntries, ReplicatedLog } from './sync-log.ts'

const plain = { result: 'denied', reason: undefined, evidence: [], stored: 0 }

describe('an agent with a capability', () => {
  it('asks again for what came while it was served, which it is told of only from then on', async () => {
    const world = await World.make()
    const { owner, outside } = world
    const wanted = await owner.write('wanted')
    const share = await world.share(wanted)
    const log = await world.partial(outside, wanted)
    let isTold = false
    const onFollowed = () => {
      isTold = true
    }
    await using _ = world.serve(owner, owner.ns, { onFollowed })
    const receive = log.receive.bind(log)
    log.receive = async (...entries) => {
      log.receive = receive
      expect(isTold).toBe(false)
      await owner.ns.sharing.unshare({ artifact: wanted, audience: [{ kind: 'agent', id: outside.id }] })
      return await receive(...entries)
    }
    const first = await world.ask(log, share)
    expect(first.lacking).toBeGreaterThan(0)
    expect(isTold).toBe(true)
    const second = await world.ask(log, share)
    expect(second).toMatchObject({ result: 'denied', reason: 'REVOKED' })
    await log.receive(second.evidence)
    expect(log.membership.refusalOf(share.claims)).toBe('REVOKED')
  })

  it('gets its artifact and nothing else: no other artifact, nor the whole namespace', async () => {
    const world = await World.make()
    const { owner, outside } = world
    const wanted = await owner.write('wanted')
    const other = await owner.write('other')
    const share = await world.share(wanted)
    await using _ = world.serve(owner)
    const log = await world.partial(outside, wanted)
    await log.holdCapabilities([{ artifact: wanted, jti: share.claims.jti, groups: [] }])
    for (const scope of [{ kind: 'artifact', artifact: other }, { kind: 'namespace' }] as const) {
      expect(await world.ask(log, share, { scope })).toMatchObject(plain)
    }
    expect(await world.ask(log, share)).toMatchObject({ result: 'exchanged', lacking: 0, unlinked: 0 })
    expect(await world.ask(log, share)).toMatchObject({ result: 'same' })
    expect((await log.catalog.get(wanted))?.state.name).toBe('wanted')
    expect(await log.catalog.get(other)).toBeUndefined()
    // Its contents, and no other's, also not by the root of one.
    const asker = { agent: outside.id, provider: owner.id, nowMs: world.time.nowMs, presentations: [] }
    const shown = { ...asker, presentations: [{ capability: share, proof: undefined }] }
    const served = {
      roleOf: (agent: Uint8Array) => owner.ns.roleOf(agent),
      allows: (question: Parameters<typeof owner.ns.allows>[0]) => owner.ns.allows(question),
      rootOf: (artifact: Uint8Array, digest: Uint8Array, after: number) =>
        owner.ns.rootOf(artifact, digest, { endedAfterMs: 0, after }),
    }
    const rootOf = async (artifact: Uint8Array) => (await owner.ns.catalog.get(artifact))?.root.digest as Uint8Array
    expect(await readableRoot(served, shown, wanted, await rootOf(wanted))).toBeDefined()
    expect(await readableRoot(served, shown, other, await rootOf(other))).toBeUndefined()
    expect(await readableRoot(served, shown, wanted, await rootOf(other))).toBeUndefined()
    expect(await readableRoot(served, asker, wanted, await rootOf(wanted))).toBeUndefined()
  })

  it('gets nothing by another’s, by one for another namespace or artifact, or by one that it made itself', async () => {
    const world = await World.make()
    const { owner, outside, other } = world
    const wanted = await owner.write('wanted')
    const share = await world.share(wanted)
    const { claims } = share
    await using _ = world.serve(owner)
    const log = await world.partial(other, wanted)
    // Stolen: the connection says who it is.
    expect(await world.ask(log, share, { as: other })).toMatchObject(plain)
    const own = (change: Partial<ShareClaims>): Capability => {
      const audience = [{ kind: 'agent' as const, id: other.id }]
      return signCapability(other.agent, { ...(claims as ShareClaims), issuer: other.id, audience, ...change })
    }
    // Whether the namespace is here it does not learn either.
    for (const forged of [own({}), own({ grant: new Uint8Array(32) }), own({ expires: claims.notBefore + 1 })]) {
      expect(await world.ask(log, forged, { as: other })).toMatchObject(plain)
    }
    // Another namespace of the same owner: what was given there says nothing here.
    const elsewhere = await new NamespaceNode(1, world.time).create()
    const there = await elsewhere.write('there')
    const [given] = await elsewhere.ns.sharing.share({ artifact: there, audience: [{ kind: 'agent', id: outside.id }] })
    const envelope = given && (await elsewhere.ns.sharing.envelopeOf(given))
    const transplanted = decodeEnvelope(envelope as Uint8Array).capability
    const outsideLog = await world.partial(outside, wanted)
    const scope = { kind: 'artifact', artifact: wanted } as const
    expect(await world.ask(outsideLog, transplanted, { scope })).toMatchObject(plain)
    expect(await world.ask(outsideLog, transplanted, { scope: { kind: 'auth' } })).toMatchObject(plain)
  })

  it('is told why it gives nothing any more, with entries that prove it to whoever holds no others', async () => {
    const world = await World.make()
    const { owner, writer, outside } = world
    const wanted = await writer.write('wanted')
    const share = await world.share(wanted, { by: writer })
    const short = await world.share(wanted, { by: writer, expiresIn: 60 })
    await owner.pull(writer)
    await using _ = world.serve(owner)
    const log = await world.partial(outside, wanted)
    await owner.ns.sharing.revokeCapabilities([share.claims.jti])
    const revoked = await world.ask(log, share)
    expect(revoked).toMatchObject({ result: 'denied', reason: 'REVOKED' })
    const verdict = () =>
      log.allows({
        presentation: { capability: share, proof: undefined },
        agent: outside.id,
        provider: owner.id,
        nowMs: world.scheduler.now(),
      })
    expect(log.isIssued(share.claims)).toBe(false)
    await log.receive(revoked.evidence)
    expect(log.isIssued(share.claims)).toBe(true)
    expect(verdict()).toEqual({ allowed: false, reason: 'REVOKED' })
    world.scheduler.advance(200_000)
    expect(await world.ask(log, short)).toMatchObject({ result: 'denied', reason: 'EXPIRED' })
    await owner.ns.members.revoke({ agent: writer.id })
    const removed = await world.ask(log, short)
    expect(removed).toMatchObject({ result: 'denied', reason: 'ISSUER_REMOVED' })
    await log.receive(removed.evidence)
    expect(log.membership.refusalOf(short.claims)).toBe('ISSUER_REMOVED')
  })

  it('that is denied falsely goes on: what a provider says is not believed without proof', async () => {
    const world = await World.make()
    const { owner, writer, outside } = world
    const wanted = await owner.write('wanted')
    const share = await world.share(wanted)
    await writer.pull(owner)
    const log = await world.partial(outside, wanted)
    await using _ = world.serve(owner)
    await world.ask(log, share)
    // A member that lies: it says revoked, and shows what proves nothing.
    const { ns } = writer
    const lying: ReplicatedLog = Object.assign(Object.create(ns) as ReplicatedLog, {
      id: ns.id,
      roleOf: (agent: Uint8Array) => (equalBytes(agent, outside.id) ? undefined : ns.roleOf(agent)),
      allows: () => ({ allowed: false, reason: 'REVOKED' }),
      isIssued: () => true,
      held: Object.assign(Object.create(ns.held) as HeldEntries, {
        evidenceAgainst: async function* () {
          for await (const { bytes } of ns.held.authEntries()) yield bytes
        },
      }),
    })
    await using _liar = world.serve(writer, lying)
    const outcome = await world.ask(log, share, { to: writer })
    expect(outcome).toMatchObject({ result: 'denied', reason: 'REVOKED' })
    expect(outcome.evidence.length).toBeGreaterThan(0)
    await log.receive(outcome.evidence)
    const question = { presentation: { capability: share, proof: undefined }, agent: outside.id, provider: owner.id }
    expect(log.allows({ ...question, nowMs: world.scheduler.now() })).toEqual({ allowed: true })
  })

  it('that is for what comes next gets of earlier versions only that there were some', async () => {
    const world = await World.make()
    const { owner, outside } = world
    const wanted = await owner.write('first')
    const share = await world.share(wanted, { fromNow: true })
    await owner.update(wanted, 'second')
    await using _ = world.serve(owner)
    const log = await world.partial(outside, wanted)
    log.partial?.set(wanted, 1)
    await log.holdCapabilities([{ artifact: wanted, jti: share.claims.jti, groups: [] }])
    expect(await world.ask(log, share)).toMatchObject({ result: 'exchanged', lacking: 0 })
    expect(await log.catalog.get(wanted, 1)).toBeUndefined()
    expect((await log.catalog.get(wanted))?.state.name).toBe('second')
    expect(await world.ask(log, share)).toMatchObject({ result: 'same' })
    const asker = { agent: outside.id, provider: owner.id, nowMs: world.time.nowMs }
    const presentations = [{ capability: share, proof: undefined }]
    const scope = { kind: 'artifact', artifact: wanted } as const
    expect(mayRead(owner.ns, { ...asker, presentations }, scope).allowed).toBe(true)
    const [old, current] = await Promise.all([1, 2].map((number) => owner.ns.catalog.get(wanted, number)))
    const served = {
      roleOf: () => undefined,
      allows: (question: Parameters<typeof owner.ns.allows>[0]) => owner.ns.allows(question),
      rootOf: (artifact: Uint8Array, digest: Uint8Array, after: number) =>
        owner.ns.rootOf(artifact, digest, { endedAfterMs: 0, after }),
    }
    const rootOf = async (digest: Uint8Array | undefined) =>
      await readableRoot(served, { ...asker, presentations }, wanted, digest ?? new Uint8Array(32))
    expect(await rootOf(old?.root.digest)).toBeUndefined()
    expect(await rootOf(current?.root.digest)).toBeDefined()
  })
})
