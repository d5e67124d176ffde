import type { Catalog, CatalogBatch, Liveness, Operation } from '../catalog/index.ts'
import { artifactIdOf, bytesText, orderedUint64 } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Overlay } from '../storage/index.ts'
import { Accounts, type AccountsInit } from './accounts.ts'
import { type FeedChange, feedChanges, feedRow, keptFeedRows } from './feed.ts'

/** What changes of artifacts are made on. */
export interface ArtifactChangesInit extends Omit<AccountsInit, 'overlay' | 'isNew'> {
  readonly namespace: Uint8Array
  readonly catalog: Catalog
  /** Number of the next row of the feed; `undefined` writes none. */
  readonly nextFeedRow: number | undefined
  /** Number of the first row that the feed ever had. */
  readonly firstFeedRow?: number | undefined
}

/** What entries that count make of artifacts: their versions in the catalog, the leaves that these hold, and the feed. */
export class ArtifactChanges {
  readonly catalog: CatalogBatch
  readonly accounts: Accounts
  readonly #init: ArtifactChangesInit
  readonly #overlay: Overlay
  readonly #drawn = new Set<string>()
  readonly #unseen = new Set<string>()
  readonly #changed = new Map<string, Uint8Array>()
  #nextFeedRow: number | undefined

  constructor(init: ArtifactChangesInit, overlay: Overlay) {
    this.#init = init
    this.#overlay = overlay
    this.catalog = init.catalog.begin()
    this.accounts = new Accounts({
      ...init,
      overlay,
      isNew: (artifact) => this.isDrawn(artifact) || this.#unseen.has(bytesText(artifact)),
    })
    this.#nextFeedRow = init.nextFeedRow
  }

  /** Number of the next row of the feed; `undefined` when none is written. */
  get nextFeedRow(): number | undefined {
    return this.#nextFeedRow
  }

  /** Artifacts whose versions changed. */
  get changed(): Iterable<Uint8Array> {
    return this.#changed.values()
  }

  /** Spares looking for what an artifact has in the store: its id was drawn just now, so there is nothing. */
  begin(artifact: Uint8Array): void {
    this.#drawn.add(bytesText(artifact))
    this.catalog.assumeNew(artifact)
  }

  /** Whether its id was drawn for what is written here. */
  isDrawn(artifact: Uint8Array): boolean {
    return this.#drawn.has(bytesText(artifact))
  }

  /** See `Transaction.primeArtifacts`. */
  async prime(entries: readonly Entry[]): Promise<Iterable<Uint8Array>> {
    const artifacts = new Map<string, Uint8Array>()
    const keyed = new Map<string, Uint8Array>()
    for (const { header, keys } of entries) {
      if (header.data === undefined) continue
      const artifact = artifactIdOf(this.#init.namespace, header.data.artifactSalt)
      artifacts.set(bytesText(artifact), artifact)
      if (keys !== undefined) keyed.set(bytesText(artifact), artifact)
    }
    for (const artifact of await this.catalog.assumeUnseen([...artifacts.values()])) {
      this.#unseen.add(bytesText(artifact))
      keyed.delete(bytesText(artifact))
    }
    return keyed.values()
  }

  /** Takes in what a data entry that counts says of its artifact. */
  async apply(operation: Operation): Promise<void> {
    await this.#account(operation.artifact, await this.catalog.apply(operation), operation)
  }

  /** Makes an artifact what exactly these operations make it. */
  async rebuild(artifact: Uint8Array, operations: readonly Operation[]): Promise<void> {
    await this.#account(artifact, await this.catalog.rebuild(artifact, operations), undefined)
  }

  /** Has the feed say that an artifact is there as if it had come just now; nothing of one that is not shown. */
  async tellAgain(artifact: Uint8Array): Promise<void> {
    const current = await this.catalog.current(artifact)
    if (current === undefined) return
    this.#tell({ kind: 'created', artifact, entry: current.entry, clock: current.updatedAt })
  }

  async #account(artifact: Uint8Array, liveness: Liveness, by: Operation | undefined): Promise<void> {
    for (const root of liveness.began) await this.accounts.hold(artifact, root)
    for (const root of liveness.ended) await this.accounts.release(artifact, root)
    this.#changed.set(bytesText(artifact), artifact)
    if (this.#nextFeedRow === undefined) return
    const current = liveness.isShown && liveness.vanished.length > 0 ? await this.catalog.current(artifact) : undefined
    for (const change of feedChanges(artifact, liveness, by, current)) this.#tell(change)
  }

  #tell(change: FeedChange): void {
    if (this.#nextFeedRow === undefined) return
    const { keys, firstFeedRow = 0 } = this.#init
    const row = this.#nextFeedRow++
    this.#overlay.put(keys.key('feed', orderedUint64(row)), feedRow(change))
    if (row - keptFeedRows >= firstFeedRow) this.#overlay.del(keys.key('feed', orderedUint64(row - keptFeedRows)))
  }
}
