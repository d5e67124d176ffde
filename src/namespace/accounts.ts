import type { ContentRoot } from '../catalog/index.ts'
import { type LeafTable, rawCodec, walkTree } from '../content/index.ts'
import {
  bytesText,
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  orderedUint64,
  readUint64,
  toHex,
} from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import type { KeyValueChange, KeyValueStore, NamespaceBlocks, Overlay } from '../storage/index.ts'
import type { NamespaceKeys } from './tables.ts'

/** What a namespace holds. */
export interface Totals {
  /** Distinct live leaves, bytes; at most `Number.MAX_SAFE_INTEGER`. Of content whose tree is not whole here, what its version says. */
  readonly leafBytes: number
  /** The same, however many: what versions say need not be true, and the sum of it must go down again as it went up. */
  readonly exactLeafBytes: bigint
  /** Entries as stored, bytes. */
  readonly entryBytes: number
  /** How many entries are stored. */
  readonly entries: number
}

export const noTotals: Totals = { leafBytes: 0, exactLeafBytes: 0n, entryBytes: 0, entries: 0 }

const batchLeaves = 4_096
const maxRowBytes = 64
/** After the count in the row of a root whose leaves are not counted one by one. */
const estimatedMark = 1

/** One leaf: the key of its row, and its block's length. */
interface Leaf {
  readonly key: Uint8Array
  readonly blockBytes: number
}

/** Where trees are read, to count their leaves. */
export type CountedBlocks = Pick<NamespaceBlocks, 'read' | 'has'>

/** What accounts are kept of. */
export interface AccountsInit {
  readonly keys: NamespaceKeys
  readonly overlay: Overlay
  readonly blocks: CountedBlocks
  readonly totals: Totals
  /** Whether nothing of an artifact is in the store yet. */
  readonly isNew: (artifact: Uint8Array) => boolean
  /** Whether a root (the rest of its row's key) was estimated when it was counted before; `undefined` when that is not known. */
  readonly isEstimated?: ((rest: Uint8Array) => Promise<boolean | undefined>) | undefined
}

/**
 * Counts distinct live leaves: how many live versions hold each root, and how many live roots each leaf. Leaves are
 * never shared between artifacts, for each has a key of its own. A root that is not whole here is *estimated*: it counts
 * for as many bytes as its version says, until it is settled. This is this node's own bookkeeping and can be
 * counted again from the catalog and the blocks.
 */
export class Accounts {
  readonly #init: AccountsInit
  #leafBytes: bigint
  #entryBytes: number
  #entries: number
  #changed = false
  /** The last tree that was whole: what a version would add is asked right before it is held, and large trees take long. */
  #lastWalk: { readonly artifact: Uint8Array; readonly root: ContentRoot; readonly leaves: readonly Leaf[] } | undefined

  constructor(init: AccountsInit) {
    this.#init = init
    this.#leafBytes = init.totals.exactLeafBytes
    this.#entryBytes = init.totals.entryBytes
    this.#entries = init.totals.entries
  }

  /** Leaf bytes that came (or, below 0, went) since the totals it began with. */
  get addedLeafBytes(): number {
    return Number(this.#leafBytes - this.#init.totals.exactLeafBytes)
  }

  get totals(): Totals {
    return totalsOf(this.#leafBytes, this.#entryBytes, this.#entries)
  }

  /** What records the totals, if they were touched. */
  get changes(): KeyValueChange[] {
    if (!this.#changed) return []
    const isSafe = this.#leafBytes <= Number.MAX_SAFE_INTEGER
    const leafBytes = isSafe ? Number(this.#leafBytes) : largeBytes(this.#leafBytes)
    const value = encodeCanonical([leafBytes, this.#entryBytes, this.#entries])
    return [{ type: 'put', key: this.#init.keys.key('totals'), value }]
  }

  /** An entry of so many bytes is stored. */
  addEntry(bytes: number): void {
    this.#entries += 1
    this.addEntryBytes(bytes)
  }

  /** An entry that is stored grew by so many bytes. */
  addEntryBytes(bytes: number): void {
    this.#entryBytes += bytes
    this.#changed = true
  }

  /**
   * Bytes of leaves that a live version with this root would add.
   * @param stored the root's leaves, where this node has just stored them: spares reading its tree, here and in `hold`
   */
  async wouldAdd(artifact: Uint8Array, root: ContentRoot, stored?: LeafTable): Promise<number> {
    const held = await this.#row(artifact, this.#key(artifact, root))
    if (held !== undefined) return 0
    if (root.codec === rawCodec) return root.storedBytes
    if (stored !== undefined) {
      this.#lastWalk = { artifact, root, leaves: leavesIn(this.#init.keys, artifact, stored) }
    }
    let bytes = 0
    for (const batch of batches((await this.#walk(artifact, root)).leaves)) {
      const rows = await this.#rows(artifact, batch)
      batch.forEach(({ blockBytes }, at) => {
        if (rows[at] === undefined) bytes += blockBytes
      })
    }
    return bytes
  }

  /** A version with this root became live. */
  async hold(artifact: Uint8Array, root: ContentRoot): Promise<void> {
    this.#changed = true
    const key = this.#key(artifact, root)
    const row = await this.#row(artifact, key)
    if (root.codec === rawCodec) {
      const isHere = root.inline || (row === undefined ? await this.#isHere(key, root) : !isEstimate(row))
      this.#changeLeaf({ key, blockBytes: root.storedBytes }, 1, row, !isHere)
      return
    }
    if (row !== undefined) {
      this.#write(key, readCount(row) + 1, isEstimate(row))
      return
    }
    const known = await this.#knownEstimate(key)
    const tree = known === true ? undefined : await this.#walk(artifact, root)
    // What was whole here and is not any more is damage, which a fetch may not be taken to mend: gc must see it.
    const isCounted = tree !== undefined && (tree.whole || known === false)
    this.#write(key, 1, !isCounted)
    if (isCounted) await this.#changeLeaves(artifact, tree.leaves, 1)
    else this.#leafBytes += BigInt(root.storedBytes)
  }

  /** A version with this root ended. */
  async release(artifact: Uint8Array, root: ContentRoot): Promise<void> {
    this.#changed = true
    const key = this.#key(artifact, root)
    const row = await this.#row(artifact, key)
    if (root.codec === rawCodec) {
      this.#changeLeaf({ key, blockBytes: root.storedBytes }, -1, row, isEstimate(row))
      return
    }
    const count = readCount(row) - 1
    this.#write(key, count, isEstimate(row))
    if (count > 0) return
    if (isEstimate(row)) this.#leafBytes -= BigInt(root.storedBytes)
    else await this.#changeLeaves(artifact, (await this.#walk(artifact, root)).leaves, -1)
  }

  /** Counts the leaves of a root that was estimated. `false` when it is not, or its tree is still not whole here. */
  async settle(artifact: Uint8Array, root: ContentRoot): Promise<boolean> {
    const key = this.#key(artifact, root)
    const row = await this.#row(artifact, key)
    if (row === undefined || !isEstimate(row)) return false
    if (root.codec === rawCodec) {
      if ((await this.#init.blocks.has([root.digest]))[0] !== true) return false
      this.#write(key, readCount(row), false)
      return true
    }
    const { leaves, whole } = await this.#walk(artifact, root)
    if (!whole) return false
    this.#changed = true
    this.#write(key, readCount(row), false)
    this.#leafBytes -= BigInt(root.storedBytes)
    await this.#changeLeaves(artifact, leaves, 1)
    return true
  }

  async #changeLeaves(artifact: Uint8Array, leaves: readonly Leaf[], by: 1 | -1): Promise<void> {
    for (const batch of batches(leaves)) {
      const rows = await this.#rows(artifact, batch)
      batch.forEach((leaf, at) => {
        this.#changeLeaf(leaf, by, rows[at], false)
      })
    }
  }

  #changeLeaf({ key, blockBytes }: Leaf, by: 1 | -1, row: Uint8Array | undefined, estimated: boolean): void {
    const count = readCount(row)
    if (by === 1 ? count === 0 : count === 1) this.#leafBytes += BigInt(by * blockBytes)
    this.#write(key, count + by, estimated)
  }

  /** Whether the one block of content that is a single leaf is here. */
  async #isHere(key: Uint8Array, root: ContentRoot): Promise<boolean> {
    const known = await this.#knownEstimate(key)
    return known === undefined ? (await this.#init.blocks.has([root.digest]))[0] === true : !known
  }

  /** Whether a root was estimated when it was counted before; `undefined` when it was not. */
  async #knownEstimate(key: Uint8Array): Promise<boolean | undefined> {
    const { keys, isEstimated } = this.#init
    return await isEstimated?.(keys.rest(key))
  }

  /** A tree's distinct leaves, and whether all of its nodes are here; without one, the leaves up to it. */
  async #walk(artifact: Uint8Array, root: ContentRoot): Promise<{ leaves: readonly Leaf[]; whole: boolean }> {
    const last = this.#lastWalk
    if (last !== undefined && equalBytes(last.artifact, artifact) && isSameTree(last.root, root)) {
      return { leaves: last.leaves, whole: true }
    }
    const seen = new Set<string>()
    const leaves: Leaf[] = []
    try {
      for await (const block of walkTree({ root, blocks: this.#init.blocks })) {
        const name = bytesText(block.digest)
        if (block.kind === 'node' || seen.has(name)) continue
        seen.add(name)
        const { digest, blockBytes } = block
        leaves.push({ key: this.#key(artifact, { digest, storedBytes: blockBytes }), blockBytes })
      }
    } catch (error) {
      if (!isHubError(error, 'UNAVAILABLE') && !isHubError(error, 'CORRUPT')) throw error
      return { leaves, whole: false }
    }
    this.#lastWalk = { artifact, root, leaves }
    return { leaves, whole: true }
  }

  #row(artifact: Uint8Array, key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#init.overlay.get(key, this.#init.isNew(artifact))
  }

  #rows(artifact: Uint8Array, leaves: readonly Leaf[]): Promise<(Uint8Array | undefined)[]> {
    const keys = leaves.map(({ key }) => key)
    return this.#init.overlay.getMany(keys, this.#init.isNew(artifact))
  }

  #write(key: Uint8Array, count: number, estimated: boolean): void {
    const { overlay } = this.#init
    if (count <= 0) overlay.del(key)
    else if (estimated) overlay.put(key, concatBytes(orderedUint64(count), mark))
    else overlay.put(key, count === 1 ? one : orderedUint64(count))
  }

  /** The size is in the key, for a hostile version may lie about it: what each says is counted by itself. */
  #key(artifact: Uint8Array, block: Pick<ContentRoot, 'digest' | 'storedBytes'>): Uint8Array {
    return referenceKey(this.#init.keys, artifact, block)
  }
}

/** Most rows are this: not one for each of the leaves of a large content. */
const one = orderedUint64(1)
const mark = Uint8Array.of(estimatedMark)

function isSameTree(a: ContentRoot, b: ContentRoot): boolean {
  return (
    a.codec === b.codec &&
    a.sizeBytes === b.sizeBytes &&
    a.storedBytes === b.storedBytes &&
    equalBytes(a.digest, b.digest)
  )
}

/** The row that counts who holds a root or a leaf. */
function referenceKey(
  keys: NamespaceKeys,
  artifact: Uint8Array,
  { digest, storedBytes }: Pick<ContentRoot, 'digest' | 'storedBytes'>,
): Uint8Array {
  return keys.key('references', artifact, digest, orderedUint64(storedBytes))
}

/** Leaves with their keys, which are parts of one piece of memory: a large content has a hundred thousand, and all are needed at once. */
function leavesIn(keys: NamespaceKeys, artifact: Uint8Array, stored: LeafTable): Leaf[] {
  // Digest and size are its end.
  const first = referenceKey(keys, artifact, { digest: new Uint8Array(32), storedBytes: 0 })
  const [digestAt, sizeAt] = [first.length - 40, first.length - 8]
  const memory = new ArrayBuffer(first.length * stored.size)
  const leaves: Leaf[] = []
  for (const { digest, leafBytes } of stored) {
    const key = new Uint8Array(memory, leaves.length * first.length, first.length)
    key.set(first)
    key.set(digest, digestAt)
    key.set(orderedUint64(leafBytes), sizeAt)
    leaves.push({ key, blockBytes: leafBytes })
  }
  return leaves
}

/** Whether the leaves of a live root are not counted one by one, for its tree was not whole here when it became live. */
export async function isEstimatedRoot(
  store: KeyValueStore,
  keys: NamespaceKeys,
  artifact: Uint8Array,
  root: ContentRoot,
): Promise<boolean> {
  return !root.inline && isEstimate(await store.get(referenceKey(keys, artifact, root)))
}

/** Whether the row of a root says that it is estimated. */
export function isEstimate(row: Uint8Array | undefined): boolean {
  return row?.[8] === estimatedMark
}

function* batches(leaves: readonly Leaf[]): Generator<readonly Leaf[]> {
  for (let at = 0; at < leaves.length; at += batchLeaves) yield leaves.slice(at, at + batchLeaves)
}

/** The totals as last recorded. @throws CORRUPT */
export async function loadTotals(store: KeyValueStore, keys: NamespaceKeys): Promise<Totals> {
  const value = await store.get(keys.key('totals'))
  if (value === undefined) return noTotals
  const totals = readTotals(value)
  if (totals === undefined) throw new ArtifactHubError('CORRUPT', 'the totals of a namespace are damaged')
  return totals
}

/** Recorded totals, or `undefined` when the row is damaged. */
export function readTotals(value: Uint8Array): Totals | undefined {
  try {
    const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'the totals' })
    if (!Array.isArray(row) || row.length !== 3) return undefined
    const [leafBytes, entryBytes, entries] = row
    const exact = leafBytes instanceof Uint8Array ? BigInt(`0x0${toHex(leafBytes)}`) : leafBytes
    const isWell = typeof exact === 'bigint' || Number.isSafeInteger(exact)
    if (!isWell || !Number.isSafeInteger(entryBytes) || !Number.isSafeInteger(entries)) return undefined
    return totalsOf(BigInt(exact), entryBytes, entries)
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

function totalsOf(exactLeafBytes: bigint, entryBytes: number, entries: number): Totals {
  const leafBytes = Math.min(Number(exactLeafBytes), Number.MAX_SAFE_INTEGER)
  return { leafBytes, exactLeafBytes, entryBytes, entries }
}

/** 16 bytes, big-endian: for more than an integer of the format holds. */
function largeBytes(value: bigint): Uint8Array {
  return new Uint8Array(Buffer.from(value.toString(16).padStart(32, '0'), 'hex'))
}

function readCount(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : readUint64(value.subarray(0, 8))
}
