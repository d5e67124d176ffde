import { artifactIdBytes, bytesText } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxVersionHeads } from '../limits.ts'
import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { type Changed, History } from './history.ts'
import { indexRows } from './index-rows.ts'
import { clockOf, entryBytes, entryOf, genOf, type Keyspace, tables, within } from './keys.ts'
import type { ArtifactState, ClockReading, ContentRoot, Operation } from './operation.ts'
import { RangeOverlay } from './overlay.ts'
import { type ArtifactHead, type CatalogCounts, decodeCounts, decodeLive, encodeCounts } from './rows.ts'
import { readHead, readVersion, type VersionRecord, type VersionRef } from './versions.ts'

/** What the next update of an artifact says about what came before it. */
export interface VersionHeads {
  /** Entry hashes that it names as parents, at most 32, ascending by (gen, clock, entry). */
  readonly entries: Uint8Array[]
  /** The gen that it must carry. */
  readonly nextGen: number
}

/** What an operation did to the versions of its artifact. One that began and ended at once is in none of the lists. */
export interface Liveness {
  /** Roots of versions that became live. */
  readonly began: readonly ContentRoot[]
  /** Roots of versions that ended. */
  readonly ended: readonly ContentRoot[]
  /** Versions that came to be shown: listed and not hidden, ascending by place. */
  readonly appeared: readonly VersionMark[]
  /** Versions shown before that ended, or count no longer. */
  readonly vanished: readonly VersionMark[]
  /** Whether the artifact had a version to show before, and whether it has one now. */
  readonly wasShown: boolean
  readonly isShown: boolean
}

/** One version: the entry that wrote it, and its clock. */
export interface VersionMark {
  readonly entry: Uint8Array
  readonly clock: ClockReading
}

/**
 * Changes of a catalog that are not written yet. Its reads see them. Use it from one caller, one call at a time,
 * write `changes` in one batch, and begin the next batch after that.
 */
export class CatalogBatch {
  readonly #keys: Keyspace
  readonly #overlay: RangeOverlay
  readonly #newArtifacts = new Set<string>()
  /** As it will be stored; absent until it changes. */
  #counts: CatalogCounts | undefined

  /** Made by `Catalog.begin`. */
  constructor(store: KeyValueStore, keys: Keyspace) {
    this.#keys = keys
    this.#overlay = new RangeOverlay(
      store,
      (key) => keys.scanGroup(key),
      (key) => this.#newArtifacts.size > 0 && this.#newArtifacts.has(bytesText(keys.artifact(key))),
    )
  }

  /** Spares looking for an artifact whose id was drawn just now: nothing of it can be in the store. */
  assumeNew(artifact: Uint8Array): void {
    this.#newArtifacts.add(bytesText(artifact))
  }

  /** Looks for artifacts at one go. Gives those of which nothing is in the store, and spares looking for them again. */
  async assumeUnseen(artifacts: readonly Uint8Array[]): Promise<Uint8Array[]> {
    // Every artifact that anything was said of has a head.
    const heads = await this.#overlay.getMany(artifacts.map((artifact) => this.#keys.key(tables.head, artifact)))
    const unseen = artifacts.filter((_, at) => heads[at] === undefined)
    for (const artifact of unseen) this.assumeNew(artifact)
    return unseen
  }

  /** What to write, each key once. Everything that was applied is in it, whenever it is read. */
  get changes(): KeyValueChange[] {
    if (this.#counts === undefined) return this.#overlay.changes
    const key = this.#keys.key(tables.counts)
    // No row rather than zeros: a catalog that was emptied is the same bytes as one that never held anything.
    const isEmpty = this.#counts.versions === 0
    const change: KeyValueChange = isEmpty
      ? { type: 'del', key }
      : { type: 'put', key, value: encodeCounts(this.#counts) }
    return [...this.#overlay.changes, change]
  }

  /**
   * Heads of the version DAG, ended versions included, so that no number is used twice. Of more than 32 the
   * highest; the others wait for the update after.
   */
  async versionHeads(artifact: Uint8Array): Promise<VersionHeads> {
    const { heads } = await readHead(this.#overlay, this.#keys, artifact)
    const named = heads.slice(-maxVersionHeads)
    const highest = named.at(-1)
    return { entries: named.map((place) => entryOf(place)), nextGen: highest === undefined ? 1 : genOf(highest) + 1 }
  }

  /** The current version; `undefined` when none is live. */
  current(artifact: Uint8Array): Promise<VersionRecord | undefined> {
    return readVersion(this.#overlay, this.#keys, artifact)
  }

  /** The version that `ref` names; `undefined` when it is not here or ended. @throws INVALID_ARGUMENT as `Catalog.get` does */
  version(artifact: Uint8Array, ref: VersionRef): Promise<VersionRecord | undefined> {
    return readVersion(this.#overlay, this.#keys, artifact, ref)
  }

  /**
   * Takes in what one counted entry says. Applying it again changes nothing, and the order does not matter. One
   * operation may change several versions: those that waited for it.
   *
   * @throws INVALID_ARGUMENT for an operation that no log may hand over (a clock or gen out of range, an id or hash
   *   of the wrong length); nothing is changed then
   */
  async apply(op: Operation): Promise<Liveness> {
    checkOperation(op)
    const history = await History.open(this.#overlay, this.#keys, op.artifact)
    const before = await this.#shown(history)
    if (await history.add(op)) await this.#reindex(op.artifact, before, await this.#shown(history))
    return livenessOf(history.changed, before.head, history.head)
  }

  /**
   * Makes an artifact what exactly these operations make it, whatever it was: for operations that no longer count.
   * Reads and rewrites everything of that artifact.
   *
   * @throws INVALID_ARGUMENT as `apply`, and when an operation is another artifact's
   */
  async rebuild(artifact: Uint8Array, ops: Iterable<Operation>): Promise<Liveness> {
    const all = [...ops]
    for (const op of all) {
      checkOperation(op)
      if (Buffer.compare(op.artifact, artifact) !== 0) {
        throw new ArtifactHubError('INVALID_ARGUMENT', 'an artifact cannot be rebuilt from operations of another')
      }
    }
    const before = await this.#shown(await History.open(this.#overlay, this.#keys, artifact))
    const ended = new Map<string, ContentRoot>()
    const vanished = new Map<string, VersionMark>()
    for (const table of [tables.operation, tables.head, tables.live, tables.ended, tables.waiting, tables.hidden]) {
      const prefix = this.#keys.key(table, artifact)
      for await (const [key, value] of this.#overlay.entries(within(prefix))) {
        if (table === tables.live) {
          const place = this.#keys.place(key)
          const { root, hidden } = decodeLive(value)
          ended.set(bytesText(place), root)
          if (!hidden) vanished.set(bytesText(place), { entry: entryOf(place), clock: clockOf(place) })
        }
        this.#overlay.del(key)
      }
    }
    const history = await History.open(this.#overlay, this.#keys, artifact)
    for (const op of all) await history.add(op)
    await this.#reindex(artifact, before, await this.#shown(history))
    const began = new Map(history.changed.began)
    for (const place of began.keys()) if (ended.delete(place)) began.delete(place)
    const appeared = new Map(history.changed.appeared)
    for (const place of appeared.keys()) if (vanished.delete(place)) appeared.delete(place)
    return livenessOf({ began, ended, appeared, vanished }, before.head, history.head)
  }

  /** Hashes of the puts of an artifact whose state is not known here. */
  async hiddenOf(artifact: Uint8Array): Promise<Uint8Array[]> {
    const hashes: Uint8Array[] = []
    for await (const [key] of this.#overlay.entries(within(this.#keys.key(tables.hidden, artifact)))) {
      hashes.push(Uint8Array.from(key.subarray(key.length - entryBytes)))
    }
    return hashes
  }

  /** Whether a version that is not here, or waits itself, is named by an operation of its artifact. */
  async isAwaited(artifact: Uint8Array, entry: Uint8Array): Promise<boolean> {
    for await (const _ of this.#overlay.entries(within(this.#keys.key(tables.waiting, artifact, entry)))) return true
    return false
  }

  /** Hashes of all counted entries of an artifact. */
  async entriesOf(artifact: Uint8Array): Promise<Uint8Array[]> {
    const hashes: Uint8Array[] = []
    for await (const [key] of this.#overlay.entries(within(this.#keys.key(tables.operation, artifact)))) {
      hashes.push(Uint8Array.from(key.subarray(key.length - entryBytes)))
    }
    return hashes
  }

  async #shown(history: History): Promise<Shown> {
    const { head } = history
    const stored = head.current === undefined ? undefined : await history.operation(entryOf(head.current))
    return { head, state: stored?.op.kind === 'put' ? stored.op.state : undefined }
  }

  async #reindex(artifact: Uint8Array, before: Shown, after: Shown): Promise<void> {
    const stale = this.#rowsOf(artifact, before)
    for (const [text, row] of this.#rowsOf(artifact, after)) {
      if (!stale.delete(text)) this.#overlay.put(row, noValue, text)
    }
    for (const [text, row] of stale) this.#overlay.del(row, text)
    const artifacts = Math.sign(after.head.live) - Math.sign(before.head.live)
    const versions = after.head.live - before.head.live
    if (artifacts === 0 && versions === 0) return
    this.#counts ??= await this.#storedCounts()
    this.#counts = { artifacts: this.#counts.artifacts + artifacts, versions: this.#counts.versions + versions }
  }

  async #storedCounts(): Promise<CatalogCounts> {
    const row = await this.#overlay.get(this.#keys.key(tables.counts))
    return row === undefined ? { artifacts: 0, versions: 0 } : decodeCounts(row)
  }

  #rowsOf(artifact: Uint8Array, { head, state }: Shown): Map<string, Uint8Array> {
    return state === undefined ? new Map() : indexRows(this.#keys, artifact, head, state)
  }
}

/** What the indexes of an artifact follow from. */
interface Shown {
  readonly head: ArtifactHead
  /** State of the current version. */
  readonly state: ArtifactState | undefined
}

function livenessOf({ began, ended, appeared, vanished }: Maps, before: ArtifactHead, after: ArtifactHead): Liveness {
  const marks = (map: ReadonlyMap<string, VersionMark>) =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { entry, clock }]) => ({ entry, clock }))
  return {
    began: [...began.values()],
    ended: [...ended.values()],
    appeared: marks(appeared),
    vanished: marks(vanished),
    wasShown: before.current !== undefined,
    isShown: after.current !== undefined,
  }
}

type Maps = Pick<Changed, 'began' | 'ended'> & {
  appeared: ReadonlyMap<string, VersionMark>
  vanished: ReadonlyMap<string, VersionMark>
}

const noValue = new Uint8Array()

function checkOperation(op: Operation): void {
  const hashes = [op.entry, ...op.parents, ...(op.kind === 'drop' ? op.versions : [])]
  const isWell =
    op.artifact.length === artifactIdBytes &&
    hashes.every((hash) => hash.length === entryBytes) &&
    isUint(op.clock.wallMs, 2 ** 48 - 1) &&
    isUint(op.clock.counter, 2 ** 32 - 1) &&
    (op.kind !== 'put' || (isUint(op.gen, 2 ** 32 - 1) && op.gen > 0))
  if (!isWell) throw new ArtifactHubError('INVALID_ARGUMENT', 'an operation has a field that is out of range')
}

function isUint(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}
