import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes, maxContentBytes, minChunkBytes, treeFanOut } from '../limits.ts'
import type { NamespaceBlocks } from '../storage/index.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'
import { verifyBlock } from './leaf.ts'
import { decodeTreeNode, encodeTreeNode, type TreeLink } from './tree.ts'
import type { TreeMemory } from './tree-memory.ts'

/** A full node is about 60 KiB; nothing larger is hashed or decoded. */
const maxNodeBytes = 128 * 1024

/** What a version says of its content. The two sizes settle the tree's whole shape. */
export interface ContentRef {
  /** SHA-256 digest of the root block, 32 bytes. */
  readonly digest: Uint8Array
  /** `raw` (0x55) when the content is one leaf, else `dag-pb` (0x70). */
  readonly codec: number
  /** Plaintext bytes. */
  readonly sizeBytes: number
  /** Bytes of all leaves. */
  readonly storedBytes: number
}

/** Where blocks come from: a namespace's store, or a fetch. */
export interface BlockReader extends Pick<NamespaceBlocks, 'inPlace'> {
  /** The block, not yet verified; `undefined` when it is not to be had. The bytes become the caller's own. */
  read(digest: Uint8Array, options?: { signal?: AbortSignal }): Promise<Uint8Array<ArrayBuffer> | undefined>
  /**
   * Has the block come to where `inPlace` finds it, for those who need no more than that. What is not to be had resolves too: `read` tells.
   * Absent where nothing comes from elsewhere.
   * @throws as `read`
   */
  bring?(digest: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
}

/** One block of a tree, in depth-first order. */
export type TreeBlock =
  | { readonly kind: 'node'; readonly digest: Uint8Array; readonly blockBytes: number }
  | {
      readonly kind: 'leaf'
      readonly digest: Uint8Array
      /** Length of the leaf's block; its chunk is `leafOverheadBytes` shorter. */
      readonly blockBytes: number
      /** Where its chunk begins in the plaintext. */
      readonly offset: number
    }

export interface WalkOptions {
  readonly root: ContentRef
  /** Asked for nodes only, never for leaves. */
  readonly blocks: BlockReader
  /** Only leaves with a byte of these plaintext bytes (`end` exclusive), and the nodes above them. Default all. */
  readonly range?: { readonly start: number; readonly end: number } | undefined
  /** Nodes that are in there are not asked for. */
  readonly memory?: TreeMemory | undefined
  readonly signal?: AbortSignal | undefined
}

/** A subtree as its parent describes it: its own block may not have been seen yet. */
export interface Subtree extends TreeLink {
  /** Nodes above its leaves; a leaf's own is 0. */
  readonly level: number
  readonly leaves: number
  /** Which of the content's leaves is its first, from 0. */
  readonly firstLeaf: number
  /** Where it begins in the plaintext. */
  readonly offset: number
}

/**
 * Yields every block of a content's tree, reading only its nodes, one node a level in memory. Each node is verified by
 * its hash before it is decoded, and must be, byte for byte, what the builder writes for a tree of these sizes:
 * nothing deeper, wider, padded or with sizes that do not add up is followed.
 * @throws CORRUPT, UNAVAILABLE when a node is missing (`details.cid` names it), what `blocks` throws
 */
export async function* walkTree(options: WalkOptions): AsyncGenerator<TreeBlock, void, undefined> {
  yield* walkSubtree(subtreeOfRoot(options.root), options)
}

/**
 * The tree that content of these sizes has: each leaf is 28 bytes longer than its chunk, which counts the leaves.
 * @throws CORRUPT when no content has such sizes
 */
export function subtreeOfRoot(root: ContentRef): Subtree {
  const { digest, codec, sizeBytes, storedBytes } = root
  const leaves = (storedBytes - sizeBytes) / leafOverheadBytes
  const sizesAreSane =
    Number.isSafeInteger(storedBytes) && Number.isSafeInteger(sizeBytes) && sizeBytes <= maxContentBytes
  const level = levelOf(leaves)
  const subtree = {
    digest,
    codec,
    leafBytes: storedBytes,
    dagBytes: Number.NaN,
    level,
    leaves,
    firstLeaf: 0,
    offset: 0,
  }
  const isEmpty = sizeBytes === 0 && leaves === 1
  if (!sizesAreSane || !Number.isSafeInteger(leaves) || !(isEmpty || canHold(leaves, storedBytes))) {
    throw malformed(subtree, 'its sizes are impossible')
  }
  // A few nodes that name each other many times could stand for a billion tiny leaves; this bounds every walk.
  if ((leaves - 1) * minChunkBytes > sizeBytes) throw malformed(subtree, 'its chunks are too small')
  if (codec !== (level === 0 ? rawCodec : dagPbCodec)) throw malformed(subtree, 'its codec does not fit its sizes')
  return subtree
}

function levelOf(leaves: number): number {
  let level = 0
  for (let capacity = 1; capacity < leaves; capacity *= treeFanOut) level++
  return level
}

function canHold(leaves: number, leafBytes: number): boolean {
  return leaves >= 1 && leafBytes > leaves * leafOverheadBytes && leafBytes <= leaves * maxBlockBytes
}

async function* walkSubtree(subtree: Subtree, options: WalkOptions): AsyncGenerator<TreeBlock, void, undefined> {
  const { digest } = subtree
  if (subtree.level === 0) {
    yield leafOf(subtree)
    return
  }
  const { signal, blocks, range, memory } = options
  signal?.throwIfAborted()
  let node = memory?.get(subtree)
  if (node === undefined) {
    const bytes = await blocks.read(digest, signal === undefined ? {} : { signal })
    if (bytes === undefined) throw missingBlock(digest, dagPbCodec)
    // A node that is not what it should be is told of before it is refused.
    yield { kind: 'node', digest, blockBytes: bytes.length }
    node = { blockBytes: bytes.length, children: childrenOf(subtree, bytes) }
    memory?.add(subtree, node)
  } else yield { kind: 'node', digest, blockBytes: node.blockBytes }
  for (const child of node.children) {
    const end = child.offset + child.leafBytes - child.leaves * leafOverheadBytes
    if (range !== undefined && (end <= range.start || child.offset >= range.end)) continue
    if (child.level === 0) yield leafOf(child)
    else yield* walkSubtree(child, options)
  }
}

function leafOf({ digest, leafBytes, offset }: Subtree): TreeBlock {
  return { kind: 'leaf', digest, blockBytes: leafBytes, offset }
}

/**
 * Verifies, decodes and checks one node: what it says of its children.
 * @throws CORRUPT unless `bytes` are the node that `parent` describes
 */
export function childrenOf(parent: Subtree, bytes: Uint8Array<ArrayBuffer>): Subtree[] {
  if (bytes.length > maxNodeBytes) throw malformed(parent, 'a node is too large')
  verifyBlock(bytes, parent.digest, dagPbCodec)
  const links = decodeLinks(parent, bytes)
  const leavesPerChild = treeFanOut ** (parent.level - 1)
  if (links.length !== Math.ceil(parent.leaves / leavesPerChild))
    throw malformed(parent, 'a node has too few or too many links')
  const childCodec = parent.level === 1 ? rawCodec : dagPbCodec
  let leafBytes = 0
  let dagBytes = bytes.length
  let offset = parent.offset
  const children = links.map((link, index) => {
    const leaves = Math.min(leavesPerChild, parent.leaves - index * leavesPerChild)
    if (link.codec !== childCodec) throw malformed(parent, 'a link has the wrong codec')
    if (!canHold(leaves, link.leafBytes)) throw malformed(parent, 'a link’s size is impossible')
    if (parent.level === 1 && link.dagBytes !== link.leafBytes) throw malformed(parent, 'a Tsize is wrong')
    const child: Subtree = {
      ...link,
      level: parent.level - 1,
      leaves,
      firstLeaf: parent.firstLeaf + index * leavesPerChild,
      offset,
    }
    leafBytes += link.leafBytes
    dagBytes += link.dagBytes
    offset += link.leafBytes - leaves * leafOverheadBytes
    return child
  })
  if (leafBytes !== parent.leafBytes) throw malformed(parent, 'the sizes in a node do not add up')
  if (!Number.isNaN(parent.dagBytes) && dagBytes !== parent.dagBytes) throw malformed(parent, 'a Tsize is wrong')
  if (Buffer.compare(encodeTreeNode(links), bytes) !== 0) throw malformed(parent, 'a node is not in canonical form')
  return children
}

function decodeLinks(parent: Subtree, bytes: Uint8Array<ArrayBuffer>): TreeLink[] {
  try {
    return decodeTreeNode(bytes)
  } catch (cause) {
    throw malformed(parent, 'a node does not decode', cause)
  }
}

/** The error for a block that nobody has. */
export function missingBlock(digest: Uint8Array, codec: number): ArtifactHubError {
  const cid = cidOf(digest, codec)
  return new ArtifactHubError('UNAVAILABLE', 'A block of the content is not here', { details: { cid } })
}

function malformed(node: { digest: Uint8Array; codec: number }, problem: string, cause?: unknown): ArtifactHubError {
  const cid = cidOf(node.digest, node.codec === rawCodec ? rawCodec : dagPbCodec)
  return new ArtifactHubError('CORRUPT', `The content’s tree is malformed: ${problem}`, { details: { cid }, cause })
}
