import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CID } from 'multiformats/cid'
import { expect, test } from 'vitest'
import { bytesOf, expectBytes, failureOf, KiB, MiB, seededBytes } from '../client/contract-support.ts'
import { eventually, type TestNode, TestNodes } from './nodes.ts'

const listed = async ({ node }: TestNode, artifactId: string, version?: number) =>
  await eventually(() => node.client.artifact.get({ artifactId, version }))

const namespaceOf = async ({ node }: TestNode) => {
  const status = (await node.status()).namespaces.find(({ name }) => name === 'shared')
  if (status === undefined) throw new Error('not there')
  return status
}

/** Every byte that a node has is what it should be. */
async function expectClean({ node }: TestNode): Promise<void> {
  expect((await node.check({ readData: true })).findings).toEqual([])
}

test('content that others hold is read whole, in part, into a file and through Helia, and is then here', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer', 'reader'])
  const [writer, reader] = others as [TestNode, TestNode]
  const bytes = seededBytes('content', 9 * MiB)
  const { id, cid } = await owner.node.client.artifact.create({ name: 'large.bin', data: bytes })
  await listed(reader, id)
  const usedBytes = async () => (await namespaceOf(reader)).usedBytes
  await eventually(async () => expect(await usedBytes()).toBeGreaterThan(bytes.length))
  const before = await usedBytes()

  // A part fetches a part.
  const { artifact } = reader.node.client
  expectBytes(
    await artifact.download({ artifactId: id, range: { offset: 5 * MiB, length: 10 } }),
    bytes.subarray(5 * MiB, 5 * MiB + 10),
  )
  const part = (await reader.node.du()).reduce((sum, { packBytes }) => sum + packBytes, 0)
  expect(part).toBeGreaterThan(0)
  expect(part).toBeLessThan(6 * MiB)
  const pieces = artifact.downloadStream({ artifactId: id })
  let loaded = 0
  for await (const piece of pieces) {
    loaded += piece.length
    if (loaded > MiB) break
  }
  const target = join(reader.dataDir, '..', 'target.bin')
  await artifact.downloadFile({ artifactId: id, path: target })
  expectBytes(await readFile(target), bytes)

  // Now it is here, whoever goes, and counted as what it is.
  await owner.stop()
  await writer.stop()
  expectBytes(await artifact.download({ artifactId: id }), bytes)
  expect(await usedBytes()).toBe(before)
  await expectClean(reader)

  // Through Helia: the leaves of a content that is elsewhere, and none of it twice on the disk.
  await owner.start()
  await writer.start()
  await writer.node.ping(await owner.node.client.agent.ticket())
  expect((await listed(writer, id)).cid).toBe(cid)
  const fs = await writer.node.unixfs()
  const leaves = await bytesOf(fs.cat(CID.parse(cid)))
  expectBytes(leaves, await bytesOf((await owner.node.unixfs()).cat(CID.parse(cid), { offline: true })))
  const [, shared, ...more] = await writer.node.du()
  expect(more).toEqual([])
  expect(shared?.packBytes).toBeLessThan(leaves.length + 64 * KiB)
  expectBytes(await writer.node.client.artifact.download({ artifactId: id }), bytes)
  await expectClean(writer)
})

test('content that nobody who is there has is UNAVAILABLE, naming who was asked; it comes when somebody does', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer', 'reader'])
  const [writer, reader] = others as [TestNode, TestNode]
  const bytes = seededBytes('absent', 3 * MiB)
  const { id } = await writer.node.client.artifact.create({ name: 'absent.bin', data: bytes })
  await listed(reader, id)
  await listed(owner, id)
  await writer.stop()
  const { details } = await failureOf(reader.node.client.artifact.download({ artifactId: id }), 'UNAVAILABLE')
  const asked = details.asked as string[]
  expect(asked.some((line) => line.startsWith(owner.node.did))).toBe(true)
  expect(asked.some((line) => line.startsWith(writer.node.did))).toBe(true)

  // What it is called can change wherever its bytes are.
  const renamed = await owner.node.client.artifact.update({ artifactId: id, name: 'renamed.bin' })
  expect(renamed).toMatchObject({ version: 2, sizeBytes: bytes.length })
  expect((await listed(reader, id, 2)).name).toBe('renamed.bin')

  await writer.start()
  await writer.node.ping(await owner.node.client.agent.ticket())
  await eventually(async () => expect((await writer.node.client.artifact.get({ artifactId: id })).version).toBe(2))
  await reader.node.ping(await writer.node.client.agent.ticket())
  expectBytes(await reader.node.client.artifact.download({ artifactId: id }), bytes)
})

test('a replica stores all, reads nothing, goes on after a restart, and serves while the author is away', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['replica', 'reader'])
  const [replica, reader] = others as [TestNode, TestNode]
  const bytes = seededBytes('replicated', 4 * MiB)
  const first = await owner.node.client.artifact.create({
    name: 'replicated.bin',
    data: bytes,
    replicas: 1,
  })
  expect(first.replicas).toEqual({ requested: 1, confirmed: [replica.node.did] })
  const note = await owner.node.client.artifact.createSnippet({ name: 'note', content: 'small', replicas: 2 })
  expect(note.replicas?.confirmed.toSorted()).toEqual([replica.node.did, reader.node.did].toSorted())
  const update = await owner.node.client.artifact.update({
    artifactId: first.id,
    data: seededBytes('version 2', 2 * MiB),
    replicas: 2,
    replicaTimeoutMs: 1_500,
  })
  // The reader fetches when it is asked for.
  expect(update.replicas).toEqual({ requested: 2, confirmed: [replica.node.did] })

  expect(await replica.node.client.artifact.list()).toEqual({ items: [] })
  const denied = await failureOf(replica.node.client.artifact.download({ artifactId: first.id }), 'ACCESS_DENIED')
  expect(denied.details).toMatchObject({ role: 'replica', reason: 'no-key' })
  await failureOf(replica.node.client.artifact.createSnippet({ name: 'no', content: 'no' }), 'ACCESS_DENIED')
  await expectClean(replica)

  await eventually(async () =>
    expect((await reader.node.client.artifact.get({ artifactId: first.id })).version).toBe(2),
  )
  const status = await owner.node.client.artifact.status({ artifactId: first.id })
  expect(status.unreachable).toEqual([])
  const held = status.versions.map(({ version, nodes: rows }) => ({
    version,
    ...Object.fromEntries(rows.map(({ did, holds }) => [did, holds])),
  }))
  const all = { [owner.node.did]: 'all', [replica.node.did]: 'all', [reader.node.did]: 'none' }
  expect(held).toEqual([
    { version: 2, ...all },
    { version: 1, ...all },
  ])

  // What is written while it is away it fetches when it is back.
  await replica.stop()
  const later = await owner.node.client.artifact.create({ name: 'later.bin', data: seededBytes('later', 3 * MiB) })
  await replica.start()
  await eventually(async () => {
    const { versions } = await owner.node.client.artifact.status({ artifactId: later.id })
    expect(versions[0]?.nodes).toContainEqual({ did: replica.node.did, holds: 'all' })
  })
  await listed(reader, later.id)
  await reader.node.ping(await replica.node.client.agent.ticket())
  await owner.stop()
  expectBytes(await reader.node.client.artifact.download({ artifactId: later.id }), seededBytes('later', 3 * MiB))
  expectBytes(await reader.node.client.artifact.download({ artifactId: first.id, version: 1 }), bytes)
  const away = await reader.node.client.artifact.status({ artifactId: first.id })
  expect(away.unreachable).toEqual([owner.node.did])
})

test('a node replicates what its tickets name, within the policy’s and the plan’s bounds', async () => {
  await using nodes = new TestNodes()
  const owner = await nodes.start('owner')
  const { client } = owner.node
  await client.namespace.create({ name: 'shared' })
  await client.namespace.use({ namespace: 'shared' })
  const small = await client.artifact.create({ name: 'small.bin', data: seededBytes('small', MiB) })
  const large = await client.artifact.create({ name: 'large.bin', data: seededBytes('large', 3 * MiB) })
  const ticket = await client.namespace.ticket()
  const replica = await nodes.start('replica', { replicate: [ticket] })
  await eventually(async () =>
    expect(await owner.node.ping(await replica.node.client.agent.ticket())).toBeGreaterThan(0),
  )
  await client.namespace.grant({ agent: replica.node.did, role: 'reader' })
  const holds = async (artifactId: string) =>
    (await client.artifact.status({ artifactId })).versions[0]?.nodes.find(({ did }) => did === replica.node.did)?.holds
  await eventually(async () => expect(await holds(small.id)).toBe('all'))
  await eventually(async () => expect(await holds(large.id)).toBe('all'))
  await eventually(async () =>
    expect(await namespaceOf(replica)).toMatchObject({
      role: 'reader',
      policy: { fetch: 'eager' },
      contentsToFetch: 0,
    }),
  )

  await replica.node.client.namespace.setPolicy({ namespace: 'shared', fetch: 'eager', maxBytes: 2 * MiB })
  const over = await client.artifact.create({ name: 'over.bin', data: seededBytes('over', 3 * MiB) })
  const under = await client.artifact.create({ name: 'under.bin', data: seededBytes('under', MiB) })
  await eventually(async () => expect(await holds(under.id)).toBe('all'))
  expect(await holds(over.id)).toBe('none')
  await eventually(async () => expect((await namespaceOf(replica)).contentsToFetch).toBe(1))
  // Started again with its ticket it keeps to the policy.
  await replica.stop()
  await replica.start()
  const next = await client.artifact.create({ name: 'next.bin', data: seededBytes('next', MiB) })
  await eventually(async () => expect(await holds(next.id)).toBe('all'))
  expect((await namespaceOf(replica)).policy).toEqual({ fetch: 'eager', maxBytes: 2 * MiB })
  expect(await holds(over.id)).toBe('none')
  // Small enough for the policy, but not for the plan.
  const { namespace } = replica.node.client
  await namespace.setPlan({ namespace: 'shared', plan: 'free' })
  await namespace.setPolicy({ namespace: 'shared', fetch: 'eager' })
  await eventually(async () => expect(await holds(over.id)).toBe('all'))
  const huge = await client.artifact.create({ name: 'huge.bin', data: seededBytes('huge', 11 * MiB) })
  const last = await client.artifact.create({ name: 'last.bin', data: seededBytes('last', MiB) })
  await eventually(async () => expect(await holds(last.id)).toBe('all'))
  expect(await holds(huge.id)).toBe('none')
  await namespace.setPlan({ namespace: 'shared', plan: 'pro' })
  await eventually(async () => expect(await holds(huge.id)).toBe('all'))
})

test('of an artifact’s versions `status` tells of the newest 100', async () => {
  await using nodes = new TestNodes()
  const { artifact } = (await nodes.start('alone', { network: 'offline', listen: [] })).node.client
  const { id: artifactId } = await artifact.create({ name: 'many', data: Buffer.from('1') })
  for (let version = 2; version <= 102; version += 1)
    await artifact.update({ artifactId, data: Buffer.from(`${version}`) })
  const { versions } = await artifact.status({ artifactId })
  expect(versions.map(({ version }) => version)).toEqual(Array.from({ length: 100 }, (_, at) => 102 - at))
  expect(versions.every(({ nodes: [own, ...others] }) => own?.holds === 'all' && others.length === 0)).toBe(true)
})
