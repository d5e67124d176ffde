import { unixfs } from '@helia/unixfs'
import { sha256 } from '@noble/hashes/sha2.js'
import { CID } from 'multiformats/cid'
import { describe, expect, test } from 'vitest'
import { treeFanOut } from '../limits.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'
import { seededBytes } from './content.test-helper.ts'
import { TreeBuilder, type TreeLink } from './tree.ts'

async function build(leaves: readonly Uint8Array[]): Promise<{ root: TreeLink; nodes: Map<string, Uint8Array> }> {
  const nodes = new Map<string, Uint8Array>()
  const builder = new TreeBuilder(async ({ digest, bytes }) => {
    nodes.set(cidOf(digest, dagPbCodec).toString(), bytes)
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
  for await (const piece of fs.cat(cidOf(root.digest, root.codec))) pieces.push(piece)
  return Buffer.concat(pieces)
}

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
    const blocks = new Map([
      ...nodes,
      ...leaves.map((leaf) => [cidOf(sha256(leaf), rawCodec).toString(), leaf] as const),
    ])
    expect(Buffer.compare(await catWithHelia(root, blocks), Buffer.concat(leaves))).toBe(0)
  })

  test('over one leaf makes that leaf the root', async () => {
    const [leaf] = seededLeaves(1) as [Uint8Array]
    const { root } = await build([leaf])
    expect(cidOf(root.digest, root.codec).toString()).toBe(cidOf(sha256(leaf), rawCodec).toString())
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
