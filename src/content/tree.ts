import { hash } from 'node:crypto'
import { encode, prepare } from '@ipld/dag-pb'
import { varint } from 'multiformats'
import { treeFanOut } from '../limits.ts'
import { cidOf, dagPbCodec, rawCodec } from './cid.ts'

/** A child of a tree node, or the root. */
export interface TreeLink {
  /** SHA-256 of the block, 32 bytes. */
  readonly digest: Uint8Array
  readonly codec: number
  /** Bytes of the leaves below (of the leaf itself): what UnixFS calls its size, so ciphertext. */
  readonly leafBytes: number
  /** Bytes of all blocks below and of its own: dag-pb's Tsize. */
  readonly dagBytes: number
}

/** A block to be stored. */
export interface TreeNode {
  readonly digest: Uint8Array
  readonly bytes: Uint8Array
}

/**
 * The bytes of the UnixFS file node over these children (dag-pb: links without names, Tsize the bytes of the DAG below;
 * UnixFS data: type file, one blocksize a child, no inline data). One list of children has one encoding.
 */
export function encodeTreeNode(children: readonly TreeLink[]): Uint8Array {
  return encode(
    prepare({
      Data: encodeFileData(children.map((child) => child.leafBytes)),
      Links: children.map((child) => ({ Name: '', Hash: cidOf(child.digest, child.codec), Tsize: child.dagBytes })),
    }),
  )
}

/**
 * UnixFS data (protobuf) of a file: `Type` (1) = File (2), `filesize` (3), one `blocksizes` (4) a child, in that order.
 *
 * Not by ipfs-unixfs: the varints of protons-runtime (6.0.1 to 8.0.1) are wrong for 2^31 to 2^32 − 1, which makes files of
 * that many bytes unreadable. Its decoder is right.
 */
function encodeFileData(blockSizes: readonly number[]): Uint8Array {
  const fileSize = blockSizes.reduce((sum, size) => sum + size, 0)
  const fields = [varintField(1, 2), varintField(3, fileSize), ...blockSizes.map((size) => varintField(4, size))]
  return Buffer.concat(fields)
}

function varintField(field: number, value: number): Uint8Array {
  const bytes = new Uint8Array(1 + varint.encodingLength(value))
  bytes[0] = field << 3
  varint.encodeTo(value, bytes, 1)
  return bytes
}

/**
 * Builds a balanced UnixFS tree of fan-out `treeFanOut` over leaves given in order: every node is full but the last of each
 * level, and all leaves are equally deep. One leaf alone is its own root. Holds at most one partial node a level.
 */
export class TreeBuilder {
  readonly #emit: (node: TreeNode) => Promise<void>
  readonly #levels: TreeLink[][] = [[]]
  #leaves = 0

  /** `emit` stores each node as it fills; the builder waits for it. */
  constructor(emit: (node: TreeNode) => Promise<void>) {
    this.#emit = emit
  }

  /** Leaves so far. */
  get leaves(): number {
    return this.#leaves
  }

  /** Appends the next leaf. Call it again only once it has resolved. */
  async add(digest: Uint8Array, leafBytes: number): Promise<void> {
    this.#leaves++
    await this.#append(0, { digest, codec: rawCodec, leafBytes, dagBytes: leafBytes })
  }

  /** Closes the partial nodes and gives the root. At least one leaf must have been added. */
  async finish(): Promise<TreeLink> {
    for (let level = 0; ; level++) {
      const links = this.#levels[level] as TreeLink[]
      const isTop = level === this.#levels.length - 1
      if (isTop && links.length === 1) return links[0] as TreeLink
      if (isTop && links.length === 0) throw new RangeError('a tree needs at least one leaf')
      if (links.length > 0) await this.#close(level)
    }
  }

  async #append(level: number, link: TreeLink): Promise<void> {
    if (level === this.#levels.length) this.#levels.push([])
    const links = this.#levels[level] as TreeLink[]
    links.push(link)
    if (links.length === treeFanOut) await this.#close(level)
  }

  async #close(level: number): Promise<void> {
    const links = this.#levels[level] as TreeLink[]
    this.#levels[level] = []
    const bytes = encodeTreeNode(links)
    const digest = new Uint8Array(hash('sha256', bytes, 'buffer'))
    let leafBytes = 0
    let dagBytes = bytes.length
    for (const link of links) {
      leafBytes += link.leafBytes
      dagBytes += link.dagBytes
    }
    await this.#emit({ digest, bytes })
    await this.#append(level + 1, { digest, codec: dagPbCodec, leafBytes, dagBytes })
  }
}
