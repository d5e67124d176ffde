import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from '../../src/content/content.test-helper.ts'
import { ingestContent, inThreadEngine, readContent, sealLeaf } from '../../src/content/index.ts'
import { isHubError } from '../../src/errors.ts'
import { startNode } from '../start-node.ts'
import { WorkerPool } from './pool.ts'

const MiB = 1024 * 1024
const pools: WorkerPool[] = []
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function openPool(size?: number): WorkerPool {
  const pool = new WorkerPool(size)
  pools.push(pool)
  return pool
}

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()))
})

/** Resolves when a worker has started. */
async function warm(pool: WorkerPool): Promise<void> {
  await pool.seal(new Uint8Array(100_000), testKeys)
}

/** A job that kills its worker: a key of no valid length is a bug of the caller’s, not an answer. */
function deadlyJob(pool: WorkerPool): Promise<unknown> {
  return pool.seal(new Uint8Array(new SharedArrayBuffer(100_000)), { ...testKeys, encryption: new Uint8Array(5) })
}

/** Workers of this process. */
async function threads(): Promise<number> {
  const names = (await readdir('/proc/self/task')).map((task) => readFile(`/proc/self/task/${task}/comm`, 'utf8'))
  return (await Promise.all(names)).filter((name) => name.startsWith('artifact-hub')).length
}

const withCode = (code: 'INTERNAL' | 'CLOSED' | 'CORRUPT'): unknown =>
  expect.toSatisfy((error) => isHubError(error, code))

describe('the worker pool', () => {
  test.each([0, 1, 64 * 1024, 64 * 1024 + 1, MiB])('seals and opens %i bytes as one thread does', async (length) => {
    const pool = openPool()
    const chunk = seededBytes('chunk', length)
    const shared = new Uint8Array(new SharedArrayBuffer(length + 1)).subarray(1)
    shared.set(chunk)
    const expected = sealLeaf(chunk, testKeys)
    for (const given of [chunk, shared]) {
      const sealed = await pool.seal(given, testKeys)
      expect(Buffer.compare(sealed.digest, expected.digest)).toBe(0)
      expect(Buffer.compare(sealed.block, expected.block)).toBe(0)
      const opened = await pool.open(new Uint8Array(sealed.block), sealed.digest, testKeys.encryption)
      expect(Buffer.compare(opened, chunk)).toBe(0)
    }
    expect(Buffer.compare(chunk, seededBytes('chunk', length))).toBe(0)
  })

  test('seals into shared memory, and touches nothing beside it', async () => {
    const pool = openPool()
    const chunk = seededBytes('chunk', 200_000)
    const memory = pool.allocate(201_000).fill(7)
    const { digest, block } = await pool.seal(chunk, testKeys, { into: memory.subarray(4) })
    expect([block.buffer === memory.buffer, block.byteOffset, block.length]).toEqual([
      true,
      memory.byteOffset + 4,
      200_028,
    ])
    expect(Buffer.compare(digest, sealLeaf(chunk, testKeys).digest)).toBe(0)
    expect(Buffer.compare(block, sealLeaf(chunk, testKeys).block)).toBe(0)
    expect(Buffer.compare(memory.subarray(0, 4), new Uint8Array(4).fill(7))).toBe(0)
    expect(Buffer.compare(memory.subarray(200_032), new Uint8Array(968).fill(7))).toBe(0)
  })

  test('seals into memory that is not shared too', async () => {
    const into = new Uint8Array(100_028)
    await openPool().seal(seededBytes('chunk', 100_000), testKeys, { into })
    expect(Buffer.compare(into, sealLeaf(seededBytes('chunk', 100_000), testKeys).block)).toBe(0)
  })

  test('opens a leaf that is part of a larger buffer without touching the rest', async () => {
    const pool = openPool()
    const sealed = sealLeaf(seededBytes('chunk', 200_000), testKeys)
    await warm(pool)
    const larger = new Uint8Array(300_000).fill(7)
    larger.set(sealed.block, 1000)
    const opened = await pool.open(
      larger.subarray(1000, 1000 + sealed.block.length),
      sealed.digest,
      testKeys.encryption,
    )
    expect(opened.length).toBe(200_000)
    expect([larger[999], larger[1000 + sealed.block.length], larger.length]).toEqual([7, 7, 300_000])
  })

  test('opens leaves on this thread until a worker has started, and then there', async () => {
    const pool = openPool(1)
    const sealed = sealLeaf(seededBytes('chunk', 200_000), testKeys)
    const leaf = sealed.block.slice()
    await expect(pool.open(seededBytes('other', 200_000), sealed.digest, testKeys.encryption)).rejects.toEqual(
      withCode('CORRUPT'),
    )
    const chunk = await pool.open(leaf, sealed.digest, testKeys.encryption)
    expect(Buffer.compare(chunk, seededBytes('chunk', 200_000))).toBe(0)
    expect(leaf.length).toBe(sealed.block.length)
    for (let moved = false; !moved; ) {
      const another = sealed.block.slice()
      await pool.open(another, sealed.digest, testKeys.encryption)
      moved = another.length === 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    await pool.close()
    const late = pool.open(sealed.block.slice(), sealed.digest, testKeys.encryption)
    await expect(late).rejects.toEqual(withCode('CLOSED'))
  })

  test('hashes blocks on this thread until a worker has started, and then there, the memory around them and all', async () => {
    const pool = openPool()
    const memory = seededBytes('memory', 300_000)
    const expected = createHash('sha256').update(memory.subarray(1_000, 201_000)).digest()
    let block = memory.slice().subarray(1_000, 201_000)
    for (let moved = false; !moved; ) {
      const given = block
      const done = await pool.digest(given)
      expect(Buffer.compare(done.digest, expected)).toBe(0)
      block = done.block
      moved = given.length === 0
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect([block.byteOffset, block.length]).toEqual([1_000, 200_000])
    expect(Buffer.compare(new Uint8Array(block.buffer), memory)).toBe(0)
    const little = new Uint8Array(100)
    expect((await pool.digest(little)).block).toBe(little)
  })

  test('reads a block from its file and hashes it on a worker, once one has started', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-pool-'))
    try {
      const bytes = seededBytes('file', 300_000)
      await writeFile(join(folder, 'pack'), bytes)
      await using file = await open(join(folder, 'pack'))
      const place = { descriptor: file.fd, offset: 1_000, length: 200_000 }
      const pool = openPool()
      expect(pool.digestInPlace(place, new Uint8Array(200_000))).toBe(undefined)
      for (let block = seededBytes('some', 200_000); block.length > 0; await nextTurn()) await pool.digest(block)
      const done = await pool.digestInPlace(place, new Uint8Array(256 * 1024).subarray(0, 200_000))
      const expected = bytes.subarray(1_000, 201_000)
      expect(Buffer.compare(done?.block ?? new Uint8Array(), expected)).toBe(0)
      expect(done?.block.buffer.byteLength).toBe(256 * 1024)
      expect(Buffer.compare(done?.digest ?? expected, createHash('sha256').update(expected).digest())).toBe(0)
      const cut = pool.digestInPlace({ ...place, offset: 200_000 }, new Uint8Array(200_000))
      await expect(cut).rejects.toMatchObject({ code: 'EOF' })
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('hands an error of a job on with its code and details, and the worker lives', async () => {
    const pool = openPool(1)
    await warm(pool)
    const sealed = sealLeaf(seededBytes('chunk', 200_000), testKeys)
    const flipped = sealed.block.slice()
    flipped[500] = (flipped[500] as number) ^ 1
    const error = await pool.open(flipped, sealed.digest, testKeys.encryption).catch((thrown) => thrown)
    expect(isHubError(error, 'CORRUPT') && error.details.cid).toMatch(/^bafkrei/)
    expect((await pool.seal(new Uint8Array(100_000), testKeys)).block.length).toBe(100_028)
  })

  test('ingests what one thread ingests, several contents at once, and reads it back', async () => {
    const pool = openPool()
    await Promise.all(
      [0, 1, 65_000, 70_000, 3 * MiB, 20 * MiB + 11, 21 * MiB].map(async (length) => {
        const bytes = seededBytes(`content ${length}`, length)
        const [inPool, inThread] = [new MemoryBlocks(), new MemoryBlocks()]
        const result = await ingestContent({
          source: inPieces(bytes, 65_536, 1, 999_983),
          keys: testKeys,
          engine: pool,
          blocks: inPool.openWriter(),
        })
        const expected = await ingestContent({
          source: inPieces(bytes, 1_000_000),
          keys: testKeys,
          engine: inThreadEngine,
          blocks: inThread.openWriter(),
        })
        expect(result).toEqual(expected)
        expect([...inPool.blocks.keys()].sort()).toEqual([...inThread.blocks.keys()].sort())
        const pieces = await Array.fromAsync(
          readContent({ root: result, keys: testKeys, blocks: inPool, engine: pool }),
        )
        expect(Buffer.compare(Buffer.concat(pieces), bytes)).toBe(0)
      }),
    )
  })

  test.skipIf(process.platform !== 'linux')('has as many threads as there are cores, and at least two', async () => {
    const pool = openPool()
    expect(await threads()).toBe(0)
    await Promise.all(Array.from({ length: 400 }, () => pool.seal(new Uint8Array(100_000), testKeys)))
    expect(await threads()).toBe(Math.max(2, availableParallelism()))
  })

  test.skipIf(process.platform !== 'linux')('gives a running worker two jobs before it starts another', async () => {
    const pool = openPool(2)
    await warm(pool)
    await Promise.all([1, 2].map(() => pool.seal(new Uint8Array(100_000), testKeys)))
    expect(await threads()).toBe(1)
  })

  test.skipIf(process.platform !== 'linux')('has two workers start in a node that stays', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-pool-'))
    try {
      await using _ = await startNode({ network: 'offline', dataDir: join(folder, 'data') })
      expect(await threads()).toBe(0)
      while ((await threads()) < 2) await new Promise((resolve) => setImmediate(resolve))
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test.skipIf(process.platform !== 'linux')('has two workers start without work, when it was asked to', async () => {
    const pool = openPool(3)
    pool.startSoon()
    while ((await threads()) < 2) await new Promise((resolve) => setImmediate(resolve))
    // Those will do for one job after the other; the third starts when they have enough.
    for (let job = 0; job < 5; job++) await pool.seal(new Uint8Array(100_000), testKeys)
    expect(await threads()).toBe(2)
    await Promise.all(Array.from({ length: 400 }, () => pool.seal(new Uint8Array(100_000), testKeys)))
    expect(await threads()).toBe(3)
  })

  test('when a job has failed because the pool was closed, its memory is not written to any more', async () => {
    const chunk = new Uint8Array(new SharedArrayBuffer(64 * MiB))
    for (let wasEnded = false; !wasEnded; ) {
      const pool = openPool(1)
      await warm(pool)
      const into = new Uint8Array(new SharedArrayBuffer(chunk.length + 28))
      const view = new DataView(into.buffer)
      const written = (): number => {
        let count = 0
        for (let at = MiB; at < chunk.length; at += 64 * 1024) if (view.getBigUint64(at) !== 0n) count++
        return count
      }
      const job = pool.seal(chunk, testKeys, { into }).then(
        () => 'done',
        () => written(),
      )
      while (written() === 0) await new Promise((resolve) => setImmediate(resolve))
      const closing = pool.close()
      const outcome = await job
      await closing
      // On a busy machine it may be done before it is ended.
      wasEnded = outcome !== 'done'
      if (wasEnded) expect(written()).toBe(outcome)
    }
  })

  test('fails the jobs of a worker that dies with INTERNAL, and replaces it', async () => {
    const pool = openPool(1)
    const jobs = [deadlyJob(pool), pool.seal(new Uint8Array(100_000), testKeys)]
    for (const outcome of await Promise.allSettled(jobs)) {
      expect(outcome).toEqual({ status: 'rejected', reason: withCode('INTERNAL') })
    }
    const after = await pool.seal(seededBytes('chunk', 100_000), testKeys)
    expect(after.digest).toEqual(sealLeaf(seededBytes('chunk', 100_000), testKeys).digest)
  })

  test('fails a scan whose worker died, for good, and a new scan works', async () => {
    const pool = openPool(1)
    const scan = pool.openScan(testKeys.chunking)
    await scan.update(new Uint8Array(new SharedArrayBuffer(MiB)))
    await expect(deadlyJob(pool)).rejects.toEqual(withCode('INTERNAL'))
    await expect(scan.update(new Uint8Array(10))).rejects.toEqual(withCode('INTERNAL'))
    await expect(scan.finish()).rejects.toEqual(withCode('INTERNAL'))
    scan.close()
    const next = pool.openScan(testKeys.chunking)
    await next.update(new Uint8Array(MiB))
    expect(Buffer.compare(await next.finish(), createHash('sha256').update(new Uint8Array(MiB)).digest())).toBe(0)
    next.close()
  })

  test('fails an ingest whose worker dies midway, and closes its source', async () => {
    const pool = openPool(2)
    let closed = false
    const piece = seededBytes('content', MiB)
    const deaths: Promise<unknown>[] = []
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        for (let index = 0; ; index++) {
          // Again and again: a worker may die between two jobs of the ingest, which need not notice that.
          if (index >= 20) deaths.push(deadlyJob(pool).catch(() => {}))
          yield piece
        }
      } finally {
        closed = true
      }
    }
    const blocks = new MemoryBlocks()
    const failed = ingestContent({ source: source(), keys: testKeys, engine: pool, blocks: blocks.openWriter() })
    await expect(failed).rejects.toEqual(withCode('INTERNAL'))
    await Promise.all(deaths)
    expect(closed).toBe(true)
  })

  test('closed, once or twice, fails what it was doing and what comes after with CLOSED', async () => {
    const pool = openPool(1)
    const running = Array.from({ length: 6 }, () => pool.seal(new Uint8Array(MiB), testKeys))
    const scan = pool.openScan(testKeys.chunking)
    const scanning = scan.update(new Uint8Array(MiB))
    const outcomes = Promise.allSettled([...running, scanning])
    await Promise.all([pool.close(), pool.close()])
    for (const outcome of await outcomes) expect(outcome).toEqual({ status: 'rejected', reason: withCode('CLOSED') })
    await expect(pool.seal(new Uint8Array(MiB), testKeys)).rejects.toEqual(withCode('CLOSED'))
    scan.close()
    const late = pool.openScan(testKeys.chunking)
    await expect(late.update(new Uint8Array(MiB))).rejects.toEqual(withCode('CLOSED'))
    late.close()
    if (process.platform === 'linux') expect(await threads()).toBe(0)
  })

  test('keeps a process alive while it works and not a moment longer', async () => {
    const pool = new URL('./index.ts', import.meta.url).href
    const program = `
      import { WorkerPool } from ${JSON.stringify(pool)}
      const keys = { encryption: new Uint8Array(32), nonce: new Uint8Array(32), chunking: new Uint8Array(32) }
      const pool = new WorkerPool(2)
      const leaf = await pool.seal(new Uint8Array(300000), keys)
      console.log(leaf.block.length)
    `
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const output: Buffer[] = []
    child.stdout.on('data', (data) => output.push(data))
    const [code] = await once(child, 'close')
    expect(Buffer.concat(output).toString()).toBe('300028\n')
    expect(code).toBe(0)
  })

  test('has its workers keep compiled code where the process does', async () => {
    const pool = new URL('./index.ts', import.meta.url).href
    const directory = await mkdtemp(join(tmpdir(), 'artifact-hub-test-'))
    // What the process itself loads is loaded before it keeps anything.
    const program = `
      import { enableCompileCache } from 'node:module'
      import { WorkerPool } from ${JSON.stringify(pool)}
      enableCompileCache(${JSON.stringify(directory)})
      const pool = new WorkerPool(2)
      await pool.seal(new Uint8Array(300000), { encryption: new Uint8Array(32), nonce: new Uint8Array(32), chunking: new Uint8Array(32) })
      await pool.close()
    `
    try {
      // That of the tests would be kept to.
      const { NODE_COMPILE_CACHE: _, ...env } = process.env
      const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
        stdio: 'inherit',
        env,
      })
      expect(await once(child, 'close')).toEqual([0, null])
      const [version] = await readdir(directory)
      expect(await readdir(join(directory, String(version)))).not.toEqual([])
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
