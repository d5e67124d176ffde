import type { ContentRoot } from '../catalog/index.ts'
import { rawCodec, walkTree } from '../content/index.ts'
import { decodeCanonical, encodeCanonical, orderedUint64, readUint64 } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import type { KeyValueChange, KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
import type { Overlay } from './overlay.ts'
import type { NamespaceKeys } from './tables.ts'

/** What a namespace holds. */
export interface Totals {
  /** Distinct live leaves, bytes. */
  readonly leafBytes: number
  /** Entries as stored, bytes. */
  readonly entryBytes: number
}

const batchLeaves = 4_096
const maxRowBytes = 64

/** One leaf: its digest and its block's length. */
interface Leaf {
  readonly digest: Uint8Array
  readonly blockBytes: number
}

/**
 * Counts distinct live leaves: how many live versions hold each root, and how many live roots each leaf. Leaves are
 * never shared between artifacts, for each has a key of its own. This is this node's own bookkeeping and can be counted
 * again from the catalog and the blocks.
 */
export class Accounts {
  readonly #keys: NamespaceKeys
  readonly #overlay: Overlay
  readonly #blocks: NamespaceBlocks
  /** Whether nothing of an artifact is in the store yet. */
  readonly #isNew: (artifact: Uint8Array) => boolean
  readonly #startLeafBytes: number
  #leafBytes: number
  #entryBytes: number
  #changed = false

  constructor(
    keys: NamespaceKeys,
    overlay: Overlay,
    blocks: NamespaceBlocks,
    totals: Totals,
    isNew: (artifact: Uint8Array) => boolean,
  ) {
    this.#keys = keys
    this.#overlay = overlay
    this.#blocks = blocks
    this.#isNew = isNew
    this.#startLeafBytes = totals.leafBytes
    this.#leafBytes = totals.leafBytes
    this.#entryBytes = totals.entryBytes
  }

  /** Leaf bytes that came (or, below 0, went) since the totals it began with. */
  get addedLeafBytes(): number {
    return this.#leafBytes - this.#startLeafBytes
  }

  get totals(): Totals {
    return { leafBytes: this.#leafBytes, entryBytes: this.#entryBytes }
  }

  /** What records the totals, if they were touched. */
  get changes(): KeyValueChange[] {
    if (!this.#changed) return []
    const value = encodeCanonical([this.#leafBytes, this.#entryBytes])
    return [{ type: 'put', key: this.#keys.key('totals'), value }]
  }

  addEntryBytes(bytes: number): void {
    this.#entryBytes += bytes
    this.#changed = true
  }

  /** Bytes of leaves that a live version with this root would add. */
  async wouldAdd(artifact: Uint8Array, root: ContentRoot): Promise<number> {
    if (root.inline) return (await this.#count(artifact, root.digest)) === 0 ? root.storedBytes : 0
    if (root.codec !== rawCodec && (await this.#count(artifact, root.digest)) > 0) return 0
    let bytes = 0
    for await (const batch of this.#leaves(root)) {
      const counts = await this.#counts(artifact, batch)
      batch.forEach(({ blockBytes }, at) => {
        if (counts[at] === undefined) bytes += blockBytes
      })
    }
    return bytes
  }

  /** A version with this root became live. */
  async hold(artifact: Uint8Array, root: ContentRoot): Promise<void> {
    if (root.codec !== rawCodec && (await this.#change(artifact, root.digest, 1)) > 1) return
    await this.#changeLeaves(artifact, root, 1)
  }

  /** A version with this root ended. */
  async release(artifact: Uint8Array, root: ContentRoot): Promise<void> {
    if (root.codec !== rawCodec && (await this.#change(artifact, root.digest, -1)) > 0) return
    await this.#changeLeaves(artifact, root, -1)
  }

  async #changeLeaves(artifact: Uint8Array, root: ContentRoot, by: 1 | -1): Promise<void> {
    this.#changed = true
    // The one leaf of most artifacts: its entry says all that a walk would find.
    if (root.inline) {
      this.#changeLeaf(
        artifact,
        { digest: root.digest, blockBytes: root.storedBytes },
        by,
        await this.#count(artifact, root.digest),
      )
      return
    }
    for await (const batch of this.#leaves(root)) {
      const counts = await this.#counts(artifact, batch)
      batch.forEach((leaf, at) => {
        this.#changeLeaf(artifact, leaf, by, readCount(counts[at]))
      })
    }
  }

  #changeLeaf(artifact: Uint8Array, { digest, blockBytes }: Leaf, by: 1 | -1, count: number): void {
    if (by === 1 ? count === 0 : count === 1) this.#leafBytes += by * blockBytes
    this.#write(artifact, digest, count + by)
  }

  /** A tree's distinct leaves in batches; none of a tree that is not whole here, for that takes no room here. */
  async *#leaves(root: ContentRoot): AsyncGenerator<Leaf[]> {
    const seen = new Set<string>()
    let batch: Leaf[] = []
    try {
      for await (const block of walkTree({ root, blocks: this.#blocks })) {
        const name = Buffer.from(block.digest).toString('latin1')
        if (block.kind === 'node' || seen.has(name)) continue
        seen.add(name)
        batch.push(block)
        if (batch.length < batchLeaves) continue
        yield batch
        batch = []
      }
    } catch (error) {
      if (!isHubError(error, 'UNAVAILABLE') && !isHubError(error, 'CORRUPT')) throw error
      return
    }
    yield batch
  }

  async #count(artifact: Uint8Array, digest: Uint8Array): Promise<number> {
    return readCount(await this.#overlay.get(this.#key(artifact, digest), this.#isNew(artifact)))
  }

  #counts(artifact: Uint8Array, leaves: readonly Leaf[]): Promise<(Uint8Array | undefined)[]> {
    const keys = leaves.map(({ digest }) => this.#key(artifact, digest))
    return this.#overlay.getMany(keys, this.#isNew(artifact))
  }

  async #change(artifact: Uint8Array, digest: Uint8Array, by: 1 | -1): Promise<number> {
    const count = (await this.#count(artifact, digest)) + by
    this.#write(artifact, digest, count)
    return count
  }

  #write(artifact: Uint8Array, digest: Uint8Array, count: number): void {
    const key = this.#key(artifact, digest)
    if (count > 0) this.#overlay.put(key, orderedUint64(count))
    else this.#overlay.del(key)
  }

  #key(artifact: Uint8Array, digest: Uint8Array): Uint8Array {
    return this.#keys.key('references', artifact, digest)
  }
}

/** The totals as last recorded. @throws CORRUPT */
export async function loadTotals(store: KeyValueStore, keys: NamespaceKeys): Promise<Totals> {
  const value = await store.get(keys.key('totals'))
  if (value === undefined) return { leafBytes: 0, entryBytes: 0 }
  const totals = readTotals(value)
  if (totals === undefined) throw new ArtifactHubError('CORRUPT', 'the totals of a namespace are damaged')
  return totals
}

/** Recorded totals, or `undefined` when the row is damaged. */
export function readTotals(value: Uint8Array): Totals | undefined {
  try {
    const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'the totals' })
    if (!Array.isArray(row) || row.length !== 2 || !row.every(Number.isSafeInteger)) return undefined
    return { leafBytes: row[0], entryBytes: row[1] }
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

function readCount(value: Uint8Array | undefined): number {
  return value === undefined ? 0 : readUint64(value)
}
