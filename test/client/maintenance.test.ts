import { readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ArtifactHubNode, Client, Progress } from '../../node/index.ts'
import { expectBytes, failureOf, MiB, rejectionOf, seededBytes, sha256Hex } from './contract-support.ts'
import { openInProcess } from './in-process.ts'

let folder: string
let node: ArtifactHubNode
let client: Client
let close: () => Promise<void>
beforeEach(async () => {
  const opened = await openInProcess()
  folder = opened.folder
  node = opened.node
  client = opened.client
  close = opened.close
})
// Checks every byte of the store.
afterEach(async () => await close())

async function packBytes(): Promise<number> {
  return (await node.du()).reduce((sum, row) => sum + row.packBytes, 0)
}

async function blocks(): Promise<number> {
  return (await node.du()).reduce((sum, row) => sum + row.blocks, 0)
}

/** Bytes of all files below a folder. */
async function bytesBelow(path: string): Promise<number> {
  let sum = 0
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size
  }
  return sum
}

async function checkClean(): Promise<void> {
  expect((await node.check({ readData: true })).findings).toEqual([])
}

describe('an upload that is run again after an interruption', () => {
  test('stores only what is missing, and is one artifact', async () => {
    const data = seededBytes('interrupted', 32 * MiB)
    const path = join(folder, 'large.bin')
    await writeFile(path, data)
    const interrupt = async (share: number): Promise<void> => {
      const controller = new AbortController()
      const onProgress = ({ loaded }: Progress): void => {
        if (loaded >= data.length * share) controller.abort()
      }
      const call = client.artifact.uploadFile({ path, onProgress, signal: controller.signal })
      expect(await rejectionOf(call)).toBe(controller.signal.reason)
    }
    await interrupt(0.1)
    const afterFirst = await packBytes()
    expect(afterFirst).toBeGreaterThan(0.05 * data.length)
    await interrupt(0.5)
    const afterSecond = await packBytes()
    expect(afterSecond).toBeGreaterThan(0.4 * data.length)
    expect((await client.artifact.list()).items).toEqual([])
    expect((await client.namespace.usage()).usedBytes).toBe(0)
    const artifact = await client.artifact.uploadFile({ path })
    // Had anything been stored twice, it would be this much more.
    expect(await packBytes()).toBeLessThan(data.length * 1.01)
    expectBytes(await client.artifact.download({ artifactId: artifact.id }), data)
    expect((await client.artifact.list()).items).toEqual([artifact])
    // It is done: the next one is an artifact of its own.
    const again = await client.artifact.uploadFile({ path })
    expect(again.id).not.toBe(artifact.id)
    expect(again.cid).not.toBe(artifact.cid)
  })

  test('of a file that changed meanwhile stores what the file is now', async () => {
    const path = join(folder, 'edited.bin')
    const data = seededBytes('edited', 24 * MiB)
    await writeFile(path, data)
    const controller = new AbortController()
    const onProgress = ({ loaded }: Progress): void => {
      if (loaded >= data.length / 2) controller.abort()
    }
    await rejectionOf(client.artifact.uploadFile({ path, onProgress, signal: controller.signal }))
    data[MiB] = (data[MiB] as number) ^ 1
    await writeFile(path, data)
    const artifact = await client.artifact.uploadFile({ path })
    expect(artifact.sha256).toBe(sha256Hex(data))
    expect(await packBytes()).toBeLessThan(data.length + 5 * MiB)
  })

  test('that never comes leaves blocks that gc takes', async () => {
    const path = join(folder, 'abandoned.bin')
    await writeFile(path, seededBytes('abandoned', 24 * MiB))
    const controller = new AbortController()
    const onProgress = (): void => controller.abort()
    await rejectionOf(client.artifact.uploadFile({ path, onProgress, signal: controller.signal }))
    expect((await node.gc()).removedBlocks).toBe(0)
    await node.gc({ now: true })
    expect(await blocks()).toBe(0)
    expect((await client.artifact.uploadFile({ path })).version).toBe(1)
  })
})

describe('gc', () => {
  const data = seededBytes('collected', 6 * MiB)
  const edited = Uint8Array.from(data)
  edited[3 * MiB] = (edited[3 * MiB] as number) ^ 1

  test('leaves everything alone while the grace period lasts', async () => {
    const { id: artifactId } = await client.artifact.create({ name: 'x', data })
    const before = await blocks()
    await client.artifact.delete({ artifactId })
    const report = await node.gc()
    expect(report).toMatchObject({ removedBlocks: 0, erasedBodies: 0 })
    expect(report.keptBlocks).toBe(before)
    expect(await blocks()).toBe(before)
  })

  test('frees the blocks of what was deleted, and nothing that anything live shares', async () => {
    const kept = await client.artifact.create({ name: 'kept', data })
    const gone = await client.artifact.create({ name: 'gone', data })
    const versioned = await client.artifact.create({ name: 'versioned', data })
    await client.artifact.update({ artifactId: versioned.id, data: edited })
    await client.artifact.createSnippet({ name: 'inline', content: 'text' })
    const full = await bytesBelow(join(folder, 'data', 'packs'))
    await client.artifact.delete({ artifactId: gone.id })
    await client.artifact.deleteVersion({ artifactId: versioned.id, version: 1 })
    const report = await node.gc({ now: true })
    expect(report.removedBlocks).toBeGreaterThan(5)
    expect(report.freedBytes).toBeGreaterThan(data.length)
    expect(report.erasedBodies).toBe(2)
    expect(await bytesBelow(join(folder, 'data', 'packs'))).toBeLessThan(full - data.length)
    expectBytes(await client.artifact.download({ artifactId: kept.id }), data)
    expectBytes(await client.artifact.download({ artifactId: versioned.id }), edited)
    await checkClean()
    expect(await node.gc({ now: true })).toMatchObject({ removedBlocks: 0, erasedBodies: 0 })
    await client.artifact.delete({ artifactId: kept.id })
    await client.artifact.delete({ artifactId: versioned.id })
    await node.gc({ now: true })
    expect(await blocks()).toBe(0)
    await checkClean()
    expectBytes(
      await client.artifact.download({ artifactId: (await client.artifact.create({ name: 'again', data })).id }),
      data,
    )
  })

  test('takes what a deleted namespace had off the disk at once', async () => {
    const { id: namespace } = await client.namespace.create({ name: 'gone' })
    await client.artifact.create({ name: 'x', data, namespace })
    await client.artifact.createSnippet({ name: 'a word that is nowhere else', content: 'x', namespace })
    expect(await readdir(join(folder, 'data', 'packs'))).toContain(namespace)
    await client.namespace.delete({ namespace })
    expect((await readdir(join(folder, 'data', 'packs'))).join()).not.toContain(namespace)
    expect((await node.du()).map((row) => row.namespace)).not.toContain(namespace)
    expect(await bytesBelow(join(folder, 'data', 'packs'))).toBeLessThan(MiB)
  })

  test('can be aborted, and run again', async () => {
    const { id: artifactId } = await client.artifact.create({ name: 'x', data })
    await client.artifact.delete({ artifactId })
    const signal = AbortSignal.abort(new Error('not now'))
    expect(await rejectionOf(node.gc({ now: true, signal }))).toBe(signal.reason)
    expect(await rejectionOf(node.check({ signal }))).toBe(signal.reason)
    await node.gc({ now: true })
    expect(await blocks()).toBe(0)
  })

  test('beside writes and reads takes nothing that is needed, round after round', async () => {
    const contents = Array.from({ length: 4 }, (_, n) => seededBytes(`beside gc ${n}`, 2 * MiB + n))
    let running = true
    const collector = (async () => {
      let rounds = 0
      for (; running; rounds++) await node.gc({ now: true })
      return rounds
    })()
    const writer = async (lane: number): Promise<void> => {
      const { id: artifactId } = await client.artifact.create({
        name: `lane ${lane}`,
        data: contents[lane] as Uint8Array,
      })
      for (let round = 0; round < 5; round++) {
        const bytes = contents[(lane + round) % contents.length] as Uint8Array
        // Deleted content comes back: its blocks may be found, and must not be taken while they are.
        const { version } = await client.artifact.update({ artifactId, data: bytes })
        expectBytes(await client.artifact.download({ artifactId, version }), bytes)
        await client.artifact.deleteVersion({ artifactId, version: version - 1 })
        const other = await client.artifact.create({ name: 'brief', data: bytes })
        expectBytes(await client.artifact.download({ artifactId: other.id }), bytes)
        await client.artifact.delete({ artifactId: other.id })
      }
      expectBytes(await client.artifact.download({ artifactId }), contents[(lane + 4) % contents.length] as Uint8Array)
    }
    try {
      await Promise.all([0, 1, 2].map(writer))
    } finally {
      running = false
    }
    expect(await collector).toBeGreaterThan(3)
    await checkClean()
    await node.gc({ now: true })
    expect((await client.artifact.list()).items).toHaveLength(3)
    expect(await packBytes()).toBeLessThan(3 * 2.2 * MiB + MiB)
  })
})

describe('check', () => {
  test('counts what it looked at, and is clean beside writes', async () => {
    const data = seededBytes('checked', 3 * MiB)
    const { id: artifactId } = await client.artifact.create({ name: 'x', data })
    await client.artifact.update({ artifactId, content: 'x' })
    const steps = new Set<string>()
    const report = await node.check({ readData: true, onProgress: ({ step }) => steps.add(step) })
    expect(report).toMatchObject({ findings: [], versions: 2, blocks: await blocks() })
    expect(report.bytesRead).toBeGreaterThan(data.length)
    expect(report.entries).toBeGreaterThanOrEqual(4)
    expect(steps.size).toBeGreaterThan(1)
    const writes = Array.from({ length: 60 }, (_, n) => client.artifact.createSnippet({ name: 'beside', content: n }))
    for (let round = 0; round < 3; round++) expect((await node.check()).findings).toEqual([])
    await Promise.all(writes)
  })

  test('with repair changes nothing that is well', async () => {
    const first = await client.artifact.create({ name: 'x', data: seededBytes('well', 2 * MiB) })
    await client.artifact.update({ artifactId: first.id, metadata: { a: 1 } })
    const before = [
      await Array.fromAsync(client.artifact.listVersions({ artifactId: first.id })),
      await client.namespace.usage(),
    ]
    expect((await node.check({ readData: true, repair: true })).findings).toEqual([])
    expect([
      await Array.fromAsync(client.artifact.listVersions({ artifactId: first.id })),
      await client.namespace.usage(),
    ]).toEqual(before)
  })
})

test('a write that was refused before it began leaves nothing on the disk', async () => {
  const { id: namespace } = await client.namespace.create({ name: 'tiny', plan: 'free' })
  const before = await packBytes()
  await failureOf(client.artifact.create({ name: 'x', namespace, data: new Uint8Array(10_000_001) }), 'QUOTA_EXCEEDED')
  await failureOf(client.artifact.create({ name: 'x\0', data: seededBytes('refused', 2 * MiB) }), 'INVALID_ARGUMENT')
  expect(await packBytes()).toBe(before)
})
