import { describe, expect, it } from 'vitest'
import { converge, NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { type Capability, encodePresentation, type ShareClaims, signCapability } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { deniedFollows, maxFollowsInFrame } from '../limits.ts'
import type { Namespace } from '../namespace/index.ts'
import { World } from './capability-world.test-helper.ts'
import { runFollowBatch } from './follow-batch.ts'
import { runFollowRound } from './follow-round.ts'
import type { SyncMessage } from './sync-codec.ts'
import { onStream, syncProtocol } from './sync-run.ts'
import { SyncStream } from './sync-stream.ts'

/** Artifacts of the owner's, shared with the agent outside, and a log of that agent for them. */
async function shared(world: World, count: number) {
  const { owner, outside } = world
  const artifacts: Uint8Array[] = []
  for (let at = 0; at < count; at++) artifacts.push(await owner.write(`content ${at}`, `name ${at}`))
  const shares: Capability[] = []
  for (const artifact of artifacts) shares.push(await world.share(artifact))
  const log = await world.partial(outside, ...artifacts)
  await log.holdCapabilities(shares.map(({ claims: { artifact, jti } }) => ({ artifact, jti, groups: [] })))
  return { artifacts, shares, log }
}

async function names(log: Namespace, artifacts: readonly Uint8Array[]): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = []
  for (const artifact of artifacts) found.push((await log.catalog.get(artifact))?.state.name)
  return found
}

const none = new Set<number>()

describe('a round about many artifacts', () => {
  it('brings all of them, and is one short question and answer once they are here', async () => {
    const world = await World.make()
    const { artifacts, shares, log } = await shared(world, 20)
    await using _ = world.serve(world.owner)
    expect(await world.askAll(log, shares)).toMatchObject({ asked: 20, denied: none, lacking: none, unlinked: 0 })
    expect(await names(log, artifacts)).toEqual(artifacts.map((_artifact, at) => `name ${at}`))
    const again = await world.askAll(log, shares)
    expect(again).toMatchObject({ asked: 20, denied: none, lacking: none, stored: 0 })
    const shown = shares.reduce((sum, { token }) => sum + token.length, 0)
    expect(again.sentBytes).toBeLessThan(shown + 20 * 80 + 100)
    expect(again.receivedBytes).toBeLessThan(20)
  })

  it('moves only what differs', async () => {
    const world = await World.make()
    const { artifacts, shares, log } = await shared(world, 8)
    await using _ = world.serve(world.owner)
    await world.askAll(log, shares)
    await world.owner.update(artifacts[3] as Uint8Array, 'other', 'another')
    const update = await world.askAll(log, shares)
    expect(update).toMatchObject({ stored: 1, known: 0, denied: none, lacking: none })
    expect((await names(log, artifacts))[3]).toBe('another')
    // Who may do what, and no artifact.
    await world.owner.ns.members.grant({ agent: world.other.id, role: 'reader' })
    expect(await world.askAll(log, shares)).toMatchObject({ stored: 1, known: 0, lacking: none })
    expect(log.roleOf(world.other.id)).toBe('reader')
  })

  it('brings what any of the capabilities for one artifact lets see, in whatever order they are shown, all at once or after the rest', async () => {
    for (const isReversed of [false, true]) {
      for (const isHeldBare of [false, true]) {
        const world = await World.make()
        const { artifacts, shares, log } = await shared(world, 1)
        const [artifact] = artifacts as [Uint8Array]
        const [whole] = shares as [Capability]
        const later = await world.share(artifact, { fromNow: true })
        await log.holdCapabilities([whole, later].map(({ claims: { jti } }) => ({ artifact, jti, groups: [] })))
        await using _ = world.serve(world.owner)
        if (isHeldBare) await world.askAll(log, [later])
        expect(await names(log, artifacts)).toEqual([undefined])
        await world.askAll(log, isReversed ? [later, whole] : [whole, later])
        expect(await names(log, artifacts)).toEqual(['name 0'])
        expect(await Array.fromAsync(log.held.incomplete())).toEqual([])
      }
    }
  })

  it.each([true, false])(
    'shows which of two entries stands on a branch that counts, with the other one of the artifact: %s',
    async (isOfArtifact) => {
      const world = await World.make()
      const { owner, writer } = world
      const { artifacts, shares, log } = await shared(world, 1)
      const [artifact] = artifacts as [Uint8Array]
      await converge(owner, writer)
      await writer.write('before')
      const copy = await new NamespaceNode(2, world.time, { copyOf: writer }).open(owner.ns.id)
      {
        await using _ = world.serve(owner)
        await world.askAll(log, shares)
      }
      await copy.update(artifact, 'lost', 'lost')
      await using serving = world.serve(writer, copy.ns)
      await world.askAll(log, shares, { to: writer })
      expect(await names(log, artifacts)).toEqual(['lost'])
      await serving.close()
      if (isOfArtifact) await writer.update(artifact, 'kept', 'kept')
      for (let at = isOfArtifact ? 1 : 0; at < 30; at++) await writer.write(`beside ${at}`)
      await converge(owner, writer, copy)
      const [fork] = owner.ns.membership.forks
      const tip = [...writer.ns.held.tips()].filter(({ author }) => equalBytes(author, writer.id)).at(-1)
      expect(fork?.seq).toBeLessThan((tip?.seq ?? 0) - 20)
      await owner.ns.members.adopt({ hash: tip?.hash as Uint8Array })
      await using _ = world.serve(owner)
      // The adopt, and what stands in its place; then the headers between.
      await world.askAll(log, shares)
      const again = await world.askAll(log, shares)
      expect(again).toMatchObject({ stored: 29, lacking: none })
      expect(await names(log, artifacts)).toEqual([isOfArtifact ? 'kept' : 'name 0'])
      expect(log.held.unclear).toEqual([])
      // Then it is over.
      expect(await world.askAll(log, shares)).toMatchObject({ stored: 0, known: 0, lacking: none })
    },
  )

  it('is about as many as a frame takes, and goes on with the rest', async () => {
    const world = await World.make()
    const { artifacts, shares, log } = await shared(world, 600)
    await using _ = world.serve(world.owner)
    const first = await world.askAll(log, shares)
    expect(first.asked).toBeLessThanOrEqual(maxFollowsInFrame)
    expect(first.asked).toBeGreaterThan(200)
    let asked = first.asked
    while (asked < shares.length) asked += (await world.askAll(log, shares.slice(asked))).asked
    expect(await names(log, artifacts)).not.toContain(undefined)
  })

  it('denies what an agent shows no right to, and serves the rest', async () => {
    const world = await World.make()
    const { owner, outside, other } = world
    const { artifacts, shares, log } = await shared(world, 4)
    const [first, second] = shares as [Capability, Capability]
    const strange = await world.share(artifacts[0] as Uint8Array, { to: other })
    await owner.ns.sharing.unshare({ artifact: second.claims.artifact, audience: [{ kind: 'agent', id: outside.id }] })
    const forged = signCapability(outside.agent, { ...(first.claims as ShareClaims), issuer: outside.id })
    await using _ = world.serve(owner)
    const outcome = await world.askAll(log, [forged, ...shares, strange])
    expect(outcome).toMatchObject({ asked: 6, denied: new Set([0, 2, 5]), lacking: none })
    expect(await names(log, artifacts)).toEqual(['name 0', undefined, 'name 2', 'name 3'])
    // With all denied, nothing is told: not even whether who may do what is known here as it is there.
    expect(await world.askAll(log, [second, strange])).toMatchObject({ denied: new Set([0, 1]), stored: 0, known: 0 })
    const unheldBy = await world.partial(other, ...artifacts)
    expect(await world.askAll(unheldBy, shares, { as: other })).toMatchObject({
      denied: new Set([0, 1, 2, 3]),
      stored: 0,
    })
    const wrong = { about: artifacts[1] as Uint8Array }
    expect(await world.askAll(log, [first], wrong)).toMatchObject({ denied: new Set([0]), stored: 0 })
  })

  it('is told of where it is served, by what was shown, once it was taken: a refusal with its reason, if that is asked for; and not what gives nothing to anybody', async () => {
    const world = await World.make()
    const { owner, outside, other } = world
    const { artifacts, shares, log } = await shared(world, 4)
    const [first, second, third] = shares as [Capability, Capability, Capability]
    const strange = await world.share(artifacts[0] as Uint8Array, { to: other })
    const forged = signCapability(outside.agent, { ...(first.claims as ShareClaims), issuer: outside.id })
    for (const { claims } of [second, third])
      await owner.ns.sharing.unshare({ artifact: claims.artifact, audience: [{ kind: 'agent', id: outside.id }] })
    const told: string[][] = []
    const name = (jti: Uint8Array) => shares.findIndex(({ claims }) => equalBytes(claims.jti, jti))
    const onAnswered = (agent: Uint8Array, jtis: readonly Uint8Array[]) => {
      told.push(jtis.map((jti) => `${equalBytes(agent, outside.id)} ${name(jti)}`).sort())
    }
    await using _ = world.serve(owner, owner.ns, { onAnswered })
    const stream = new SyncStream(await world.peerOf(outside).open(owner.id, syncProtocol), {
      network: world.peerOf(outside),
      scheduler: world.scheduler,
    })
    const items = [first, second, third, strange, forged].map(({ claims, token }) => ({
      scope: { kind: 'artifact' as const, artifact: claims.artifact },
      claims,
      presentation: encodePresentation(token, undefined),
    }))
    const until = <T>(work: Promise<T>): Promise<T> => world.scheduler.until(work)
    await until(runFollowBatch(stream, log, items))
    expect(told).toEqual([])
    const why = await until(runFollowRound(stream, { log, ...(items[1] as (typeof items)[0]) }))
    expect(why).toMatchObject({ result: 'denied', reason: 'REVOKED' })
    // It went on to ask why; why the one is refused it has not taken yet, and may still ask of the other.
    expect(told).toEqual([['true 0']])
    await until(stream.end())
    while (told.length < 2) await until(Promise.resolve())
    expect(told[1]).toEqual(['true 1', 'true 2'])
  })

  it('is told of as an answer to a share only where that is for whoever asks: a member is given what there is, whatever it shows', async () => {
    const world = await World.make()
    const { writer, owner, outside } = world
    const { artifacts, shares, log } = await shared(world, 1)
    const [share] = shares as [Capability]
    const forged = signCapability(writer.agent, { ...(share.claims as ShareClaims), issuer: writer.id })
    const told: string[] = []
    const onAnswered = (agent: Uint8Array, jtis: readonly Uint8Array[]) => {
      for (const jti of jtis) told.push(`${equalBytes(agent, outside.id)} ${equalBytes(jti, share.claims.jti)}`)
    }
    await using _ = world.serve(owner, owner.ns, { onAnswered })
    const followed = await world.partial(writer, ...artifacts)
    for (const shown of [forged, share]) {
      expect(await world.askAll(followed, [shown], { as: writer })).toMatchObject({ denied: none })
      expect(await world.ask(followed, shown, { as: writer })).not.toMatchObject({ result: 'denied' })
    }
    await world.askAll(log, [share])
    while (told.length === 0) await world.scheduler.until(Promise.resolve())
    expect(told).toEqual(['true true'])
  })

  it('gives nothing more of an artifact that is taken back while it is sent', async () => {
    const world = await World.make()
    const { owner } = world
    const { artifacts, shares, log } = await shared(world, 3)
    const [first] = shares as [Capability]
    const allows = owner.ns.allows.bind(owner.ns)
    let asked = 0
    owner.ns.allows = (question) => {
      asked += 1
      // Each right is looked at once before anything is sent.
      const isOver = asked > shares.length && equalBytes(question.presentation.capability.token, first.token)
      return isOver ? { allowed: false, reason: 'REVOKED' } : allows(question)
    }
    await using _ = world.serve(owner)
    await world.askAll(log, shares)
    expect(await names(log, artifacts)).toEqual([undefined, 'name 1', 'name 2'])
  })

  it('takes no more checks of signatures than its rate for what gives an agent nothing, and goes on later', async () => {
    const world = await World.make()
    const { owner, outside } = world
    const { artifacts, shares, log } = await shared(world, 1)
    const [good] = shares as [Capability]
    const forged = Array.from({ length: 300 }, (_, at) => {
      const jti = new Uint8Array(16)
      new DataView(jti.buffer).setUint32(0, at + 1)
      return signCapability(outside.agent, { ...(good.claims as ShareClaims), issuer: outside.id, jti })
    })
    await using _ = world.serve(owner)
    for (let shown = 0; shown < deniedFollows.burst + forged.length; ) shown += (await world.askAll(log, forged)).asked
    expect((await world.askAll(log, [...forged.slice(0, 100), good])).denied).toContain(100)
    world.scheduler.advance(1_000)
    expect(await world.askAll(log, [good])).toMatchObject({ denied: none })
    expect(await names(log, artifacts)).toEqual(['name 0'])
  })

  it('takes of a former writer nothing that it signed below its cut, and brings what is well of it from a member', async () => {
    for (const isForged of [true, false]) {
      const world = await World.make()
      const { owner, writer, time } = world
      const { artifacts, shares, log } = await shared(world, 2)
      await writer.pull(owner)
      const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(writer.ns.id)
      if (!isForged) await writer.update(artifacts[0] as Uint8Array, 'genuine')
      await writer.write('beside 1')
      await writer.write('beside 2')
      await owner.pull(writer)
      if (isForged) await copy.update(artifacts[0] as Uint8Array, 'forged')
      await owner.ns.members.revoke({ agent: writer.id })
      // It keeps its removal to itself.
      const service = world.serve(writer, isForged ? copy.ns : writer.ns)
      await world.askAll(log, shares, { to: writer })
      expect(await names(log, artifacts)).toEqual([isForged ? 'forged' : 'genuine', 'name 1'])
      await using _ = world.serve(owner)
      const heard = await world.askAll(log, shares)
      expect(log.roleOf(writer.id)).toBeUndefined()
      expect(heard).toMatchObject({ denied: none, lacking: isForged ? none : new Set([0]) })
      expect(await world.askAll(log, shares)).toMatchObject({ lacking: none, stored: isForged ? 0 : 1 })
      const after = isForged ? 'name 0' : 'genuine'
      expect(await names(log, artifacts)).toEqual([after, 'name 1'])
      // By then it is of no use to give it again, in a round or about one artifact.
      expect(await world.askAll(log, shares, { to: writer })).toMatchObject({ stored: 0 })
      await world.ask(log, shares[0] as Capability, { to: writer })
      expect(await names(log, artifacts)).toEqual([after, 'name 1'])
      await service.close()
    }
  })

  it('is held against who asks for one thing twice', async () => {
    const world = await World.make()
    const { shares, log } = await shared(world, 1)
    await using _ = world.serve(world.owner)
    const [one] = shares as [Capability]
    await expect(world.askAll(log, [one, one])).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(world.peerOf(world.owner).penalties.length).toBeGreaterThan(0)
  })

  it('ends for who answers about what was not asked, or follows up what was all denied', async () => {
    const world = await World.make()
    const { owner, outside } = world
    const { shares, log } = await shared(world, 2)
    const item = (share: Capability) => ({
      scope: { kind: 'artifact' as const, artifact: share.claims.artifact },
      claims: share.claims,
      presentation: encodePresentation(share.token, undefined),
    })
    for (const answer of [
      { same: true, differ: [2], denied: [] },
      { same: true, differ: [1], denied: [1] },
    ]) {
      const stop = world.peerOf(owner).handle(syncProtocol, async (peerStream) => {
        const stream = new SyncStream(peerStream, { network: world.peerOf(owner), scheduler: world.scheduler })
        await stream.receive()
        await stream.send({ type: 'followed', ...answer })
        await stream.receive().catch(() => {})
        await stream.end()
      })
      await expect(world.askAll(log, shares)).rejects.toMatchObject({ code: 'CORRUPT' })
      stop()
    }
    await using _ = world.serve(owner)
    const send = async (node: NamespaceNode, ...messages: readonly SyncMessage[]) =>
      await world.scheduler.until(
        onStream({ network: world.peerOf(node), scheduler: world.scheduler, agent: owner.id }, async (stream) => {
          let last: SyncMessage | undefined
          for (const message of messages) {
            await stream.send(message)
            last = await stream.receive()
          }
          return last
        }),
      )
    const rows = shares.map((share) => ({ ...item(share), hash: new Uint8Array(32) }))
    const follow = { type: 'follow', namespace: owner.ns.id, authHash: new Uint8Array(32), rows } as const
    const vector = { type: 'vector', same: false, rows: [], ids: [], wants: [], more: false } as const
    expect(await send(outside, follow)).toMatchObject({ type: 'followed', same: false, differ: [0, 1], denied: [] })
    await expect(send(world.other, follow, vector)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(world.peerOf(owner).penalties.length).toBeGreaterThan(0)
  })
})
