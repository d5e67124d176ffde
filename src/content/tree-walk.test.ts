import { encode, type PBNode, prepare } from '@ipld/dag-pb'
import { sha256 } from '@noble/hashes/sha2.js'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { create } from 'multiformats/hashes/digest'
import { describe, expect, test } from 'vitest'
import { isHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes, maxContentBytes, minChunkBytes, treeFanOut } from '../limits.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'
import { MemoryBlocks, seededBytes } from './content.test-helper.ts'
import { encodeTreeNode, TreeBuilder, type TreeLink } from './tree.ts'
import { type ContentRef, type TreeBlock, walkTree } from './tree-walk.ts'

const leafBytes = 600_000

/** A tree over `count` leaves that are nowhere: a walk reads only nodes. */
async function treeOf(count: number): Promise<{ blocks: MemoryBlocks; root: ContentRef; digests: Uint8Array[] }> {
  const blocks = new MemoryBlocks()
  const writer = blocks.openWriter()
  const builder = new TreeBuilder(async ({ digest, bytes }) => void (await writer.put(digest, bytes)))
  const digests = Array.from({ length: count }, (_, index) => seededBytes(`digest ${index}`, 32))
  for (const digest of digests) await builder.add(digest, leafBytes)
  const { digest, codec } = await builder.finish()
  return { blocks, digests, root: { digest, codec, ...sizesOf(count) } }
}

function sizesOf(leaves: number, each = leafBytes): { sizeBytes: number; storedBytes: number } {
  return { sizeBytes: leaves * (each - leafOverheadBytes), storedBytes: leaves * each }
}

async function collect(options: Parameters<typeof walkTree>[0]): Promise<TreeBlock[]> {
  return await Array.fromAsync(walkTree(options))
}

const isCorrupt = expect.toSatisfy((error) => isHubError(error, 'CORRUPT'))

/** Stores `bytes` as the root of content with these sizes and walks it. */
async function walkForged(bytes: Uint8Array, sizes: { sizeBytes: number; storedBytes: number }): Promise<unknown> {
  const blocks = new MemoryBlocks()
  const digest = sha256(bytes)
  await blocks.openWriter().put(digest, bytes)
  return await collect({ root: { digest, codec: dagPbCodec, ...sizes }, blocks })
}

function link(index: number, more: Partial<TreeLink> = {}): TreeLink {
  return { digest: seededBytes(`link ${index}`, 32), codec: rawCodec, leafBytes, dagBytes: leafBytes, ...more }
}

function pbLinks(count: number): PBNode['Links'] {
  return Array.from({ length: count }, (_, index) => ({
    Name: '',
    Hash: CID.parse(cidOf(seededBytes(`link ${index}`, 32), rawCodec)),
    Tsize: leafBytes,
  }))
}

function fileOf(sizes: readonly number[], more: ConstructorParameters<typeof UnixFS>[0] = {}): Uint8Array {
  return new UnixFS({ type: 'file', blockSizes: sizes.map(BigInt), ...more }).marshal()
}

describe('a walk', () => {
  test.each([1, 2, treeFanOut, treeFanOut + 1, 2 * treeFanOut + 5])(
    'over %i leaves yields every block once, in order',
    async (count) => {
      const { blocks, root, digests } = await treeOf(count)
      const walked = await collect({ root, blocks })
      const leaves = walked.filter((block) => block.kind === 'leaf')
      expect(leaves.map((leaf) => leaf.digest)).toEqual(digests)
      expect(leaves.map((leaf) => leaf.offset)).toEqual(
        digests.map((_, index) => index * (leafBytes - leafOverheadBytes)),
      )
      expect(leaves.every((leaf) => leaf.blockBytes === leafBytes)).toBe(true)
      const nodes = walked.filter((block) => block.kind === 'node')
      expect(nodes.length).toBe(blocks.blocks.size)
      expect(nodes.reduce((sum, node) => sum + node.blockBytes, 0)).toBe(
        [...blocks.blocks.values()].reduce((sum, bytes) => sum + bytes.length, 0),
      )
    },
  )

  test('over a range reads only the nodes above it', async () => {
    const { blocks, root, digests } = await treeOf(3 * treeFanOut)
    const chunkBytes = leafBytes - leafOverheadBytes
    const start = treeFanOut * chunkBytes - 1
    const walked = await collect({ root, blocks, range: { start, end: start + 2 } })
    expect(walked.filter((block) => block.kind === 'node').length).toBe(3)
    expect(walked.filter((block) => block.kind === 'leaf').map((leaf) => leaf.digest)).toEqual(
      digests.slice(treeFanOut - 1, treeFanOut + 1),
    )
    const inside = await collect({ root, blocks, range: { start: start + 1, end: start + 2 } })
    expect(inside.length).toBe(3)
  })

  test('names the missing node', async () => {
    const { blocks, root } = await treeOf(2)
    blocks.blocks.clear()
    const cid = cidOf(root.digest, dagPbCodec)
    await expect(collect({ root, blocks })).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { cid } })
  })

  test('stops with the reason of its signal', async () => {
    const { blocks, root } = await treeOf(2)
    await expect(collect({ root, blocks, signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  })

  test('rejects a node whose bytes are not the ones its CID names, before decoding it', async () => {
    const { blocks, root } = await treeOf(2)
    for (const bytes of blocks.blocks.values()) bytes[40] = (bytes[40] as number) ^ 1
    await expect(collect({ root, blocks })).rejects.toEqual(isCorrupt)
  })
})

describe('a walk takes for corrupt', () => {
  const sizes = sizesOf(2)

  test('nothing in the forger’s own well-formed node', async () => {
    expect(await walkForged(encodeTreeNode([link(0), link(1)]), sizes)).toHaveLength(3)
    const plain = encode(prepare({ Data: fileOf([leafBytes, leafBytes]), Links: pbLinks(2) }))
    expect(await walkForged(plain, sizes)).toHaveLength(3)
  })

  test.each<[string, Uint8Array]>([
    ['bytes that are no dag-pb', seededBytes('noise', 500)],
    ['an empty node', new Uint8Array(0)],
    ['a node without UnixFS data', encode(prepare({ Links: pbLinks(2) }))],
    ['a node with noise for UnixFS data', encode(prepare({ Data: seededBytes('noise', 9), Links: pbLinks(2) }))],
    ['a directory', encode(prepare({ Data: new UnixFS({ type: 'directory' }).marshal(), Links: pbLinks(2) }))],
    [
      'inline data',
      encode(prepare({ Data: fileOf([leafBytes, leafBytes], { data: new Uint8Array([1]) }), Links: pbLinks(2) })),
    ],
    ['a file mode', encode(prepare({ Data: fileOf([leafBytes, leafBytes], { mode: 0o4755 }), Links: pbLinks(2) }))],
    ['a missing blocksize', encode(prepare({ Data: fileOf([leafBytes]), Links: pbLinks(2) }))],
    ['a blocksize too many', encode(prepare({ Data: fileOf([leafBytes, leafBytes, 1]), Links: pbLinks(2) }))],
    ['a link too few', encodeTreeNode([link(0, { leafBytes: 2 * leafBytes, dagBytes: 2 * leafBytes })])],
    ['a link too many', encodeTreeNode([link(0), link(1), link(2)])],
    [
      'blocksizes that do not add up',
      encodeTreeNode([link(0), link(1, { leafBytes: leafBytes + 1, dagBytes: leafBytes + 1 })]),
    ],
    [
      'a leaf above the largest block',
      encodeTreeNode([link(0, { leafBytes: maxBlockBytes + 1 }), link(1, { leafBytes: 1 })]),
    ],
    [
      'an empty leaf',
      encodeTreeNode([
        link(0, { leafBytes: 2 * leafBytes - 28, dagBytes: 2 * leafBytes - 28 }),
        link(1, { leafBytes: 28, dagBytes: 28 }),
      ]),
    ],
    ['a Tsize that is not the leaf’s', encodeTreeNode([link(0), link(1, { dagBytes: leafBytes + 1 })])],
    ['a node where a leaf belongs', encodeTreeNode([link(0), link(1, { codec: dagPbCodec })])],
    [
      'a link with a name',
      encode({ Data: fileOf([leafBytes, leafBytes]), Links: pbLinks(2).map((one) => ({ ...one, Name: 'x' })) }),
    ],
    [
      'a link by another hash',
      encode(
        prepare({
          Data: fileOf([leafBytes, leafBytes]),
          Links: pbLinks(2).map((one) => ({ ...one, Hash: CID.createV1(rawCodec, create(0, new Uint8Array(32))) })),
        }),
      ),
    ],
    [
      'a node of megabytes',
      encode(prepare({ Data: fileOf([leafBytes, leafBytes], { data: new Uint8Array(1_000_000) }), Links: pbLinks(2) })),
    ],
  ])('%s', async (_, bytes) => {
    await expect(walkForged(bytes, sizes)).rejects.toEqual(isCorrupt)
  })

  test('a node wider than the fan-out', async () => {
    const links = Array.from({ length: treeFanOut + 1 }, (_, index) => link(index))
    await expect(walkForged(encodeTreeNode(links), sizesOf(treeFanOut + 1))).rejects.toEqual(isCorrupt)
  })

  test('a chain that is deeper than its sizes call for', async () => {
    const blocks = new MemoryBlocks()
    const inner = encodeTreeNode([link(0), link(1)])
    let child = {
      digest: sha256(inner),
      codec: dagPbCodec,
      leafBytes: 2 * leafBytes,
      dagBytes: 2 * leafBytes + inner.length,
    }
    await blocks.openWriter().put(child.digest, inner)
    for (let depth = 0; depth < 50; depth++) {
      const bytes = encodeTreeNode([child])
      child = { ...child, digest: sha256(bytes), dagBytes: child.dagBytes + bytes.length }
      await blocks.openWriter().put(child.digest, bytes)
    }
    await expect(collect({ root: { ...sizes, digest: child.digest, codec: dagPbCodec }, blocks })).rejects.toEqual(
      isCorrupt,
    )
  })

  test('a Tsize of an inner node that is not its DAG’s', async () => {
    const blocks = new MemoryBlocks()
    const full = encodeTreeNode(Array.from({ length: treeFanOut }, (_, index) => link(index)))
    const rest = encodeTreeNode([link(0)])
    const children = [full, rest].map((bytes, index) => {
      const below = leafBytes * (index === 0 ? treeFanOut : 1)
      return { digest: sha256(bytes), codec: dagPbCodec, leafBytes: below, dagBytes: below + bytes.length + index }
    })
    const top = encodeTreeNode(children)
    for (const bytes of [full, rest, top]) await blocks.openWriter().put(sha256(bytes), bytes)
    const root = { ...sizesOf(treeFanOut + 1), digest: sha256(top), codec: dagPbCodec }
    await expect(collect({ root, blocks })).rejects.toEqual(isCorrupt)
  })

  test('a bomb: few nodes that stand for a billion tiny leaves', async () => {
    const blocks = new MemoryBlocks()
    let child: TreeLink = link(0, { leafBytes: 29, dagBytes: 29 })
    for (let level = 1; level <= 3; level++) {
      const bytes = encodeTreeNode(Array.from({ length: treeFanOut }, () => child))
      await blocks.openWriter().put(sha256(bytes), bytes)
      const below = treeFanOut * child.leafBytes
      child = {
        digest: sha256(bytes),
        codec: dagPbCodec,
        leafBytes: below,
        dagBytes: treeFanOut * child.dagBytes + bytes.length,
      }
    }
    const root = { digest: child.digest, codec: dagPbCodec, sizeBytes: treeFanOut ** 3, storedBytes: child.leafBytes }
    await expect(collect({ root, blocks })).rejects.toEqual(isCorrupt)
  })

  test.each([
    ['no leaves', 100, 100],
    ['a fraction of a leaf', 1000, 1029],
    ['less stored than there is', 1000, 1000 - 28],
    ['a negative size', -1, 27],
    ['a size that is no number', Number.NaN, 28],
    ['no end', Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ['more than the largest content', maxContentBytes + 1, maxContentBytes + 1 + 28 * 200_000],
    ['one leaf above the largest block', maxBlockBytes, maxBlockBytes + 28],
    ['empty leaves', 0, 2 * 28],
    ['chunks below the minimum', 2 * minChunkBytes - 1, 2 * minChunkBytes - 1 + 28 * 3],
  ])('sizes that say %s', async (_, sizeBytes, storedBytes) => {
    for (const codec of [rawCodec, dagPbCodec]) {
      const root = { digest: new Uint8Array(32), codec, sizeBytes, storedBytes }
      await expect(collect({ root, blocks: new MemoryBlocks() })).rejects.toEqual(isCorrupt)
    }
  })

  test('a codec that does not fit the sizes', async () => {
    const one = { digest: new Uint8Array(32), codec: dagPbCodec, ...sizesOf(1) }
    const two = { digest: new Uint8Array(32), codec: rawCodec, ...sizesOf(2) }
    const unknown = { digest: new Uint8Array(32), codec: 0x71, ...sizesOf(2) }
    for (const root of [one, two, unknown]) {
      await expect(collect({ root, blocks: new MemoryBlocks() })).rejects.toEqual(isCorrupt)
    }
  })
})
