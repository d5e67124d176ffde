import { execFile } from 'node:child_process'
import { mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { eventually } from '../replication/nodes.ts'
import { useFolder } from '../support/data-place.ts'
import { Ledger, sha256Of } from '../support/ledger.ts'
import { bytesOf } from '../support/mixed-workload.ts'

const run = promisify(execFile)
const place = useFolder()
let mounted: string | undefined

beforeEach(async ({ skip }) => {
  const folder = join(place.path, 'small')
  await mkdir(folder)
  const refused = await run('mount', ['-t', 'tmpfs', '-o', 'size=40m,mode=700', 'tmpfs', folder]).then(
    () => undefined,
    (error: Error) => error,
  )
  if (refused !== undefined) skip(`needs to mount a tmpfs: ${refused.message}`)
  mounted = folder
})

afterEach(async () => {
  if (mounted !== undefined) await run('umount', [mounted])
  mounted = undefined
})

const random = numbers(3)

/** Creates until the disk is full; every create before it is acknowledged. Gives how many were. */
async function fill(node: ArtifactHubNode, ledger: Ledger, sizeBytes: number): Promise<number> {
  for (let count = 0; count < 10_000; count++) {
    const data = bytesOf(random, sizeBytes)
    const name = `fill-${sizeBytes}-${count}`
    const key = ledger.begin({ kind: 'create', name, sha256: sha256Of(data) })
    try {
      ledger.acknowledge(key, await node.client.artifact.create({ name, data }))
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORAGE_FULL', retryable: true })
      return count
    }
  }
  throw new Error('the disk never was full')
}

/**
 * LevelDB wants room to open again after a write of it failed, and a delete is an entry too: a database that ran full
 * itself needs some from outside, once. Nothing else does, nor a restart.
 */
async function orWithRoom<T>(work: () => Promise<T>): Promise<T> {
  return await work().catch(async (error) => {
    expect(error).toMatchObject({ code: 'STORAGE_FULL' })
    await rm(ballast())
    return await work()
  })
}

function ballast(): string {
  return join(mounted as string, 'ballast')
}

for (const { what, sizeBytes, atLeast } of [
  { what: 'one chunk', sizeBytes: 400_000, atLeast: 20 },
  { what: 'many chunks', sizeBytes: 12_000_000, atLeast: 1 },
  { what: 'one entry', sizeBytes: 20_000, atLeast: 300 },
]) {
  test(`a disk that fills up with files of ${what} is STORAGE_FULL, loses nothing, and takes more once gc made room`, async () => {
    const ledger = new Ledger()
    const dataDir = join(mounted as string, 'data')
    await writeFile(ballast(), Buffer.alloc(16_000_000))
    {
      await using node = await startNode({ network: 'offline', dataDir })
      expect(await fill(node, ledger, sizeBytes)).toBeGreaterThanOrEqual(atLeast)
      // Full is full, however often one asks.
      await fill(node, ledger, sizeBytes)
      expect(await orWithRoom(() => ledger.verify(node.client))).toBeGreaterThanOrEqual(atLeast)
      for (const { id } of ledger.live) {
        const key = ledger.begin({ kind: 'delete', artifactId: id })
        await orWithRoom(() => node.client.artifact.delete({ artifactId: id }))
        ledger.acknowledge(key)
      }
      expect(ledger.size).toBe(0)
      await orWithRoom(() => node.gc({ now: true }))
      const [usage] = await node.du()
      expect(usage).toMatchObject({ blocks: 0, deadBytes: 0 })
      await ledger.verify(node.client)
      const data = bytesOf(random, sizeBytes)
      const { id } = await node.client.artifact.create({ name: 'after', data })
      expect(sha256Of(await node.client.artifact.download({ artifactId: id }))).toBe(sha256Of(data))
      await node.client.artifact.delete({ artifactId: id })
      expect((await node.check({ readData: true })).findings).toEqual([])
    }
    await using again = await startNode({ network: 'offline', dataDir })
    await ledger.verify(again.client)
    expect((await again.check({ readData: true })).findings).toEqual([])
  })
}

test('a disk that somebody else fills stops writes, not reads, and writes go on once it is freed', async () => {
  const dataDir = join(mounted as string, 'data')
  const ledger = new Ledger()
  await using node = await startNode({ network: 'offline', dataDir })
  for (const sizeBytes of [10, 40_000, 3_000_000]) {
    const data = bytesOf(random, sizeBytes)
    const key = ledger.begin({ kind: 'create', name: `${sizeBytes}`, sha256: sha256Of(data) })
    ledger.acknowledge(key, await node.client.artifact.create({ name: `${sizeBytes}`, data }))
  }
  await writeFile(ballast(), Buffer.alloc(80_000_000)).catch((error) => expect(error.code).toBe('ENOSPC'))
  const written = await Promise.allSettled(
    Array.from({ length: 8 }, (_, at) =>
      node.client.artifact.create({ name: `full-${at}`, data: bytesOf(random, 2_000_000 + at) }),
    ),
  )
  expect(written.map((one) => (one.status === 'rejected' ? one.reason.code : 'stored'))).toEqual(
    Array(8).fill('STORAGE_FULL'),
  )
  await ledger.verify(node.client)
  await rm(ballast())
  const data = bytesOf(random, 2_000_000)
  const { id } = await node.client.artifact.create({ name: 'after', data })
  expect(sha256Of(await node.client.artifact.download({ artifactId: id }))).toBe(sha256Of(data))
  expect((await node.check({ readData: true })).findings).toEqual([])
})

test('on a disk that somebody else filled to the last byte a node starts, reads, and makes room', async () => {
  await run('mount', ['-o', 'remount,size=200m', mounted as string])
  const dataDir = join(mounted as string, 'data')
  const reserve = join(dataDir, 'reserve')
  const ledger = new Ledger()
  const create = async (node: ArtifactHubNode, sizeBytes: number) => {
    const data = bytesOf(random, sizeBytes)
    const key = ledger.begin({ kind: 'create', name: `${sizeBytes}`, sha256: sha256Of(data) })
    const made = await node.client.artifact.create({ name: `${sizeBytes}`, data })
    ledger.acknowledge(key, made)
    return made.id
  }
  let largeId: string
  {
    await using node = await startNode({ network: 'offline', dataDir })
    largeId = await create(node, 3_000_000)
    for (let at = 0; at < 50; at++) await create(node, 30_000 + at)
    await eventually(async () => expect((await stat(reserve)).size).toBeGreaterThan(10_000_000))
  }
  await writeFile(ballast(), Buffer.alloc(300_000_000)).catch((error) => expect(error.code).toBe('ENOSPC'))
  await expect(writeFile(join(dataDir, 'more'), 'x')).rejects.toMatchObject({ code: 'ENOSPC' })
  await rm(join(dataDir, 'more'))
  {
    await using node = await startNode({ network: 'offline', dataDir })
    await ledger.verify(node.client)
    // The disk is still too full for a lock of its own.
    await writeFile(join(mounted as string, 'ballast too'), Buffer.alloc(300_000_000)).catch(() => {})
    await expect(startNode({ network: 'offline', dataDir })).rejects.toMatchObject({ code: 'LOCKED' })
    await rm(join(mounted as string, 'ballast too'))
    const key = ledger.begin({ kind: 'delete', artifactId: largeId })
    await node.client.artifact.delete({ artifactId: largeId })
    ledger.acknowledge(key)
    expect((await node.gc({ now: true })).freedBytes).toBeGreaterThan(2_900_000)
  }
  await using node = await startNode({ network: 'offline', dataDir })
  await ledger.verify(node.client)
  expect((await node.check({ readData: true })).findings).toEqual([])
})

test('a member whose disk is full says so, holds it against nobody, and has everything once there is room', async () => {
  const listen = ['/ip4/127.0.0.1/tcp/0']
  await using owner = await startNode({ dataDir: join(place.path, 'owner'), listen })
  await using member = await startNode({ dataDir: join(mounted as string, 'data'), listen })
  const namespace = 'shared'
  await owner.client.namespace.create({ name: namespace })
  await owner.client.namespace.grant({ namespace, agent: member.did, role: 'writer' })
  await member.client.namespace.join({ ticket: await owner.client.namespace.ticket({ namespace }) })
  await member.client.namespace.setPolicy({ namespace, fetch: 'eager' })
  const of = async (node: ArtifactHubNode) => (await node.status()).namespaces.find(({ name }) => name === namespace)
  await writeFile(ballast(), Buffer.alloc(80_000_000)).catch((error) => expect(error.code).toBe('ENOSPC'))
  for (let at = 0; at < 4; at++) {
    await owner.client.artifact.create({ namespace, name: `file-${at}`, data: bytesOf(random, 2_000_000) })
    for (let note = 0; note < 40; note++)
      await owner.client.artifact.create({ namespace, name: `${at}-${note}`, data: bytesOf(random, 20_000) })
  }
  // A database that ran full itself answers nothing before there is room.
  const trouble = () =>
    of(member).then(
      (status) => status?.sync.lastError,
      (error) => error,
    )
  await eventually(async () => expect(await trouble()).toMatchObject({ code: 'STORAGE_FULL' }))
  await rm(ballast())
  await eventually(async () => {
    const [theirs, ours] = [await of(owner), await of(member)]
    expect(ours).toMatchObject({ logHash: theirs?.logHash, contentsToFetch: 0 })
  })
  for (const node of [owner, member]) {
    const { misbehaviour, refusedAgents } = await node.status()
    expect(Object.values(misbehaviour).filter((count) => count > 0)).toEqual([])
    expect(refusedAgents).toEqual([])
    expect((await node.check({ readData: true })).findings).toEqual([])
  }
})
