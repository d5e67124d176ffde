import { ArtifactHubError } from '../../src/errors.ts'
import type { KeyValueChange, KeyValueStore } from '../../src/storage/key-value.ts'
import { recordHeaderBytes } from './pack-format.ts'

/** A digest as a key of a Map. */
export type DigestKey = string

/** See DigestKey. */
export function digestKey(digest: Uint8Array): DigestKey {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString('latin1')
}

/** Where a block is. */
export interface BlockLocation {
  readonly pack: number
  /** Where its record starts in the pack file, bytes. */
  readonly offset: number
  /** Bytes of the block. */
  readonly length: number
  /** Seconds since 1970. */
  readonly storedAt: number
}

/** A block with its digest. */
export interface PlacedBlock {
  readonly digest: Uint8Array
  readonly location: BlockLocation
}

/** `open`: may have records past `end`. `sealed`: nothing past `end` counts. `retired`: its file is to be removed. */
export type PackState = 'open' | 'sealed' | 'retired'

/** What the index knows of one pack file. */
export interface PackRow {
  readonly state: PackState
  /** All records before this offset are indexed or dead, and on the disk. */
  readonly end: number
  /** Index rows that point into it. */
  readonly liveCount: number
  /** Bytes of their records, headers included. */
  readonly liveBytes: number
}

/** One atomic change of the index. The counts of pack rows follow from it. */
export interface IndexChange {
  readonly put?: readonly PlacedBlock[]
  /** Each must be what the index holds now. */
  readonly remove?: readonly PlacedBlock[]
  readonly packs?: ReadonlyMap<number, { readonly state?: PackState; readonly end?: number }>
  readonly dropPacks?: readonly number[]
  /** Packs whose files are to stay as they are. */
  readonly hold?: readonly number[]
  /** Refuses the change when the index was read again since it had this generation. */
  readonly generation?: number
}

const blockTable = 0x62
const packTable = 0x70
const heldTable = 0x71
const rebuildingTable = 0x72
const nextPackTable = 0x6e
const states: readonly PackState[] = ['open', 'sealed', 'retired']
const emptyRow: PackRow = { state: 'open', end: 0, liveCount: 0, liveBytes: 0 }

/**
 * The rows of one namespace. Under the prefix: `b` ‖ digest (32) → pack, offset, length, stored at (u32 LE each);
 * `p` ‖ pack (u32 BE) → state (u8), end, live count, live bytes (u32 LE each); `q` ‖ pack (u32 BE) → nothing: the pack is held;
 * `r` → nothing, while the index is being made again from the packs; `n` → a number (u32 LE) above those of all packs that were ever retired.
 *
 * Changes run one after the other. After a failed one the counts in memory may be wrong: `inDoubt` is set until `load`.
 */
export class PackIndex {
  readonly #store: KeyValueStore
  readonly #prefix: Uint8Array
  #packs = new Map<number, PackRow>()
  #held = new Set<number>()
  #turn: Promise<unknown> = Promise.resolve()
  #inDoubt = false
  #generation = 0
  #rebuilding = false
  #nextPack = 1

  constructor(store: KeyValueStore, prefix: Uint8Array) {
    this.#store = store
    this.#prefix = prefix
  }

  get inDoubt(): boolean {
    return this.#inDoubt
  }

  /** Whether it was cleared and the packs have not all been scanned since. */
  get rebuilding(): boolean {
    return this.#rebuilding
  }

  /**
   * Above every number that a row has or had when it was retired. A number is not used twice: after a power cut the old
   * pack's row may come back, and would take the new pack's file for its own.
   */
  get nextPack(): number {
    return Math.max(this.#nextPack, ...[...this.#packs.keys()].map((pack) => pack + 1))
  }

  /** How many times it was loaded. */
  get generation(): number {
    return this.#generation
  }

  /** By pack number. */
  get packs(): ReadonlyMap<number, PackRow> {
    return this.#packs
  }

  /** Packs that hold a damaged block: their files are evidence, and neither removed nor compacted. Also across a rebuild. */
  get held(): ReadonlySet<number> {
    return this.#held
  }

  /** Reads the pack rows; O(packs). */
  async load(): Promise<void> {
    const packs = new Map<number, PackRow>()
    for await (const [key, value] of this.#store.entries(this.#tableRange(packTable))) {
      const row = view(value)
      packs.set(view(key).getUint32(this.#prefix.length + 1), {
        state: states[row.getUint8(0)] ?? 'open',
        end: row.getUint32(1, true),
        liveCount: row.getUint32(5, true),
        liveBytes: row.getUint32(9, true),
      })
    }
    const held = new Set<number>()
    for await (const [key] of this.#store.entries(this.#tableRange(heldTable))) {
      held.add(view(key).getUint32(this.#prefix.length + 1))
    }
    this.#rebuilding = (await this.#store.get(this.#singleKey(rebuildingTable))) !== undefined
    const next = await this.#store.get(this.#singleKey(nextPackTable))
    this.#nextPack = next ? view(next).getUint32(0, true) : 1
    this.#packs = packs
    this.#held = held
    this.#generation++
    this.#inDoubt = false
  }

  async find(digest: Uint8Array): Promise<BlockLocation | undefined> {
    const value = await this.#store.get(this.#blockKey(digest))
    return value && decodeLocation(value)
  }

  async findMany(digests: readonly Uint8Array[]): Promise<(BlockLocation | undefined)[]> {
    const values = await this.#store.getMany(digests.map((digest) => this.#blockKey(digest)))
    return values.map((value) => value && decodeLocation(value))
  }

  /** All blocks, in order of digest, over a snapshot. */
  async *blocks(options: { signal?: AbortSignal } = {}): AsyncGenerator<PlacedBlock> {
    const from = this.#prefix.length + 1
    for await (const [key, value] of this.#store.entries(this.#tableRange(blockTable), options)) {
      yield { digest: key.subarray(from), location: decodeLocation(value) }
    }
  }

  /** @throws whatever the store throws; then `inDoubt` */
  change(change: IndexChange, options: { sync: boolean }): Promise<void> {
    const result = this.#turn.then(() => this.#change(change, options))
    this.#turn = result.catch(() => {})
    return result
  }

  /** Removes every row. With `rebuild` a mark says so until `endRebuild`, whatever happens between. */
  async clear(options: { rebuild: boolean }): Promise<void> {
    this.#inDoubt = true
    if (options.rebuild) {
      await this.#store.batch([{ type: 'put', key: this.#singleKey(rebuildingTable), value: new Uint8Array() }], {
        sync: true,
      })
    }
    for (const table of options.rebuild ? [packTable, blockTable] : [packTable, blockTable, heldTable, nextPackTable]) {
      let dels: KeyValueChange[] = []
      for await (const [key] of this.#store.entries(this.#tableRange(table))) {
        dels.push({ type: 'del', key })
        if (dels.length === 4096) {
          await this.#store.batch(dels, { sync: false })
          dels = []
        }
      }
      await this.#store.batch(dels, { sync: true })
    }
  }

  /** All packs have been scanned. */
  async endRebuild(): Promise<void> {
    try {
      await this.#store.batch([{ type: 'del', key: this.#singleKey(rebuildingTable) }], { sync: true })
    } catch (error) {
      this.#inDoubt = true
      throw error
    }
    this.#rebuilding = false
  }

  #singleKey(table: number): Uint8Array {
    return Uint8Array.of(...this.#prefix, table)
  }

  async #change(change: IndexChange, options: { sync: boolean }): Promise<void> {
    const stale = change.generation !== undefined && change.generation !== this.#generation
    if (this.#inDoubt || stale) {
      throw new ArtifactHubError('STORAGE_FAILED', 'a write of the index failed meanwhile; try again')
    }
    const rows = new Map<number, PackRow>()
    const adjust = (pack: number, update: (row: PackRow) => Partial<PackRow>) => {
      const row = rows.get(pack) ?? this.#packs.get(pack) ?? emptyRow
      rows.set(pack, { ...row, ...update(row) })
    }
    const batch: KeyValueChange[] = []
    for (const { digest, location } of change.remove ?? []) {
      adjust(location.pack, (row) => ({
        liveCount: row.liveCount - 1,
        liveBytes: row.liveBytes - recordHeaderBytes - location.length,
      }))
      batch.push({ type: 'del', key: this.#blockKey(digest) })
    }
    for (const { digest, location } of change.put ?? []) {
      adjust(location.pack, (row) => ({
        liveCount: row.liveCount + 1,
        liveBytes: row.liveBytes + recordHeaderBytes + location.length,
      }))
      batch.push({ type: 'put', key: this.#blockKey(digest), value: encodeLocation(location) })
    }
    for (const [pack, fields] of change.packs ?? []) adjust(pack, () => fields)
    for (const [pack, row] of rows) {
      batch.push({ type: 'put', key: this.#packKey(packTable, pack), value: encodePackRow(row) })
    }
    for (const pack of change.hold ?? []) {
      batch.push({ type: 'put', key: this.#packKey(heldTable, pack), value: new Uint8Array() })
    }
    for (const pack of change.dropPacks ?? []) batch.push({ type: 'del', key: this.#packKey(packTable, pack) })
    const { nextPack } = this
    if ([...rows.values()].some((row) => row.state === 'retired')) {
      const value = new Uint8Array(4)
      view(value).setUint32(0, nextPack, true)
      batch.push({ type: 'put', key: this.#singleKey(nextPackTable), value })
      this.#nextPack = nextPack
    }
    try {
      await this.#store.batch(batch, options)
    } catch (error) {
      this.#inDoubt = true
      throw error
    }
    for (const [pack, row] of rows) this.#packs.set(pack, row)
    for (const pack of change.dropPacks ?? []) this.#packs.delete(pack)
    for (const pack of change.hold ?? []) this.#held.add(pack)
  }

  #blockKey(digest: Uint8Array): Uint8Array {
    const key = new Uint8Array(this.#prefix.length + 1 + digest.length)
    key.set(this.#prefix)
    key[this.#prefix.length] = blockTable
    key.set(digest, this.#prefix.length + 1)
    return key
  }

  #packKey(table: number, pack: number): Uint8Array {
    const key = new Uint8Array(this.#prefix.length + 5)
    key.set(this.#prefix)
    key[this.#prefix.length] = table
    view(key).setUint32(this.#prefix.length + 1, pack)
    return key
  }

  #tableRange(table: number): { gte: Uint8Array; lt: Uint8Array } {
    return { gte: this.#singleKey(table), lt: this.#singleKey(table + 1) }
  }
}

function encodeLocation(location: BlockLocation): Uint8Array {
  const bytes = new Uint8Array(16)
  const fields = view(bytes)
  fields.setUint32(0, location.pack, true)
  fields.setUint32(4, location.offset, true)
  fields.setUint32(8, location.length, true)
  fields.setUint32(12, location.storedAt, true)
  return bytes
}

function decodeLocation(bytes: Uint8Array): BlockLocation {
  if (bytes.length !== 16) throw new ArtifactHubError('CORRUPT', `an index row of ${bytes.length} bytes`)
  const fields = view(bytes)
  return {
    pack: fields.getUint32(0, true),
    offset: fields.getUint32(4, true),
    length: fields.getUint32(8, true),
    storedAt: fields.getUint32(12, true),
  }
}

function encodePackRow(row: PackRow): Uint8Array {
  const bytes = new Uint8Array(13)
  const fields = view(bytes)
  fields.setUint8(0, states.indexOf(row.state))
  fields.setUint32(1, row.end, true)
  fields.setUint32(5, row.liveCount, true)
  fields.setUint32(9, row.liveBytes, true)
  return bytes
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
