import { bytesText, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { entryOf, genOf, includesBytes, type Keyspace, type Place, placeOf, tables, within } from './keys.ts'
import {
  type ContentRoot,
  type DeleteOperation,
  type DropOperation,
  endedState,
  type Operation,
  type PutOperation,
} from './operation.ts'
import type { RangeOverlay } from './overlay.ts'
import {
  type ArtifactHead,
  decodeEnded,
  decodeHead,
  decodeOperation,
  encodeEnded,
  encodeHead,
  encodeLive,
  encodeOperation,
  isHiddenRow,
  type StoredOperation,
  statusOf,
  withStatus,
} from './rows.ts'

/** The head of an artifact that nothing was said of. */
export const emptyHead: ArtifactHead = {
  first: undefined,
  current: undefined,
  siblings: 0,
  heads: [],
  live: 0,
  waiting: 0,
}

type Ending = DeleteOperation | DropOperation

/** What became of an artifact's versions, by place as text. */
export interface Changed {
  /** Roots of versions that became live, and of those that ended; a version that did both is in neither. */
  readonly began: ReadonlyMap<string, ContentRoot>
  readonly ended: ReadonlyMap<string, ContentRoot>
  /** Versions that came to be shown, and those shown before that ended. */
  readonly appeared: ReadonlyMap<string, PutOperation>
  readonly vanished: ReadonlyMap<string, PutOperation>
}

/**
 * The version DAG of one artifact, changed one operation at a time. Everything stored is a function of the set of
 * operations, never of their order, because each step only carries out what is already implied:
 *
 * - a put is listed when the last of its parents is, so no version is listed before its ancestors;
 * - hence a newly listed version has no listed descendants, and nothing covers it but what waits for it by name;
 * - what ends a version lowers a minimum of times, and a version's ancestors are always covered by at most that.
 *
 * An update costs its parents, not the artifact's history; a delete costs the versions that it newly covers.
 */
export class History {
  readonly #overlay: RangeOverlay
  readonly #keys: Keyspace
  readonly #artifact: Uint8Array
  #head: ArtifactHead
  /** Whether the current version or its siblings may have ended; found again when the operation is done. */
  #currentLost = false
  /** Places and roots of the versions that became live, and that ended, since this was opened. */
  readonly #began = new Map<string, ContentRoot>()
  readonly #ended = new Map<string, ContentRoot>()
  /** Versions that came to be shown, and that no longer are, since this was opened. */
  readonly #appeared = new Map<string, PutOperation>()
  readonly #vanished = new Map<string, PutOperation>()
  /** The version listed last, which is likely to be asked for next. */
  #latest: PutOperation | undefined

  private constructor(overlay: RangeOverlay, keys: Keyspace, artifact: Uint8Array, head: ArtifactHead) {
    this.#overlay = overlay
    this.#keys = keys
    this.#artifact = artifact
    this.#head = head
  }

  static async open(overlay: RangeOverlay, keys: Keyspace, artifact: Uint8Array): Promise<History> {
    const row = await overlay.get(keys.key(tables.head, artifact))
    return new History(overlay, keys, artifact, row === undefined ? emptyHead : decodeHead(row))
  }

  get head(): ArtifactHead {
    return this.#head
  }

  /** What changed since this was opened. */
  get changed(): Changed {
    return { began: this.#began, ended: this.#ended, appeared: this.#appeared, vanished: this.#vanished }
  }

  /**
   * Takes in one operation; nothing happens when it is here already, but that a hidden put takes a state. Returns whether
   * anything changed.
   */
  async add(op: Operation): Promise<boolean> {
    // Every artifact that anything was said of has a head.
    const row = this.#head === emptyHead ? undefined : await this.#overlay.get(this.#operationKey(op.entry))
    if (row !== undefined) {
      if (op.kind !== 'put' || op.state === undefined || !this.#reveal(op, row)) return false
    } else if (op.kind === 'put') await this.#addPut(op)
    else await this.#addEnding(op)
    if (this.#currentLost) await this.#findCurrent()
    this.#overlay.put(this.#keys.key(tables.head, this.#artifact), encodeHead(this.#head))
    return true
  }

  /** The stored operation of an entry, if it is here. */
  async operation(entry: Uint8Array): Promise<StoredOperation | undefined> {
    if (this.#latest !== undefined && equalBytes(entry, this.#latest.entry))
      return { status: 'listed', op: this.#latest }
    const row = await this.#overlay.get(this.#operationKey(entry))
    return row && decodeOperation(this.#artifact, entry, row)
  }

  async #addPut(op: PutOperation): Promise<void> {
    const { status, missing } = await this.#judge(op)
    this.#overlay.put(this.#operationKey(op.entry), encodeOperation({ status, op }))
    if (op.state === undefined) this.#overlay.put(this.#hiddenKey(op.entry), new Uint8Array())
    for (const target of missing) this.#wait(target, op.entry)
    if (status !== 'pending') await this.#settle(op, status === 'listed')
  }

  /** Gives a hidden put its state. */
  #reveal(op: PutOperation, row: Uint8Array): boolean {
    const { status, op: known } = decodeOperation(this.#artifact, op.entry, row)
    if (known.kind !== 'put' || known.state !== undefined) return false
    const shown: PutOperation = { ...known, state: op.state }
    this.#overlay.put(this.#operationKey(op.entry), encodeOperation({ status, op: shown }))
    this.#overlay.del(this.#hiddenKey(op.entry))
    // Once a version has ended its state is the one that all ended ones have: a hidden one that is listed is live.
    if (status !== 'listed') return true
    const place = placeOf(shown)
    this.#overlay.put(
      this.#keys.key(tables.live, this.#artifact, place),
      encodeLive({ root: shown.root, hidden: false }),
    )
    this.#show(shown, place)
    return true
  }

  /** Counts a live version among those that are shown. */
  #show(op: PutOperation, place: Place): void {
    const { current, siblings } = this.#head
    const step = current === undefined ? 1 : op.gen - genOf(current)
    this.#head = {
      ...this.#head,
      current: step > 0 || (step === 0 && Buffer.compare(place, current as Place) > 0) ? place : current,
      siblings: step > 0 ? 0 : step === 0 ? siblings + 1 : siblings,
    }
    this.#appeared.set(bytesText(place), op)
    this.#latest = op
  }

  async #addEnding(op: Ending): Promise<void> {
    this.#overlay.put(this.#operationKey(op.entry), encodeOperation({ status: 'ending', op }))
    for (const target of distinct(op.kind === 'delete' ? op.parents : op.versions)) {
      const row = await this.#overlay.get(this.#operationKey(target))
      const status = row && statusOf(row)
      if (status === undefined || status === 'pending') this.#wait(target, op.entry)
      else if (status === 'listed') await this.#carryOut(op, target)
    }
    await this.#settle(op, false)
  }

  /** What becomes of a put as things stand, and which parents it waits for. */
  async #judge(op: PutOperation): Promise<{ status: 'pending' | 'listed' | 'ignored'; missing: Uint8Array[] }> {
    const missing: Uint8Array[] = []
    let highest = 0
    for (const parent of distinct(op.parents)) {
      const head = this.#head.heads.find((place) => equalBytes(entryOf(place), parent))
      if (head !== undefined) {
        highest = Math.max(highest, genOf(head))
        continue
      }
      const row = await this.#overlay.get(this.#operationKey(parent))
      const status = row && statusOf(row)
      if (row === undefined || status === 'pending') {
        missing.push(parent)
        continue
      }
      const stored = decodeOperation(this.#artifact, parent, row)
      if (status !== 'listed' || stored.op.kind !== 'put') return { status: 'ignored', missing: [] }
      highest = Math.max(highest, stored.op.gen)
    }
    if (missing.length > 0) return { status: 'pending', missing }
    return { status: op.gen === highest + 1 ? 'listed' : 'ignored', missing }
  }

  /** Carries out what follows from an operation that is no longer pending, and from what that settles in turn. */
  async #settle(op: Operation, listed: boolean): Promise<void> {
    const queue: { op: Operation; listed: boolean }[] = [{ op, listed }]
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      if (next.listed) this.#list(next.op as PutOperation)
      for (const waiter of await this.#takeWaiters(next.op.entry)) {
        const stored = await this.#stored(waiter)
        if (stored.op.kind === 'put') {
          // Parents that settled together each bring their waiter here; the first one settles it.
          if (stored.status !== 'pending') continue
          const { status } = await this.#judge(stored.op)
          if (status === 'pending') continue
          const key = this.#operationKey(waiter)
          this.#overlay.put(key, withStatus((await this.#overlay.get(key)) as Uint8Array, status))
          if (status === 'ignored') await this.#stopWaiting(stored.op)
          queue.push({ op: stored.op, listed: status === 'listed' })
        } else if (next.listed) {
          await this.#carryOut(stored.op, next.op.entry)
        }
      }
    }
  }

  #list(op: PutOperation): void {
    const head = this.#head
    const place = placeOf(op)
    this.#overlay.put(
      this.#keys.key(tables.live, this.#artifact, place),
      encodeLive({ root: op.root, hidden: op.state === undefined }),
    )
    this.#began.set(bytesText(place), op.root)
    const heads = head.heads.filter((one) => !includesBytes(op.parents, entryOf(one)))
    const at = heads.findIndex((one) => Buffer.compare(one, place) > 0)
    heads.splice(at === -1 ? heads.length : at, 0, place)
    const first = head.first === undefined || (op.gen === 1 && isEarlier(op, head.first)) ? op : head.first
    this.#head = { ...head, first, heads, live: head.live + 1 }
    if (op.state !== undefined) this.#show(op, place)
  }

  async #carryOut(op: Ending, target: Uint8Array): Promise<void> {
    const atMs = op.clock.wallMs
    if (op.kind === 'drop') {
      await this.#end((await this.#stored(target)).op as PutOperation, { droppedMs: atMs })
      return
    }
    const open = [target]
    for (let entry = open.pop(); entry !== undefined; entry = open.pop()) {
      const version = (await this.#stored(entry)).op as PutOperation
      if (await this.#end(version, { deletedMs: atMs })) open.push(...version.parents)
    }
  }

  /** Ends a version or lowers the time of its end; returns whether anything changed. */
  async #end(version: PutOperation, by: { deletedMs?: number; droppedMs?: number }): Promise<boolean> {
    const place = placeOf(version)
    const key = this.#keys.key(tables.ended, this.#artifact, place)
    const row = await this.#overlay.get(key)
    const was = row && decodeEnded(row)
    const deletedMs = earliest(was?.deletedMs, by.deletedMs)
    const droppedMs = earliest(was?.droppedMs, by.droppedMs)
    if (was !== undefined && deletedMs === was.deletedMs && droppedMs === was.droppedMs) return false
    this.#overlay.put(key, encodeEnded({ root: version.root, deletedMs, droppedMs }))
    if (was !== undefined) return true
    const ended: PutOperation = { ...version, state: endedState }
    this.#overlay.put(this.#operationKey(version.entry), encodeOperation({ status: 'listed', op: ended }))
    this.#overlay.del(this.#keys.key(tables.live, this.#artifact, place))
    const name = bytesText(place)
    if (!this.#began.delete(name)) this.#ended.set(name, version.root)
    if (version.state === undefined) this.#overlay.del(this.#hiddenKey(version.entry))
    else if (!this.#appeared.delete(name)) this.#vanished.set(name, version)
    const { current } = this.#head
    this.#head = { ...this.#head, live: this.#head.live - 1 }
    if (current !== undefined && version.gen >= genOf(current)) this.#currentLost = true
    return true
  }

  async #findCurrent(): Promise<void> {
    this.#currentLost = false
    let current: Place | undefined
    let siblings = 0
    if (this.#head.live > 0) {
      const prefix = this.#keys.key(tables.live, this.#artifact)
      for await (const [key, row] of this.#overlay.entries({ ...within(prefix), reverse: true })) {
        if (isHiddenRow(row)) continue
        const place = this.#keys.place(key)
        if (current === undefined) current = place
        else if (genOf(place) === genOf(current)) siblings++
        else break
      }
    }
    this.#head = { ...this.#head, current, siblings }
  }

  #wait(target: Uint8Array, waiter: Uint8Array): void {
    this.#overlay.put(this.#waitingKey(target, waiter), new Uint8Array())
    this.#head = { ...this.#head, waiting: this.#head.waiting + 1 }
  }

  async #takeWaiters(target: Uint8Array): Promise<Uint8Array[]> {
    if (this.#head.waiting === 0) return []
    const waiters: Uint8Array[] = []
    const prefix = this.#keys.key(tables.waiting, this.#artifact, target)
    for await (const [key] of this.#overlay.entries(within(prefix))) {
      waiters.push(key.subarray(prefix.length))
      this.#overlay.del(key)
    }
    this.#head = { ...this.#head, waiting: this.#head.waiting - waiters.length }
    return waiters
  }

  async #stopWaiting(op: PutOperation): Promise<void> {
    for (const parent of distinct(op.parents)) {
      const key = this.#waitingKey(parent, op.entry)
      if ((await this.#overlay.get(key)) === undefined) continue
      this.#overlay.del(key)
      this.#head = { ...this.#head, waiting: this.#head.waiting - 1 }
    }
  }

  async #stored(entry: Uint8Array): Promise<StoredOperation> {
    const stored = await this.operation(entry)
    if (stored === undefined) throw new ArtifactHubError('CORRUPT', 'the catalog lacks an operation that it refers to')
    return stored
  }

  #operationKey(entry: Uint8Array): Uint8Array {
    return this.#keys.key(tables.operation, this.#artifact, entry)
  }

  #hiddenKey(entry: Uint8Array): Uint8Array {
    return this.#keys.key(tables.hidden, this.#artifact, entry)
  }

  #waitingKey(target: Uint8Array, waiter: Uint8Array): Uint8Array {
    return this.#keys.key(tables.waiting, this.#artifact, target, waiter)
  }
}

function isEarlier(a: PutOperation, b: NonNullable<ArtifactHead['first']>): boolean {
  const step = a.clock.wallMs - b.clock.wallMs || a.clock.counter - b.clock.counter
  return step < 0 || (step === 0 && Buffer.compare(a.entry, b.entry) < 0)
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Math.min(a, b)
}

function distinct(list: readonly Uint8Array[]): Uint8Array[] {
  return list.filter((one, at) => list.findIndex((other) => equalBytes(one, other)) === at)
}
