import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { leafOverheadBytes, maxChunkBytes, maxInlineBytes, minChunkBytes } from '../limits.ts'
import { cidOf } from './cid.ts'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from './content.test-helper.ts'
import { type ContentEngine, inThreadEngine } from './engine.ts'
import { type IngestedContent, type IngestOptions, ingestContent, sealInline } from './ingest.ts'
import { openLeaf } from './leaf.ts'
import { readContent } from './read.ts'
import { walkTree } from './tree-walk.ts'

const MiB = 1024 * 1024

async function ingest(
  options: Partial<IngestOptions> & Pick<IngestOptions, 'source'>,
  store = new MemoryBlocks(),
): Promise<IngestedContent> {
  await using blocks = store.openWriter()
  return await ingestContent({ keys: testKeys, engine: inThreadEngine, blocks, ...options })
}

async function readAll(root: IngestedContent, blocks: MemoryBlocks): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(readContent({ root, keys: testKeys, blocks, engine: inThreadEngine })))
}

function positioned(
  bytes: Uint8Array,
  mostBytes = Number.POSITIVE_INFINITY,
): { read(into: Uint8Array, position: number): Promise<number> } {
  return {
    async read(into, position) {
      const part = bytes.subarray(position, position + Math.min(into.length, mostBytes))
      into.set(part)
      return part.length
    },
  }
}

/** An engine that counts the memory that was not given back. */
function countingEngine(more: Partial<ContentEngine> = {}): ContentEngine & { allocated: number; scans: number } {
  const engine = {
    ...inThreadEngine,
    allocated: 0,
    scans: 0,
    allocate(bytes: number) {
      engine.allocated++
      return new Uint8Array(bytes)
    },
    free() {
      engine.allocated--
    },
    openScan(key: Uint8Array) {
      const scan = inThreadEngine.openScan(key)
      engine.scans++
      let closed = false
      return {
        ...scan,
        close() {
          if (!closed) engine.scans--
          closed = true
        },
      }
    },
    ...more,
  }
  return engine
}

describe('ingest', () => {
  test.each([
    0,
    1,
    maxInlineBytes - 1,
    maxInlineBytes,
    maxInlineBytes + 1,
    minChunkBytes - 1,
    minChunkBytes,
    minChunkBytes + 1,
    MiB - 1,
    MiB,
    MiB + 1,
    maxChunkBytes - 1,
    maxChunkBytes,
    maxChunkBytes + 1,
    9 * MiB,
    9 * MiB + 1,
  ])('stores %i bytes, which read back', async (length) => {
    const bytes = seededBytes('content', length)
    const store = new MemoryBlocks()
    const result = await ingest({ source: positioned(bytes) }, store)
    expect(result.sizeBytes).toBe(length)
    expect(result.storedBytes).toBe(length + result.leaves * leafOverheadBytes)
    expect(Buffer.compare(result.sha256, createHash('sha256').update(bytes).digest())).toBe(0)
    expect(result.newBytes).toBe([...store.blocks.values()].reduce((sum, block) => sum + block.length, 0))
    expect(Buffer.compare(await readAll(result, store), bytes)).toBe(0)
    const walked = await Array.fromAsync(walkTree({ root: result, blocks: store }))
    expect(walked.filter((block) => block.kind === 'leaf').length).toBe(result.leaves)
    expect(walked.length).toBe(store.blocks.size)
  })

  test('gives one root however the source is split', async () => {
    const bytes = seededBytes('content', 11 * MiB + 17)
    const expected = await ingest({ source: positioned(bytes) })
    const size = fc.oneof(
      fc.integer({ min: 1, max: 200_000 }),
      fc.constantFrom(MiB - 1, MiB, MiB + 1, 8 * MiB, 64 * MiB),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(size, { minLength: 1, maxLength: 5 }), fc.boolean(), async (sizes, asPieces) => {
        const most = Math.max(4096, ...sizes)
        const source = asPieces ? inPieces(bytes, ...sizes, most) : positioned(bytes, most)
        expect(await ingest({ source })).toEqual(expected)
      }),
      { numRuns: 12 },
    )
  })

  test('takes empty pieces, and pieces whose memory the source uses again', async () => {
    const bytes = seededBytes('content', 3 * MiB)
    const reused = new Uint8Array(70_001)
    async function* source(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(0)
      for (let at = 0; at < bytes.length; at += reused.length) {
        const part = bytes.subarray(at, at + reused.length)
        reused.set(part)
        yield reused.subarray(0, part.length)
        reused.fill(0)
        yield new Uint8Array(0)
      }
    }
    expect(await ingest({ source: source() })).toEqual(await ingest({ source: positioned(bytes) }))
  })

  test('takes a Node stream for the pieces that it is, though it has a method read', async () => {
    const bytes = seededBytes('content', 3 * MiB)
    const stream = Readable.from(inPieces(bytes, 65_536))
    expect(await ingest({ source: stream })).toEqual(await ingest({ source: positioned(bytes) }))
    expect(stream.destroyed).toBe(true)
  })

  test('stores an unchanged chunk once, within one content and over versions', async () => {
    const bytes = seededBytes('content', 12 * MiB)
    const store = new MemoryBlocks()
    const first = await ingest({ source: positioned(bytes) }, store)
    const again = await ingest({ source: inPieces(bytes, 99_991) }, store)
    expect(again).toEqual({ ...first, newBytes: 0 })
    const edited = Buffer.concat([bytes.subarray(0, 1000), new Uint8Array(1), bytes.subarray(1000)])
    const second = await ingest({ source: positioned(edited) }, store)
    expect(second.newBytes).toBeLessThan(3 * MiB)
    const zeros = await ingest({ source: positioned(new Uint8Array(20 * MiB)) })
    expect(zeros.storedBytes).toBeGreaterThan(20 * MiB)
    expect(zeros.newBytes).toBeLessThan(2 * maxChunkBytes)
  })

  test('under other keys shares no block', async () => {
    const bytes = seededBytes('content', 3 * MiB)
    const store = new MemoryBlocks()
    await ingest({ source: positioned(bytes) }, store)
    const before = store.blocks.size
    const keys = { ...testKeys, encryption: seededBytes('another', 32), nonce: seededBytes('another nonce', 32) }
    const other = await ingest({ source: positioned(bytes), keys }, store)
    expect(store.blocks.size).toBe(before + other.leaves + 1)
  })

  test('tells of every leaf, and progress that only grows up to the end', async () => {
    const bytes = seededBytes('content', 10 * MiB)
    const progress: number[] = []
    let toldBytes = 0
    const result = await ingest({
      source: positioned(bytes),
      onStored: (leafBytes, stored) => {
        expect(stored).toBe(true)
        toldBytes += leafBytes
      },
      onProgress: (loaded) => progress.push(loaded),
    })
    expect(toldBytes).toBe(result.storedBytes)
    expect(progress.length).toBe(result.leaves)
    expect(progress).toEqual([...progress].sort((a, b) => a - b))
    expect(progress.at(-1)).toBe(bytes.length)
  })

  test('resolves only after a sync that follows the last put', async () => {
    const store = new MemoryBlocks()
    let putsAtSync = -1
    store.beforeSync = () => {
      putsAtSync = store.blocks.size
    }
    await ingest({ source: positioned(seededBytes('content', 3 * MiB)) }, store)
    expect(putsAtSync).toBe(store.blocks.size)
    expect(putsAtSync).toBeGreaterThan(1)
  })

  test('syncs on the way, so that an interrupted upload keeps most of its blocks', async () => {
    const store = new MemoryBlocks()
    const blob = seededBytes('content', 8 * MiB)
    let pieces = 0
    async function* source(): AsyncGenerator<Uint8Array> {
      for (; pieces < 20; pieces++) {
        blob[0] = pieces
        for (let at = 0; at < blob.length; at += MiB) blob[at + 5000] = pieces
        yield blob
      }
      throw new Error('cut off')
    }
    await expect(ingest({ source: source() }, store)).rejects.toMatchObject({ code: 'SOURCE_FAILED' })
    expect(store.syncs).toBeGreaterThanOrEqual(1)
  })

  test('stores what a source has given before it gives more', async () => {
    const storedSome = Promise.withResolvers<void>()
    async function* source(): AsyncGenerator<Uint8Array> {
      yield seededBytes('content', 9 * MiB)
      await storedSome.promise
      yield seededBytes('more', 3 * MiB)
    }
    let storedBytes = 0
    const onStored = (leafBytes: number) => {
      storedBytes += leafBytes
      if (storedBytes > 6 * MiB) storedSome.resolve()
    }
    const { sizeBytes } = await ingest({ source: source(), onStored })
    expect(sizeBytes).toBe(12 * MiB)
  })

  test('holds a bounded number of slabs and leaves while the store is slow', async () => {
    const store = new MemoryBlocks()
    let taken = 0
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    store.beforePut = () => gate
    const piece = seededBytes('content', MiB)
    async function* source(): AsyncGenerator<Uint8Array> {
      for (; taken < 200; taken++) yield piece
    }
    const engine = countingEngine()
    const done = ingest({ source: source(), engine }, store)
    let before = -1
    while (before !== taken) {
      before = taken
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
    // 12 leaves of at most 2 MiB, four slabs of 4 MiB, the piece that the source is asked for.
    expect(taken).toBeLessThanOrEqual(12 * 2 + 4 * 4 + 1)
    expect(engine.allocated).toBeLessThanOrEqual(4 + 12)
    release()
    expect((await done).sizeBytes).toBe(200 * MiB)
    expect(engine.allocated).toBe(0)
  })
})

describe('ingest fails once, cleans up and', () => {
  interface Watched {
    readonly source: AsyncGenerator<Uint8Array>
    returned: boolean
  }

  /** A source that notes whether it was closed. */
  function watched(bytes: Uint8Array, onPiece: (index: number) => void | Promise<void> = () => {}): Watched {
    const state = { returned: false, source: generate() }
    async function* generate(): AsyncGenerator<Uint8Array> {
      let index = 0
      try {
        for await (const piece of inPieces(bytes, 300_007)) {
          await onPiece(index++)
          yield piece
        }
      } finally {
        state.returned = true
      }
    }
    return state
  }

  const bytes = seededBytes('content', 14 * MiB)

  async function expectFailure(
    options: Partial<IngestOptions>,
    store: MemoryBlocks,
    matcher: unknown,
    onPiece?: (index: number) => void | Promise<void>,
  ): Promise<void> {
    const engine = countingEngine(options.engine)
    const source = watched(bytes, onPiece)
    await expect(ingest({ source: source.source, ...options, engine }, store)).rejects.toEqual(matcher)
    expect(source.returned).toBe(true)
    expect(engine.allocated).toBe(0)
    expect(engine.scans).toBe(0)
    const blocksThen = store.blocks.size
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(store.blocks.size).toBe(blocksThen)
    expect(store.openWriters).toBe(0)
  }

  const withCode = (
    code: 'SOURCE_FAILED' | 'TOO_LARGE' | 'STORAGE_FULL' | 'INTERNAL' | 'INVALID_ARGUMENT',
    cause?: unknown,
  ): unknown => expect.toSatisfy((error) => isHubError(error, code) && (cause === undefined || error.cause === cause))

  test.each([0, 1, 3, 20, 40])('says SOURCE_FAILED with the cause when the source throws at piece %i', async (at) => {
    const cause = new Error('disk unplugged')
    await expectFailure({}, new MemoryBlocks(), withCode('SOURCE_FAILED', cause), (index) => {
      if (index === at) throw cause
    })
  })

  test('says SOURCE_FAILED when a positioned source fails', async () => {
    const cause = Object.assign(new Error('EIO'), { code: 'EIO' })
    const source = {
      async read(into: Uint8Array, position: number) {
        if (position > 4 * MiB) throw cause
        return into.length
      },
    }
    await expect(ingest({ source })).rejects.toEqual(withCode('SOURCE_FAILED', cause))
    const throwing = {
      read: (): never => {
        throw cause
      },
    }
    await expect(ingest({ source: throwing })).rejects.toEqual(withCode('SOURCE_FAILED', cause))
  })

  test('passes on our own errors and aborts of a source as they are', async () => {
    const own = new ArtifactHubError('NOT_FOUND', 'gone')
    const abort = new DOMException('stopped', 'AbortError')
    for (const error of [own, abort]) {
      await expectFailure(
        {},
        new MemoryBlocks(),
        expect.toSatisfy((thrown) => thrown === error),
        (index) => {
          if (index === 5) throw error
        },
      )
    }
  })

  test('refuses a source of anything but bytes', async () => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield 'text' as unknown as Uint8Array
    }
    await expect(ingest({ source: source() })).rejects.toEqual(withCode('INVALID_ARGUMENT'))
  })

  test.each([0, 3 * MiB, bytes.length - 1])('says TOO_LARGE when there are more than %i bytes', async (maxBytes) => {
    await expectFailure({ maxBytes }, new MemoryBlocks(), withCode('TOO_LARGE'))
  })

  test('takes exactly as many bytes as are allowed', async () => {
    expect((await ingest({ source: positioned(bytes), maxBytes: bytes.length })).sizeBytes).toBe(bytes.length)
  })

  test.each([0, 4, 12])('throws the store’s error of put %i', async (at) => {
    const store = new MemoryBlocks()
    let puts = 0
    store.beforePut = () => {
      if (puts++ >= at) throw new ArtifactHubError('STORAGE_FULL', `put ${at}`)
    }
    await expectFailure({}, store, withCode('STORAGE_FULL'))
  })

  test('throws the store’s error of the last sync', async () => {
    const store = new MemoryBlocks()
    store.beforeSync = () => {
      throw new ArtifactHubError('STORAGE_FULL', 'sync')
    }
    await expect(ingest({ source: positioned(bytes) }, store)).rejects.toEqual(withCode('STORAGE_FULL'))
  })

  test('throws what the quota and the progress callback throw', async () => {
    const thrown = new Error('over quota')
    const fail = (): never => {
      throw thrown
    }
    const same = expect.toSatisfy((error) => error === thrown)
    await expectFailure({ onStored: fail }, new MemoryBlocks(), same)
    await expectFailure({ onProgress: fail }, new MemoryBlocks(), same)
  })

  test('throws the engine’s error when a job fails', async () => {
    let seals = 0
    const engine: ContentEngine = {
      ...inThreadEngine,
      seal: async (chunk, keys) => {
        if (seals++ === 3) throw new ArtifactHubError('INTERNAL', 'worker died')
        return await inThreadEngine.seal(chunk, keys)
      },
    }
    const store = new MemoryBlocks()
    await expect(ingest({ source: positioned(bytes), engine }, store)).rejects.toEqual(withCode('INTERNAL'))
    expect(store.openWriters).toBe(0)
  })

  test('stops with the signal’s reason, whatever stage an abort meets', async () => {
    const reason = new Error('changed my mind')
    const same = expect.toSatisfy((error) => error === reason)
    for (const at of [0, 2, 7, 30]) {
      const abort = new AbortController()
      await expectFailure({ signal: abort.signal }, new MemoryBlocks(), same, (index) => {
        if (index === at) abort.abort(reason)
      })
    }
    for (const stage of ['beforePut', 'beforeSync'] as const) {
      const abort = new AbortController()
      const store = new MemoryBlocks()
      store[stage] = () => abort.abort(reason)
      const engine = countingEngine()
      await expect(ingest({ source: positioned(bytes), signal: abort.signal, engine }, store)).rejects.toEqual(same)
      expect(engine.allocated).toBe(0)
    }
    const store = new MemoryBlocks()
    await expect(ingest({ source: positioned(bytes), signal: AbortSignal.abort(reason) }, store)).rejects.toEqual(same)
    expect(store.blocks.size).toBe(0)
  })

  test('closes a source that it never read from because the signal was aborted already', async () => {
    let returned = false
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false as const, value: new Uint8Array(1) }),
        return: async () => {
          returned = true
          return { done: true as const, value: undefined }
        },
      }),
    }
    await expect(ingest({ source, signal: AbortSignal.abort() })).rejects.toThrow()
    expect(returned).toBe(true)
  })

  test('does not wait for a source that is stuck when it is aborted', async () => {
    const abort = new AbortController()
    let returned = false
    const source = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          queueMicrotask(() => abort.abort())
          return new Promise<never>(() => {})
        },
        return: () => {
          returned = true
          return new Promise<never>(() => {})
        },
      }),
    }
    await expect(ingest({ source, signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(returned).toBe(true)
  })
})

describe('inline content', () => {
  test.each([0, 1, maxInlineBytes])('of %i bytes has the root that its ingest has', async (length) => {
    const bytes = seededBytes('inline', length)
    const inline = sealInline(bytes, testKeys)
    const { newBytes, leaves, ...stored } = await ingest({ source: positioned(bytes) })
    const { leaf, ...described } = inline
    expect(described).toEqual(stored)
    expect(leaves).toBe(1)
    expect(newBytes).toBe(leaf.length)
    expect(Buffer.compare(openLeaf(leaf, inline.digest, testKeys.encryption), bytes)).toBe(0)
    expect(cidOf(inline.digest, inline.codec)).toMatch(/^bafkrei/)
  })

  test('above the bound is TOO_LARGE', () => {
    expect(() => sealInline(new Uint8Array(maxInlineBytes + 1), testKeys)).toThrow(
      expect.toSatisfy((error) => isHubError(error, 'TOO_LARGE')),
    )
  })
})
