import { hash } from 'node:crypto'
import { varint } from 'multiformats'
import { treeFanOut } from '../limits.ts'
import { dagPbCodec, rawCodec } from './cid.ts'

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

/** What a child takes in a node at most, bytes: its link 53, its blocksize 11. */
const maxChildBytes = 64
/** What the eighth byte of a varint counts, the last of those that are exact as numbers. */
const maxVarintScale = 2 ** 49
/** What is in a node beside its children, bytes: less than this. */
const maxFrameBytes = 32

// What stands between what differs. Of PBNode.Links (2): Hash (1), a CIDv1 of 36 bytes; Name (2), empty; Tsize (3).
const link = Uint8Array.of(0x12)
const hashAndVersion = Uint8Array.of(0x0a, 36, 0x01)
const sha2256 = Uint8Array.of(0x12, 32)
const nameAndTsize = Uint8Array.of(0x12, 0, 0x18)
// Of PBNode.Data (1): UnixFS Type (1) = File (2), filesize (3), blocksizes (4).
const data = Uint8Array.of(0x0a)
const typeAndFileSize = Uint8Array.of(0x08, 2, 0x18)
const blockSize = Uint8Array.of(0x20)

/**
 * The bytes of the UnixFS file node over these children (dag-pb: links without names, Tsize the bytes of the DAG below;
 * UnixFS data: type file, one blocksize a child, no inline data). One list of children has one encoding.
 *
 * Written here, and read below, not by @ipld/dag-pb, which makes a dozen objects a link and takes 19 ms to write the first full node of a process
 * and 27 to read it where these take 3: while the last node of an upload is made, and the first one of a download is checked, nothing else goes on. Nor by ipfs-unixfs: the varints of
 * protons-runtime (6.0.1 to 8.0.1) are wrong for 2^31 to 2^32 − 1, which makes files of that many bytes unreadable.
 */
export function encodeTreeNode(children: readonly TreeLink[]): Uint8Array {
  const bytes = new Uint8Array(maxFrameBytes + children.length * maxChildBytes)
  let at = 0
  const putAll = (some: Uint8Array): void => {
    bytes.set(some, at)
    at += some.length
  }
  const putVarint = (value: number): void => {
    varint.encodeTo(value, bytes, at)
    at += varint.encodingLength(value)
  }
  for (const { digest, codec, dagBytes } of children) {
    putAll(link)
    bytes[at++] = 41 + varint.encodingLength(dagBytes)
    putAll(hashAndVersion)
    bytes[at++] = codec
    putAll(sha2256)
    putAll(digest)
    putAll(nameAndTsize)
    putVarint(dagBytes)
  }
  let fileSize = 0
  let dataLength = 3
  for (const { leafBytes } of children) {
    fileSize += leafBytes
    dataLength += 1 + varint.encodingLength(leafBytes)
  }
  putAll(data)
  putVarint(dataLength + varint.encodingLength(fileSize))
  putAll(typeAndFileSize)
  putVarint(fileSize)
  for (const { leafBytes } of children) {
    putAll(blockSize)
    putVarint(leafBytes)
  }
  return bytes.slice(0, at)
}

/**
 * The children that `encodeTreeNode` was given. Of bytes that it did not write, this may give some all the same: encoding them again shows.
 * @throws RangeError
 */
export function decodeTreeNode(bytes: Uint8Array): TreeLink[] {
  let at = 0
  const skip = (some: Uint8Array): void => {
    for (let skipped = 0; skipped < some.length; skipped++) {
      if (bytes[at++] !== some[skipped]) throw new RangeError('not what is written here')
    }
  }
  const takeVarint = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0
      value += (byte & 127) * scale
      if (byte < 128) return value
      if (scale === maxVarintScale) throw new RangeError('too large a number')
    }
  }
  const links: { readonly digest: Uint8Array; readonly codec: number; leafBytes: number; readonly dagBytes: number }[] =
    []
  while (bytes[at] === link[0]) {
    // Past what follows from the rest: how long the link is.
    at += 2
    skip(hashAndVersion)
    const codec = bytes[at++] ?? 0
    skip(sha2256)
    const digest = bytes.slice(at, at + 32)
    at += 32
    skip(nameAndTsize)
    links.push({ digest, codec, leafBytes: 0, dagBytes: takeVarint() })
  }
  skip(data)
  takeVarint()
  skip(typeAndFileSize)
  takeVarint()
  for (const link of links) {
    skip(blockSize)
    link.leafBytes = takeVarint()
  }
  if (at !== bytes.length) throw new RangeError('more than is written here')
  return links
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
