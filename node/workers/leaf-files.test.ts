import { type FileHandle, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { seededBytes, testKeys } from '../../src/content/content.test-helper.ts'
import { type LeafFiles, type OutputFile, type PlacedLeaf, sealLeaf } from '../../src/content/index.ts'
import { isHubError } from '../../src/errors.ts'
import { maxBlockBytes } from '../../src/limits.ts'
import { WorkerPool } from './pool.ts'

const chunk = seededBytes('chunk', 700_000)
const sealed = sealLeaf(chunk, testKeys)
const before = 1_000

let folder: string
let pool: WorkerPool
let files: LeafFiles
let packed: FileHandle
let target: FileHandle
let output: OutputFile

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-test-'))
  await writeFile(join(folder, 'packed'), Buffer.concat([seededBytes('before', before), sealed.block, Buffer.alloc(9)]))
  packed = await open(join(folder, 'packed'))
  target = await open(join(folder, 'target'), 'w')
  output = { descriptor: target.fd, path: join(folder, 'target') }
  pool = new WorkerPool(2)
  files = await filesOf(pool)
})

afterEach(async () => {
  await pool.close()
  await packed.close()
  await target.close()
  await rm(folder, { recursive: true })
})

async function filesOf(one: WorkerPool): Promise<LeafFiles> {
  expect(one.inFiles(64 * 1024)).toBeUndefined()
  for (;;) {
    const ready = one.inFiles(64 * 1024 + 1)
    if (ready !== undefined) return ready
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function leaf({ from = 0, to = chunk.length, length = sealed.block.length } = {}): PlacedLeaf {
  const place = { descriptor: packed.fd, offset: before, length }
  return { place, digest: sealed.digest, encryptionKey: testKeys.encryption, part: { from, to } }
}

test('a leaf is on this thread until a worker has started', async () => {
  await using cold = new WorkerPool(1)
  expect(cold.inFiles(1_000_000)).toBeUndefined()
  await filesOf(cold)
  await cold.close()
  await expect(cold.inFiles(1_000_000)?.read(leaf())).rejects.toMatchObject({ code: 'CLOSED' })
})

/** As an upload does. By itself, for a function that waits holds on to all that it had. */
async function sealSome(): Promise<void> {
  const chunks = Array.from({ length: 4 }, () => pool.allocate(2 * 1024 * 1024))
  const blocks = chunks.map((memory) => pool.allocate(memory.length))
  await Promise.all(
    blocks.map((into, at) => pool.seal((chunks[at] as Uint8Array).subarray(0, 700_000), testKeys, { into })),
  )
  for (const memory of [...chunks, ...blocks]) pool.free(memory)
}

/** Of all threads, when what nobody in this one refers to any more is gone. */
function arrayBufferBytes(): number {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
  return process.memoryUsage().arrayBuffers
}

test('of thousands asked for before a worker has started, those over a bound wait for it', async () => {
  await using cold = new WorkerPool(1)
  const here = Array.from({ length: 1_000 }, () => cold.inFiles(maxBlockBytes)).filter((place) => place === undefined)
  expect(here.length * maxBlockBytes).toBe(64 * 1024 * 1024)
  const pieces = await cold.inFiles(maxBlockBytes)?.read(leaf())
  expect(Buffer.compare(Buffer.concat(pieces ?? []), chunk)).toBe(0)
})

const parts: [number, number][] = [
  [0, chunk.length],
  [1, 2],
  [262_143, 262_145],
  [262_144, 524_288],
  [100_000, 600_001],
  [699_999, 700_000],
  [5, 5],
]

test.each(parts)('bytes %i to %i of a leaf are read in pieces that own all of their memory', async (from, to) => {
  const pieces = await files.read(leaf({ from, to }))
  expect(Buffer.compare(Buffer.concat(pieces), chunk.subarray(from, to))).toBe(0)
  expect(new Set(pieces.map(({ buffer }) => buffer)).size).toBe(pieces.length)
  for (const { length, buffer } of pieces) {
    expect(length).toBeGreaterThan(0)
    expect(buffer.byteLength).toBeLessThanOrEqual(256 * 1024)
  }
})

test('reading a leaf has all threads let go of the memory that uploads left', async () => {
  const before = arrayBufferBytes()
  await sealSome()
  expect(arrayBufferBytes() - before).toBeGreaterThan(48 * 1024 * 1024)
  await files.read(leaf())
  while (arrayBufferBytes() - before > 16 * 1024 * 1024) await new Promise((resolve) => setImmediate(resolve))
})

test.each(parts)('bytes %i to %i of a leaf are copied to their place, and nothing else is', async (from, to) => {
  const held = seededBytes('held', 800_000)
  await target.write(held, 0, held.length, 0)
  await files.copy(leaf({ from, to }), output, 4_321)
  const expected = held.slice()
  expected.set(chunk.subarray(from, to), 4_321)
  expect(Buffer.compare(await readFile(output.path), expected)).toBe(0)
})

test('many at once, of several files, do not get mixed up', async () => {
  await Promise.all(
    Array.from({ length: 30 }, (_, at) => files.copy(leaf({ from: at, to: 10_000 + at }), output, at * 10_000)),
  )
  const expected = Array.from({ length: 30 }, (_, at) => chunk.subarray(at, 10_000 + at))
  expect(Buffer.compare(await readFile(output.path), Buffer.concat(expected))).toBe(0)
})

test('a leaf that is not the one named is CORRUPT, and no byte of it comes out', async () => {
  const other = { ...leaf(), digest: new Uint8Array(32) }
  await expect(files.read(other)).rejects.toSatisfy((error) => isHubError(error, 'CORRUPT'))
  await expect(files.copy(other, output, 0)).rejects.toSatisfy((error) => isHubError(error, 'CORRUPT'))
  const wrongKey = { ...leaf(), encryptionKey: new Uint8Array(32) }
  await expect(files.read(wrongKey)).rejects.toSatisfy((error) => isHubError(error, 'CORRUPT'))
  await expect(files.copy(wrongKey, output, 0)).rejects.toSatisfy((error) => isHubError(error, 'CORRUPT'))
  expect(await readFile(output.path)).toHaveLength(0)
  expect(await files.read(leaf({ from: 0, to: 1 }))).toHaveLength(1)
})

test('what the system says of a file is told as Node tells it, and the workers live', async () => {
  const beyond = leaf({ length: sealed.block.length + 100 })
  await expect(files.read(beyond)).rejects.toMatchObject({ code: 'EOF' })
  const isTarget = { ...leaf(), place: { ...leaf().place, descriptor: target.fd } }
  await expect(files.copy(isTarget, output, 0)).rejects.toMatchObject({ code: 'EBADF' })
  expect(await files.read(leaf({ from: 0, to: 1 }))).toHaveLength(1)
})

test('what cannot be written is STORAGE_FAILED or STORAGE_FULL, with the path', async () => {
  const readOnly = { descriptor: packed.fd, path: '/a/path' }
  await expect(files.copy(leaf(), readOnly, 0)).rejects.toMatchObject({
    code: 'STORAGE_FAILED',
    message: expect.stringContaining('/a/path'),
    details: { systemCode: 'EBADF' },
  })
  await using full = await open('/dev/full', 'r+')
  await expect(files.copy(leaf(), { descriptor: full.fd, path: '/a/path' }, 0)).rejects.toMatchObject({
    code: 'STORAGE_FULL',
    message: expect.stringContaining('/a/path'),
  })
})

test('what is still waiting when its signal is aborted is not begun', async () => {
  const stop = new AbortController()
  const reason = new Error('enough')
  const copies = Array.from({ length: 60 }, (_, at) => files.copy(leaf(), output, at * chunk.length, stop.signal))
  const read = files.read(leaf(), stop.signal)
  const outcomes = Promise.allSettled([...copies, read])
  stop.abort(reason)
  const rejected = (await outcomes).filter(({ status }) => status === 'rejected')
  // Two workers have two each by now.
  expect(rejected).toHaveLength(57)
  for (const outcome of rejected) expect(outcome).toMatchObject({ reason })
  expect(await readFile(output.path)).toHaveLength(4 * chunk.length)
  expect(await files.read(leaf({ from: 0, to: 1 }))).toHaveLength(1)
})

test('when a call has failed because the pool was closed, nothing is written any more', async () => {
  const copy = (_: unknown, at: number) => files.copy(leaf(), output, at * chunk.length)
  const copies = Array.from({ length: 60 }, copy)
  await copies[2]
  // A worker may have done all of them by now; these none has begun.
  copies.push(...Array.from({ length: 60 }, copy))
  const outcomes = Promise.allSettled(copies)
  const closing = pool.close()
  await outcomes
  const written = await readFile(output.path)
  await closing
  const rejected = (await outcomes).filter(({ status }) => status === 'rejected')
  expect(rejected.length).toBeGreaterThan(0)
  for (const outcome of rejected) expect(outcome).toMatchObject({ reason: { code: 'CLOSED' } })
  expect(Buffer.compare(await readFile(output.path), written)).toBe(0)
})
