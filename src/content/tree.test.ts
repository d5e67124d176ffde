import { unixfs } from '@helia/unixfs'
import { decode, encode } from '@ipld/dag-pb'
import { sha256 } from '@noble/hashes/sha2.js'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { describe, expect, test } from 'vitest'
import { treeFanOut } from '../limits.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'
import { seededBytes } from './content.test-helper.ts'
import { decodeTreeNode, encodeTreeNode, TreeBuilder, type TreeLink } from './tree.ts'
import { walkTree } from './tree-walk.ts'

async function build(leaves: readonly Uint8Array[]): Promise<{ root: TreeLink; nodes: Map<string, Uint8Array> }> {
  const nodes = new Map<string, Uint8Array>()
  const builder = new TreeBuilder(async ({ digest, bytes }) => {
    nodes.set(cidOf(digest, dagPbCodec), bytes)
  })
  for (const leaf of leaves) await builder.add(sha256(leaf), leaf.length)
  return { root: await builder.finish(), nodes }
}

function seededLeaves(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => seededBytes(`leaf ${index}`, 29 + (index % 7)))
}

/** What a plain `@helia/unixfs` reads from these blocks. */
async function catWithHelia(root: TreeLink, blocks: Map<string, Uint8Array>): Promise<Buffer> {
  const blockstore = {
    async *get(cid: CID) {
      const bytes = blocks.get(cid.toString())
      if (bytes === undefined) throw new Error(`no block ${cid}`)
      yield bytes
    },
  }
  const pieces: Uint8Array[] = []
  const fs = unixfs({ blockstore } as unknown as Parameters<typeof unixfs>[0])
  for await (const piece of fs.cat(CID.parse(cidOf(root.digest, root.codec)))) pieces.push(piece)
  return Buffer.concat(pieces)
}

const edges = [1, 127, 128, 16_383, 16_384, 2 ** 21, 2 ** 28 - 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 49]

test.each([
  ['one child', edges.slice(0, 1)],
  ['children of every length', edges],
  ['a full node', Array.from({ length: treeFanOut }, (_, at) => 2 ** (at % 42) + at)],
])('a node over %s is what @ipld/dag-pb writes of what it says', (_, sizes) => {
  const children = sizes.map((leafBytes, at) => ({
    digest: seededBytes(`child ${at}`, 32),
    codec: at % 2 === 0 ? rawCodec : dagPbCodec,
    leafBytes,
    dagBytes: leafBytes + at,
  }))
  const bytes = encodeTreeNode(children)
  const node = decode(bytes)
  expect(encode(node)).toEqual(bytes)
  expect(node.Links).toEqual(
    children.map(({ digest, codec, dagBytes }) => ({
      Hash: CID.parse(cidOf(digest, codec)),
      Name: '',
      Tsize: dagBytes,
    })),
  )
  const { type, data, blockSizes } = UnixFS.unmarshal(node.Data as Uint8Array)
  expect({ type, data }).toEqual({ type: 'file', data: undefined })
  expect(blockSizes).toEqual(sizes.map(BigInt))
  expect(decodeTreeNode(bytes)).toEqual(children)
})

test('reading a node that was changed anywhere throws, or gives what is written otherwise', () => {
  const bytes = encodeTreeNode(
    [300, 2 ** 40, 70_000].map((leafBytes, at) => ({
      digest: seededBytes(`child ${at}`, 32),
      codec: rawCodec,
      leafBytes,
      dagBytes: leafBytes,
    })),
  )
  const isTakenFor = (changed: Uint8Array): boolean => {
    try {
      return Buffer.compare(encodeTreeNode(decodeTreeNode(changed)), changed) === 0
    } catch (error) {
      expect(error).toBeInstanceOf(RangeError)
      return false
    }
  }
  expect(isTakenFor(bytes)).toBe(true)
  for (let at = 0; at < bytes.length; at++) {
    for (const bit of [1, 128]) {
      const changed = bytes.slice()
      changed[at] = (changed[at] as number) ^ bit
      // Another digest, codec or number is another node, as well written as this one: nothing else is.
      if (isTakenFor(changed)) expect(decodeTreeNode(changed)).not.toEqual(decodeTreeNode(bytes))
    }
    expect(isTakenFor(bytes.subarray(0, at))).toBe(false)
  }
  expect(isTakenFor(Buffer.concat([bytes, new Uint8Array(1)]))).toBe(false)
})

describe('the tree builder', () => {
  test.each([
    [1, 0],
    [2, 1],
    [treeFanOut - 1, 1],
    [treeFanOut, 1],
    [treeFanOut + 1, 3],
    [2 * treeFanOut, 3],
  ])('over %i leaves makes %i nodes, which a plain UnixFS reads as the leaves in order', async (count, expected) => {
    const leaves = seededLeaves(count)
    const { root, nodes } = await build(leaves)
    expect(nodes.size).toBe(expected)
    expect(root.codec).toBe(count === 1 ? rawCodec : dagPbCodec)
    const leafBytes = leaves.reduce((sum, leaf) => sum + leaf.length, 0)
    expect(root.leafBytes).toBe(leafBytes)
    expect(root.dagBytes).toBe([...nodes.values()].reduce((sum, node) => sum + node.length, leafBytes))
    const blocks = new Map([...nodes, ...leaves.map((leaf) => [cidOf(sha256(leaf), rawCodec), leaf] as const)])
    expect(Buffer.compare(await catWithHelia(root, blocks), Buffer.concat(leaves))).toBe(0)
  })

  test('over one leaf makes that leaf the root', async () => {
    const [leaf] = seededLeaves(1) as [Uint8Array]
    const { root } = await build([leaf])
    expect(cidOf(root.digest, root.codec)).toBe(cidOf(sha256(leaf), rawCodec))
  })

  test('names its nodes by their SHA-256', async () => {
    const { nodes } = await build(seededLeaves(treeFanOut + 1))
    for (const [cid, bytes] of nodes) expect(CID.parse(cid).multihash.digest).toEqual(sha256(bytes))
  })

  test('hands each node out as soon as it is full', async () => {
    let nodes = 0
    const builder = new TreeBuilder(async () => {
      nodes++
    })
    const digest = sha256(new Uint8Array(1))
    for (let index = 1; index <= 3 * treeFanOut; index++) {
      await builder.add(digest, 2_000_000)
      expect(nodes).toBe(Math.floor(index / treeFanOut))
    }
  })

  test('without a leaf has no root', async () => {
    await expect(build([])).rejects.toThrow(RangeError)
  })
})

// ipfs-unixfs writes wrong sizes from 2^31 to 2^32 − 1, so these are a mebibyte around both.
describe('a tree of large content', () => {
  const mebibyte = 2 ** 20
  test.each([
    2 ** 31 - 1,
    2 ** 31,
    2 ** 31 + 100,
    3 * 2 ** 30 + 100,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 33 + 100,
    1025 * 2 ** 21,
  ])('says its sizes right at %i bytes', async (storedBytes) => {
    const nodes = new Map<string, Uint8Array<ArrayBuffer>>()
    const builder = new TreeBuilder(async ({ digest, bytes }) => {
      nodes.set(cidOf(digest, dagPbCodec), new Uint8Array(bytes))
    })
    const leafBytes = storedBytes > 2_500 * mebibyte ? 2 * mebibyte : mebibyte
    const leaves = Math.ceil(storedBytes / leafBytes)
    for (let at = 0; at < leaves; at++) {
      const digest = sha256(new Uint8Array([at & 255, at >> 8]))
      await builder.add(digest, Math.min(leafBytes, storedBytes - at * leafBytes))
    }
    const root = await builder.finish()
    const blocks = { read: async (digest: Uint8Array) => nodes.get(cidOf(digest, dagPbCodec))?.slice() }
    let walked = 0
    const ref = { ...root, storedBytes, sizeBytes: storedBytes - 28 * leaves }
    for await (const block of walkTree({ root: ref, blocks })) if (block.kind === 'leaf') walked += block.blockBytes
    expect(walked).toBe(storedBytes)
    const bytes = nodes.get(cidOf(root.digest, root.codec)) as Uint8Array<ArrayBuffer>
    expect(UnixFS.unmarshal(decode(bytes).Data as Uint8Array).fileSize()).toBe(BigInt(storedBytes))
  })
})
