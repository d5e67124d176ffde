import { expect, test, vi } from 'vitest'
import { lookupsIn } from '../../test/support/map-lookups.ts'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf, forge } from '../../test/support/sharing-nodes.ts'
import { type Audience, decodeEnvelope, sealEnvelope, signCapability } from '../capability/index.ts'
import { boxedKeyBytes, boxTagBytes } from '../identity/index.ts'
import { maxBoxesOfHeal } from '../limits.ts'
import { encodeAuthBody, type KeySection } from '../log/index.ts'
import { sealShareBody } from '../sharing/index.ts'
import { encodeShareBody } from './share-book.ts'

/** An owner and a writer, of whom the latter writes what it likes. */
async function pair() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  const artifact = await owner.write('one', 'report')
  const [share] = await owner.ns.sharing.share({ artifact, audience: [agentOf(new NamespaceNode(3, time))] })
  if (share === undefined) return expect.fail('it was shared')
  await converge(owner, writer)
  const keyId = (await owner.ns.catalog.get(artifact))?.root.keyId as Uint8Array
  return { time, owner, writer, artifact, share, keyId }
}

type Pair = Awaited<ReturnType<typeof pair>>

/** Has the writer write a share entry that is as it should be, but that no key is sealed for it. */
async function shareBare({ owner, writer, artifact, share }: Pair, jti: Uint8Array, audience: Audience) {
  const { ns, agent, env } = writer
  const told = decodeEnvelope((await owner.ns.sharing.envelopeOf(share)) as Uint8Array)
  const [epoch] = ns.keyring.epochHeads()
  const grant = ns.membership.grantsOf(agent.publicKey)[0]?.hash
  if (epoch === undefined || grant === undefined) return expect.fail('it has an epoch')
  const claims = { ...told.capability.claims, issuer: agent.publicKey, grant, audience: [audience], jti }
  const bytes = sealEnvelope(agent, { ...told, capability: signCapability(agent, claims) })
  const plaintext = encodeShareBody({ kind: 'share', bytes })
  const data = { artifactSalt: share.artifactSalt, parents: [], gen: 0, root: undefined, versions: [], jti }
  const entry = forge(writer, { kind: 'share', keyId: epoch.id, data }, (place) => {
    const key = { secret: epoch.secret, namespace: ns.id, artifact }
    return { body: sealShareBody(key, plaintext, { namespace: ns.id, author: writer.id, ...place }, env.random(12)) }
  })
  expect(await ns.receive([entry])).toMatchObject({ stored: 1 })
}

const agentNumbered = (at: number): Audience => {
  return { kind: 'agent', id: new NamespaceNode(100 + at, new TestTime()).id }
}

test('what looks for lacking boxes costs what there are shares and boxes, not one times the other, though all have one name', async () => {
  const jti = new Uint8Array(16).fill(5)
  const cost = async (count: number): Promise<number> => {
    const world = await pair()
    const { owner, writer, share, keyId, artifact } = world
    const { artifactSalt } = share
    const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [] }
    for (let at = 0; at < count; at += 1)
      await shareBare(world, jti, { kind: 'group', id: new Uint8Array(32).fill(at) })
    for (let at = 0; at < count; at += 50) {
      const boxes = Array.from({ length: 50 }, () => ({
        keyId,
        tag: new Uint8Array(boxTagBytes),
        box: new Uint8Array(boxedKeyBytes),
        label: { jti, epoch: writer.env.random(16) },
      }))
      const keys: KeySection = { wraps: [], ephemeral: new Uint8Array(32).fill(9), boxes }
      expect(await writer.ns.receive([forge(writer, { kind: 'keys', keyId, data }, () => ({ keys }))])).toMatchObject({
        stored: 1,
      })
    }
    await owner.pull(writer)
    expect(await owner.ns.sharing.of(artifact)).toHaveLength(count + 1)
    return await lookupsIn(() => owner.ns.healer.run())
  }
  expect(await cost(200)).toBeLessThan(3 * (await cost(100)))
})

test('many descriptors of one group cost what there are of them', async () => {
  const cost = async (count: number): Promise<number> => {
    const { time, owner, writer } = await pair()
    const group = await new NamespaceNode(20, time).create({ isGroup: true })
    const admin = await new NamespaceNode(21, time).join(group)
    await group.ns.members.grant({ agent: admin.id, role: 'admin' })
    await admin.pull(group)
    for (let at = 0; at < count; at += 1) {
      await admin.ns.members.rotate()
      const shown = (await admin.ns.descriptors.own()) ?? expect.fail('it has an epoch')
      const body = encodeAuthBody({ kind: 'descriptor', ...shown, role: undefined })
      const entry = forge(writer, { kind: 'descriptor', keyId: undefined, data: undefined }, () => ({ body }))
      expect(await writer.ns.receive([entry])).toMatchObject({ stored: 1 })
    }
    const told = await Array.fromAsync(writer.ns.held.entriesBeyond(owner.ns.held.vector()))
    const lookups = await lookupsIn(async () => {
      for (let at = 0; at < told.length; at += 40) await owner.ns.receive(told.slice(at, at + 40))
      for (const _ of told) owner.ns.descriptors.newest(group.ns.id)
    })
    expect(owner.ns.descriptors.newest(group.ns.id)?.epoch).toEqual(admin.ns.membership.groups.epoch?.epoch)
    return lookups
  }
  expect(await cost(160)).toBeLessThan(3 * (await cost(80)))
})

test('a share that says nothing with its key in hand is read once', async () => {
  const { owner, writer, artifact, share } = await pair()
  const [epoch] = writer.ns.keyring.epochHeads()
  const jti = new Uint8Array(16).fill(5)
  const data = { artifactSalt: share.artifactSalt, parents: [], gen: 0, root: undefined, versions: [], jti }
  for (let at = 0; at < 10; at += 1) {
    const entry = forge(writer, { kind: 'share', keyId: epoch?.id, data }, () => ({
      body: new Uint8Array(99).fill(at),
    }))
    expect(await writer.ns.receive([entry])).toMatchObject({ stored: 1 })
  }
  await owner.pull(writer)
  expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
  const reading = vi.spyOn(owner.ns.log, 'unverifiedMany')
  expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
  expect(reading.mock.calls.flatMap(([hashes]) => hashes)).toEqual([])
})

/** Has the writer seal fresh keys by name, so many in an entry. */
async function sealByName({ writer, share, keyId }: Pair, entries: number, keysOfEntry: number) {
  const data = { artifactSalt: share.artifactSalt, parents: [], gen: 0, root: undefined, versions: [] }
  for (let at = 0; at < entries; at += 1) {
    const boxes = Array.from({ length: keysOfEntry }, () => {
      const [tag, box] = [new Uint8Array(boxTagBytes), new Uint8Array(boxedKeyBytes)]
      return { keyId: writer.env.random(16), tag, box, label: undefined }
    })
    const keys: KeySection = { wraps: [], ephemeral: new Uint8Array(32).fill(9), boxes }
    await writer.ns.receive([forge(writer, { kind: 'keys', keyId, data }, () => ({ keys }))])
  }
}

test('a look for what is sealed by name alone reads each entry once, however many keys it seals', async () => {
  const world = await pair()
  const { time, owner, writer } = world
  const former = await new NamespaceNode(5, time).join(owner)
  await owner.ns.members.grant({ agent: former.id, role: 'reader' })
  await owner.ns.members.revoke({ agent: former.id })
  await writer.pull(owner)
  const entries = 300
  await sealByName(world, entries, 16)
  await owner.pull(writer)
  const reading = vi.spyOn(owner.ns.log, 'readableMany')
  expect(await owner.ns.healer.owedKeys()).toEqual([writer.id])
  const read = reading.mock.calls.reduce((sum, [hashes]) => sum + hashes.length, 0)
  expect(read).toBeGreaterThanOrEqual(entries)
  expect(read).toBeLessThan(2 * entries)
})

test('who shares an artifact does not go through all the keys that somebody says it has', async () => {
  const world = await pair()
  const { time, owner, writer, artifact } = world
  await sealByName(world, 10, 100)
  await owner.pull(writer)
  let rows = 0
  const entries = owner.store.entries.bind(owner.store)
  vi.spyOn(owner.store, 'entries').mockImplementation(async function* (...range) {
    for await (const row of entries(...range)) {
      rows += 1
      yield row
    }
  })
  await owner.ns.sharing.share({ artifact, audience: [agentOf(new NamespaceNode(6, time))] })
  expect(rows).toBeLessThan(100)
})

test('keys that thousands of shares lack are sealed some at a time, and all in the end', async () => {
  const world = await pair()
  const { time, owner, writer, artifact } = world
  const bob = agentOf(new NamespaceNode(4, time))
  const keys = 92
  for (let at = 1; at < keys; at += 1) {
    await owner.ns.sharing.share({ artifact, audience: [bob] })
    await owner.ns.sharing.unshare({ artifact, audience: [bob] })
    await owner.update(artifact, `version ${at}`, 'report')
  }
  const shares = 92
  for (let at = 0; at < shares; at += 1) await shareBare(world, writer.env.random(16), agentNumbered(at))
  await owner.pull(writer)
  const boxes: number[] = []
  owner.ns.subscribe(({ entries }) => {
    let count = 0
    for (const { keys } of entries) count += keys?.boxes.length ?? 0
    boxes.push(count)
  })
  const total = () => boxes.reduce((sum, count) => sum + count, 0)
  await owner.ns.healer.run()
  expect(Math.max(...boxes)).toBeLessThanOrEqual(2_048)
  expect(total()).toBe(maxBoxesOfHeal)
  expect(owner.ns.healer.isPutOff).toBe(true)
  await owner.ns.healer.run()
  expect(owner.ns.healer.isPutOff).toBe(false)
  expect(total()).toBe(keys * shares)
  expect(await owner.ns.healer.run()).toBe(0)
})
