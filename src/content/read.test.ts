import fc from 'fast-check'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isHubError } from '../errors.ts'
import { leafOverheadBytes, minChunkBytes, treeFanOut } from '../limits.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'
import { MemoryBlocks, seededBytes, testKeys } from './content.test-helper.ts'
import { type ContentEngine, inThreadEngine } from './engine.ts'
import { ingestContent } from './ingest.ts'
import { sealLeaf } from './leaf.ts'
import { type CopyContentOptions, copyContent, type ReadContentOptions, readContent } from './read.ts'
import { TreeBuilder } from './tree.ts'
import { type BlockReader, type ContentRef, type TreeBlock, walkTree } from './tree-walk.ts'

const MiB = 1024 * 1024

async function stored(bytes: Uint8Array): Promise<{ root: ContentRef; blocks: MemoryBlocks }> {
  const blocks = new MemoryBlocks()
  await using writer = blocks.openWriter()
  const read = async (into: Uint8Array, position: number): Promise<number> => {
    const part = bytes.subarray(position, position + into.length)
    into.set(part)
    return part.length
  }
  return {
    root: await ingestContent({ source: { read }, keys: testKeys, engine: inThreadEngine, blocks: writer }),
    blocks,
  }
}

function reading(
  options: Pick<ReadContentOptions, 'root' | 'blocks'> & Partial<ReadContentOptions>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  return readContent({ keys: testKeys, engine: inThreadEngine, ...options })
}

async function readAll(options: Parameters<typeof reading>[0]): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(reading(options)))
}

/** A reader that counts reads, those still running, and may do something before each. */
function watched(inner: BlockReader, before: (read: number, signal?: AbortSignal) => Promise<void> | void = () => {}) {
  const reader = {
    reads: 0,
    running: 0,
    async read(digest: Uint8Array, options?: { signal?: AbortSignal }) {
      reader.running++
      try {
        await before(reader.reads++, options?.signal)
        return await inner.read(digest)
      } finally {
        reader.running--
      }
    },
  }
  return reader
}

describe('reading', () => {
  const bytes = seededBytes('content', 24 * MiB + 5)
  let root: ContentRef
  let blocks: MemoryBlocks
  let leaves: Extract<TreeBlock, { kind: 'leaf' }>[]

  beforeAll(async () => {
    ;({ root, blocks } = await stored(bytes))
    const walked = await Array.fromAsync(walkTree({ root, blocks }))
    leaves = walked.filter((block) => block.kind === 'leaf')
  })

  test('gives any range', async () => {
    const edge = fc.constantFrom(
      ...leaves.flatMap(({ offset }) => [Math.max(0, offset - 1), offset, offset + 1]),
      0,
      bytes.length,
    )
    const place = fc.oneof(fc.nat(bytes.length), edge)
    await fc.assert(
      fc.asyncProperty(place, place, async (a, b) => {
        const [start, end] = a < b ? [a, b] : [b, a]
        const part = await readAll({ root, blocks, range: { offset: start, length: end - start } })
        expect(Buffer.compare(part, bytes.subarray(start, end))).toBe(0)
      }),
      { numRuns: 30 },
    )
    const rest = await readAll({ root, blocks, range: { offset: bytes.length - 10 } })
    expect(Buffer.compare(rest, bytes.subarray(-10))).toBe(0)
  })

  test.each([
    [-1, 1],
    [0, -1],
    [0, bytes.length + 1],
    [bytes.length + 1, 0],
    [0.5, 1],
    [Number.NaN, 1],
    [bytes.length, 1],
  ])('refuses the range at %d of %d bytes', async (offset, length) => {
    await expect(readAll({ root, blocks, range: { offset, length } })).rejects.toMatchObject({ code: 'RANGE_INVALID' })
  })

  test('reads only the leaves of the range', async () => {
    const reader = watched(blocks)
    const second = leaves[1] as (typeof leaves)[number]
    await readAll({ root, blocks: reader, range: { offset: second.offset, length: 1 } })
    expect(reader.reads).toBe(2)
    expect(await readAll({ root, blocks: reader, range: { offset: 5, length: 0 } })).toHaveLength(0)
    expect(reader.reads).toBe(2)
  })

  test('finds the leaf across full nodes by arithmetic', async () => {
    const chunk = seededBytes('the one chunk', minChunkBytes)
    const leaf = sealLeaf(chunk, testKeys)
    const store = new MemoryBlocks()
    const writer = store.openWriter()
    await writer.put(leaf.digest, leaf.block)
    const builder = new TreeBuilder(async (node) => void (await writer.put(node.digest, node.bytes)))
    for (let index = 0; index < treeFanOut + 2; index++) await builder.add(leaf.digest, leaf.block.length)
    const { digest, codec } = await builder.finish()
    const sizeBytes = (treeFanOut + 2) * minChunkBytes
    const far: ContentRef = { digest, codec, sizeBytes, storedBytes: sizeBytes + (treeFanOut + 2) * leafOverheadBytes }
    const range = { offset: treeFanOut * minChunkBytes - 100, length: 300 }
    const part = await readAll({ root: far, blocks: store, range })
    expect(Buffer.compare(part, Buffer.concat([chunk.subarray(-100), chunk.subarray(0, 200)]))).toBe(0)
  })

  test('looks little ahead for the first piece, and never by more than a bound', async () => {
    const reader = watched(blocks)
    const iterator = reading({ root, blocks: reader })
    await iterator.next()
    expect(reader.reads).toBeLessThanOrEqual(6)
    const consumed = { bytes: 0 }
    for await (const piece of iterator) {
      consumed.bytes += piece.length
      const ahead = leaves.slice(0, reader.reads - 1).reduce((sum, leaf) => sum + leaf.blockBytes, 0) - consumed.bytes
      expect(ahead).toBeLessThan(22 * MiB)
    }
  })

  test('stops everything when the consumer stops', async () => {
    const reader = watched(blocks)
    for await (const _ of reading({ root, blocks: reader })) break
    expect(reader.running).toBe(0)
    const { reads } = reader
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(reader.reads).toBe(reads)
  })

  test('checks the leaf of empty content, and gives nothing', async () => {
    const empty = await stored(new Uint8Array(0))
    expect(await Array.fromAsync(reading(empty))).toEqual([])
    empty.blocks.blocks.clear()
    await expect(readAll(empty)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('names the block that is missing, after the bytes before it', async () => {
    const store = new MemoryBlocks()
    for (const [key, block] of blocks.blocks) store.blocks.set(key, block)
    const lost = leaves[4] as (typeof leaves)[number]
    store.blocks.delete(Buffer.from(lost.digest).toString('hex'))
    const pieces: Uint8Array[] = []
    const failed = (async () => {
      for await (const piece of reading({ root, blocks: store })) pieces.push(piece)
    })()
    const cid = cidOf(lost.digest, rawCodec).toString()
    await expect(failed).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { cid } })
    expect(Buffer.compare(Buffer.concat(pieces), bytes.subarray(0, lost.offset))).toBe(0)
    store.blocks.delete(Buffer.from(root.digest).toString('hex'))
    const rootCid = cidOf(root.digest, dagPbCodec).toString()
    await expect(readAll({ root, blocks: store })).rejects.toMatchObject({ details: { cid: rootCid } })
  })

  test('never gives a byte of a block that is not the one named', async () => {
    for (const [index, leaf] of leaves.entries()) {
      if (index % 5 !== 0) continue
      const reader: BlockReader = {
        async read(digest) {
          const block = await blocks.read(digest)
          if (block !== undefined && Buffer.compare(digest, leaf.digest) === 0)
            block[100] = (block[100] as number) ^ 128
          return block
        },
      }
      const iterator = reading({ root, blocks: reader, range: { offset: leaf.offset } })
      await expect(iterator.next()).rejects.toEqual(expect.toSatisfy((error) => isHubError(error, 'CORRUPT')))
      expect(await iterator.next()).toEqual({ done: true, value: undefined })
    }
  })

  test('takes a leaf for corrupt that is genuine but not as long as its tree says', async () => {
    const store = new MemoryBlocks()
    const writer = store.openWriter()
    const short = sealLeaf(seededBytes('short', minChunkBytes), testKeys)
    await writer.put(short.digest, short.block)
    const builder = new TreeBuilder(async (node) => void (await writer.put(node.digest, node.bytes)))
    for (let index = 0; index < 2; index++) await builder.add(short.digest, short.block.length + 7)
    const { digest, codec } = await builder.finish()
    const lying = { digest, codec, sizeBytes: 2 * (minChunkBytes + 7), storedBytes: 2 * (short.block.length + 7) }
    await expect(readAll({ root: lying, blocks: store })).rejects.toMatchObject({ code: 'CORRUPT' })
  })

  test('stops with the signal’s reason at every stage', async () => {
    const reason = new Error('enough')
    for (const at of [0, 1, 3, 10]) {
      const abort = new AbortController()
      const reader = watched(blocks, (read) => {
        if (read === at) abort.abort(reason)
      })
      await expect(readAll({ root, blocks: reader, signal: abort.signal })).rejects.toThrow(reason)
      expect(reader.running).toBe(0)
    }
    await expect(readAll({ root, blocks, signal: AbortSignal.abort(reason) })).rejects.toThrow(reason)
  })

  test('hands its signal to a read that waits', async () => {
    const abort = new AbortController()
    const reader = watched(blocks, async (read, signal) => {
      if (read < 3) return
      abort.abort()
      await new Promise((_, reject) => {
        if (signal?.aborted === true) reject(signal.reason)
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
    })
    await expect(readAll({ root, blocks: reader, signal: abort.signal })).rejects.toMatchObject({ name: 'AbortError' })
    expect(reader.running).toBe(0)
  })

  test('throws what the store throws', async () => {
    const failure = new Error('EIO')
    const reader = watched(blocks, (read) => {
      if (read === 5) throw failure
    })
    await expect(readAll({ root, blocks: reader })).rejects.toBe(failure)
  })
})

describe('copying', () => {
  const bytes = seededBytes('content', 40 * MiB + 5)
  let root: ContentRef
  let blocks: MemoryBlocks
  /** An engine whose memory is overwritten when it is given back. */
  let engine: ContentEngine
  let allocated = 0
  let outstanding = 0

  beforeAll(async () => {
    const made = await stored(bytes)
    root = made.root
    blocks = made.blocks
  })

  beforeEach(() => {
    allocated = 0
    outstanding = 0
    engine = {
      ...inThreadEngine,
      allocate: (length) => {
        allocated++
        outstanding++
        return new Uint8Array(length)
      },
      free: (memory) => {
        memory.fill(0xee)
        outstanding--
      },
    }
  })

  const copying = (options: Partial<CopyContentOptions> & Pick<CopyContentOptions, 'write'>): Promise<void> =>
    copyContent({ root, keys: testKeys, blocks, engine, ...options })

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  test.each([
    ['all', undefined, 0, bytes.length],
    ['the end', { offset: 7 * MiB + 3 }, 7 * MiB + 3, bytes.length],
    ['the middle', { offset: 9 * MiB + 1, length: 11 * MiB }, 9 * MiB + 1, 20 * MiB + 1],
    ['nothing', { offset: 5, length: 0 }, 5, 5],
  ])('writes %s in order, one write at a time, from memory that is bounded', async (_, range, start, end) => {
    const copy = new Uint8Array(bytes.length)
    let at = start
    let writes = 0
    await copying({
      range,
      write: async (parts, offset) => {
        expect([writes++, offset]).toEqual([0, at])
        for (let wait = 0; wait < 20; wait++) await turn()
        for (const part of parts) {
          copy.set(part, at)
          at += part.length
        }
        writes--
      },
    })
    expect(at).toBe(end)
    expect(Buffer.compare(copy.subarray(start, end), bytes.subarray(start, end))).toBe(0)
    expect(allocated).toBeLessThanOrEqual(24)
    expect(outstanding).toBe(0)
  })

  test('gathers what became ready during a write into the next one', async () => {
    const sizes: number[] = []
    await copying({
      write: async (parts) => {
        sizes.push(parts.length)
        for (let wait = 0; wait < 100; wait++) await turn()
      },
    })
    expect(Math.max(...sizes)).toBe(4)
  })

  test('fails with what a write throws, and calls no other', async () => {
    let writes = 0
    const write = async (): Promise<void> => {
      writes++
      await turn()
      throw new Error('the disk')
    }
    await expect(copying({ write })).rejects.toThrow('the disk')
    expect([writes, outstanding]).toEqual([1, 0])
  })

  test('waits for the write under way before it tells of a damaged block, and never writes a byte of that', async () => {
    const leaves = (await Array.fromAsync(walkTree({ root, blocks }))).filter((block) => block.kind === 'leaf')
    const bad = leaves[10] as Extract<TreeBlock, { kind: 'leaf' }>
    const damaged: CopyContentOptions['blocks'] = {
      read: (digest) => blocks.read(digest),
      readInto: async (digest, into) => {
        const length = await blocks.readInto(digest, into)
        if (Buffer.compare(digest, bad.digest) === 0) into[100] = (into[100] as number) ^ 1
        return length
      },
    }
    let written = 0
    let writing = false
    const write = async (parts: readonly Uint8Array[]): Promise<void> => {
      writing = true
      for (let wait = 0; wait < 50; wait++) await turn()
      for (const part of parts) {
        expect(Buffer.compare(part, bytes.subarray(written, written + part.length))).toBe(0)
        written += part.length
      }
      writing = false
    }
    const error = await copying({ blocks: damaged, write }).catch((thrown: unknown) => thrown)
    expect(isHubError(error, 'CORRUPT')).toBe(true)
    expect([writing, outstanding]).toEqual([false, 0])
    expect(written).toBeLessThanOrEqual(bad.offset)
  })

  test('names the block that is missing', async () => {
    const missing: CopyContentOptions['blocks'] = {
      read: (digest) => blocks.read(digest),
      readInto: async () => undefined,
    }
    const error = await copying({ blocks: missing, write: async () => {} }).catch((thrown: unknown) => thrown)
    expect(isHubError(error, 'UNAVAILABLE') && error.details.cid).toMatch(/^bafkrei/)
    expect(outstanding).toBe(0)
  })

  test('stops with the signal’s reason', async () => {
    const stop = new AbortController()
    const write = async (): Promise<void> => stop.abort(new Error('enough'))
    await expect(copying({ signal: stop.signal, write })).rejects.toThrow('enough')
    expect(outstanding).toBe(0)
  })
})
