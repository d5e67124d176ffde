import fc from 'fast-check'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isHubError } from '../errors.ts'
import { leafOverheadBytes, maxUnorderedBytes, minChunkBytes, treeFanOut } from '../limits.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'
import { MemoryBlocks, seededBytes, testKeys } from './content.test-helper.ts'
import { type ContentEngine, inThreadEngine, type LeafFiles, type PlacedLeaf } from './engine.ts'
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
    const cid = cidOf(lost.digest, rawCodec)
    await expect(failed).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { cid } })
    expect(Buffer.compare(Buffer.concat(pieces), bytes.subarray(0, lost.offset))).toBe(0)
    store.blocks.delete(Buffer.from(root.digest).toString('hex'))
    const rootCid = cidOf(root.digest, dagPbCodec)
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

describe('leaves in files', () => {
  const bytes = seededBytes('content', 24 * MiB + 5)
  const path = 'the file'
  let root: ContentRef
  let blocks: MemoryBlocks
  let leaves: Extract<TreeBlock, { kind: 'leaf' }>[]
  /** Blocks that are in files too: a place's descriptor is the number of a leaf, from 100 on. */
  let placed: BlockReader & {
    places: number
    reads: number
    lengthOff: number
    isHere: (digest: Uint8Array) => boolean
  }
  let copy: Uint8Array
  let running = 0

  beforeAll(async () => {
    ;({ root, blocks } = await stored(bytes))
    leaves = (await Array.fromAsync(walkTree({ root, blocks }))).filter((block) => block.kind === 'leaf')
  })

  beforeEach(() => {
    copy = new Uint8Array(bytes.length)
    running = 0
    placed = {
      places: 0,
      reads: 0,
      lengthOff: 0,
      isHere: () => true,
      async read(digest) {
        this.reads++
        return await blocks.read(digest)
      },
      async inPlace(digest, use) {
        this.places++
        if (!this.isHere(digest)) return undefined
        const index = leaves.findIndex((leaf) => Buffer.compare(leaf.digest, digest) === 0)
        const length = (leaves[index] as TreeBlock).blockBytes - this.lengthOff
        return await use({ descriptor: 100 + index, offset: 7, length })
      },
    }
  })

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  const chunkOf = async ({ place, digest, encryptionKey, part }: PlacedLeaf): Promise<Uint8Array<ArrayBuffer>> => {
    running++
    // Those that come later are ready sooner.
    for (let wait = 0; wait < (place.descriptor % 5) * 3; wait++) await turn()
    running--
    const leaf = await blocks.read(digest)
    return (await inThreadEngine.open(leaf as Uint8Array<ArrayBuffer>, digest, encryptionKey)).subarray(
      part.from,
      part.to,
    )
  }

  /** An engine that opens leaves where they are, from the second one on. */
  function fileEngine(more: Partial<LeafFiles> = {}): ContentEngine {
    let asked = 0
    const files: LeafFiles = {
      read: async (leaf) => {
        const chunk = await chunkOf(leaf)
        return [chunk.subarray(0, 1000), chunk.subarray(1000)]
      },
      copy: async (leaf, output, offset) => {
        expect(output).toMatchObject({ descriptor: 5, path })
        copy.set(await chunkOf(leaf), offset)
      },
      ...more,
    }
    return { ...inThreadEngine, inFiles: () => (++asked > 2 ? files : undefined) }
  }

  const ranges: [string, number, number][] = [
    ['all', 0, bytes.length],
    ['the end', 7 * MiB + 3, bytes.length],
    ['the middle', 9 * MiB + 1, 20 * MiB + 1],
    ['nothing', 5, 5],
  ]

  test.each(ranges)('are read there, %s of them in order', async (_, start, end) => {
    const range = { offset: start, length: end - start }
    const whole = await readAll({ root, blocks: placed, engine: fileEngine(), range })
    expect(Buffer.compare(whole, bytes.subarray(start, end))).toBe(0)
    if (start < end) expect(placed.places).toBeGreaterThan(3)
    expect(placed.reads).toBeLessThanOrEqual(2)
  })

  const copying = async (engine: ContentEngine, options: Partial<CopyContentOptions> = {}) => {
    const ends: number[] = []
    const write = async (part: Uint8Array, offset: number): Promise<void> => {
      await turn()
      copy.set(part, offset)
    }
    const onWritten = (written: number): void => {
      ends.push(written)
    }
    const output = { descriptor: 5, path, write }
    await copyContent({ root, keys: testKeys, blocks: placed, engine, output, onWritten, ...options })
    return ends
  }

  test.each(ranges)('are copied from there, %s of them, and what is whole grows in order', async (_, start, end) => {
    for (const engine of [fileEngine(), inThreadEngine]) {
      copy.fill(0)
      const range = { offset: start, length: end - start }
      const onWritten = (written: number): void => {
        ends.push(written)
        expect(Buffer.compare(copy.subarray(start, written), bytes.subarray(start, written))).toBe(0)
      }
      const ends: number[] = []
      await copying(engine, { range, onWritten })
      expect(ends).toEqual(ends.toSorted((a, b) => a - b))
      expect(ends.at(-1) ?? start).toBe(end)
      expect(Buffer.compare(copy.subarray(start, end), bytes.subarray(start, end))).toBe(0)
      expect(copy.subarray(0, start).some((byte) => byte !== 0)).toBe(false)
      expect(copy.subarray(end).some((byte) => byte !== 0)).toBe(false)
    }
  })

  test('that are not in a file are read', async () => {
    placed.inPlace = async () => undefined
    expect(Buffer.compare(await readAll({ root, blocks: placed, engine: fileEngine() }), bytes)).toBe(0)
    expect((await copying(fileEngine())).at(-1)).toBe(bytes.length)
    expect(Buffer.compare(copy, bytes)).toBe(0)
  })

  test('that others have are brought to their file, not handed over', async () => {
    const here = new Set<string>()
    placed.isHere = (digest) => here.has(String(digest))
    placed.bring = async (digest) => {
      await turn()
      here.add(String(digest))
    }
    expect(Buffer.compare(await readAll({ root, blocks: placed, engine: fileEngine() }), bytes)).toBe(0)
    // The root, and one leaf that is opened before the engine is ready.
    expect(placed.reads).toBeLessThanOrEqual(2)
    here.clear()
    placed.reads = 0
    expect((await copying(fileEngine())).at(-1)).toBe(bytes.length)
    expect(Buffer.compare(copy, bytes)).toBe(0)
    expect(placed.reads).toBeLessThanOrEqual(2)
  })

  test('that nobody brings fail as reading them does', async () => {
    placed.inPlace = async () => undefined
    placed.bring = async (digest) => {
      if (Buffer.compare(digest, leaves[4]?.digest as Uint8Array) === 0) throw new Error('nobody has it')
    }
    const read = readAll({ root, blocks: placed, engine: fileEngine() })
    await expect(read.then(() => 'read')).rejects.toThrow('nobody has it')
    await expect(copying(fileEngine()).then(() => 'copied')).rejects.toThrow('nobody has it')
  })

  test('are copied no further ahead than a bound', async () => {
    const large = await stored(seededBytes('large', 100 * MiB))
    let whole = 0
    let furthest = 0
    const files: Partial<LeafFiles> = {
      copy: async ({ part }, _, offset) => {
        furthest = Math.max(furthest, offset + part.to - part.from - whole)
        for (let wait = 0; wait < (offset < 20 * MiB ? 500 : 1); wait++) await turn()
      },
    }
    const inPlace: BlockReader['inPlace'] = async (digest, use) => {
      const length = (await large.blocks.read(digest))?.length as number
      return await use({ descriptor: 100, offset: 0, length })
    }
    const reader: BlockReader = { read: (digest) => large.blocks.read(digest), inPlace }
    const onWritten = (end: number): void => {
      whole = end
    }
    await copying(fileEngine(files), { root: large.root, blocks: reader, onWritten })
    expect(whole).toBe(100 * MiB)
    expect(furthest).toBeGreaterThan(20 * MiB)
    expect(furthest).toBeLessThanOrEqual(maxUnorderedBytes)
  })

  test('are corrupt when they are not as long there as their tree says', async () => {
    placed.lengthOff = 1
    await expect(readAll({ root, blocks: placed, engine: fileEngine() })).rejects.toMatchObject({ code: 'CORRUPT' })
    await expect(copying(fileEngine())).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(running).toBe(0)
  })

  test('fail with what copying or writing one throws, once nothing runs any more', async () => {
    let copies = 0
    const failing = fileEngine({
      copy: async (leaf, _, offset) => {
        copy.set(await chunkOf(leaf), offset)
        if (++copies === 4) throw new Error('the disk')
      },
    })
    await expect(copying(failing)).rejects.toThrow('the disk')
    expect(running).toBe(0)
    const write = async (): Promise<void> => {
      await turn()
      throw new Error('the first')
    }
    await expect(copying(fileEngine(), { output: { descriptor: 5, path, write } })).rejects.toThrow('the first')
    expect(running).toBe(0)
    const onWritten = (): void => {
      throw new Error('who looks on')
    }
    await expect(copying(fileEngine(), { onWritten })).rejects.toThrow('who looks on')
    expect(running).toBe(0)
  })

  test('that are missing or damaged are told of in their turn, and no byte of them is written', async () => {
    for (const engine of [fileEngine(), inThreadEngine]) {
      const bad = leaves[10] as (typeof leaves)[number]
      const key = Buffer.from(bad.digest).toString('hex')
      const sound = blocks.blocks.get(key) as Uint8Array<ArrayBuffer>
      const flipped = sound.slice()
      flipped[100] = (flipped[100] as number) ^ 1
      blocks.blocks.set(key, flipped)
      copy.fill(0)
      let whole = 0
      const onWritten = (end: number): void => {
        whole = end
      }
      try {
        await expect(copying(engine, { onWritten })).rejects.toEqual(
          expect.toSatisfy((error) => isHubError(error, 'CORRUPT')),
        )
      } finally {
        blocks.blocks.set(key, sound)
      }
      expect(whole).toBe(bad.offset)
      expect(Buffer.compare(copy.subarray(0, whole), bytes.subarray(0, whole))).toBe(0)
      const end = bad.offset + bad.blockBytes - leafOverheadBytes
      expect(copy.subarray(bad.offset, end).some((byte) => byte !== 0)).toBe(false)
      expect(running).toBe(0)
    }
    const treeOnly: BlockReader = {
      read: async (digest) => (Buffer.compare(digest, root.digest) === 0 ? await blocks.read(digest) : undefined),
    }
    const error = await copying(inThreadEngine, { blocks: treeOnly }).catch((thrown: unknown) => thrown)
    expect(isHubError(error, 'UNAVAILABLE') && error.details.cid).toMatch(/^bafkrei/)
  })

  test('stop with the signal’s reason', async () => {
    const stop = new AbortController()
    const onWritten = (): void => stop.abort(new Error('enough'))
    await expect(copying(fileEngine(), { signal: stop.signal, onWritten })).rejects.toThrow('enough')
    expect(running).toBe(0)
  })
})
