import { artifactIdOf, bytesText } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { NamespaceParts } from './parts.ts'
import { operationFrom } from './recount.ts'
import { readStored } from './stored-log.ts'
import type { Transaction } from './transaction.ts'

const batchRows = 500

/**
 * Entries of a partial log that said nothing to the catalog when they came, for nothing opened their artifact yet (`OpenedArtifacts`): they do once something does. In memory
 * are their hashes, and maybe others; they are looked for in the log once, when the first artifact is opened.
 */
export class HeldBack {
  readonly #parts: Pick<NamespaceParts, 'id' | 'log' | 'catalog'>
  /** By artifact, as text; `undefined` until it is looked for them. */
  #hashes: Map<string, Uint8Array[]> | undefined

  constructor(parts: Pick<NamespaceParts, 'id' | 'log' | 'catalog'>) {
    this.#parts = parts
  }

  /** The store may have others than are known here. */
  forget(): void {
    this.#hashes = undefined
  }

  /**
   * Takes in what was stored in a transaction, and what it completed: artifacts that are opened by that get what was held back of them.
   * @param stored data entries
   */
  async settle(tx: Transaction, stored: readonly Entry[]): Promise<void> {
    for (const artifact of tx.opened.takeNoted()) {
      if (await tx.opened.hadBefore(artifact)) continue
      this.#hashes ??= await this.#find(tx)
      // They stay here: what comes of this transaction is not known yet.
      for (const hash of this.#hashes.get(bytesText(artifact)) ?? []) {
        const entry = await tx.entry(hash)
        const operation = entry && tx.membership.counts(entry) ? await operationFrom(tx, entry) : undefined
        if (operation !== undefined) await tx.apply(operation)
      }
    }
    if (this.#hashes === undefined) return
    for (const entry of stored) {
      const artifact = this.#artifactOf(entry)
      if (artifact !== undefined && !(await tx.opened.has(artifact))) add(this.#hashes, artifact, entry.hash)
    }
  }

  async #find(tx: Transaction): Promise<Map<string, Uint8Array[]>> {
    const found = new Map<string, Uint8Array[]>()
    let some: { artifact: Uint8Array; entry: Uint8Array }[] = []
    const look = async () => {
      const isHeld = await this.#parts.catalog.holds(some)
      for (const [at, { artifact, entry }] of some.entries()) if (isHeld[at] !== true) add(found, artifact, entry)
      some = []
    }
    for await (const { bytes } of this.#parts.log.all()) {
      const entry = readStored(bytes)
      const artifact = entry && this.#artifactOf(entry)
      if (entry === undefined || artifact === undefined) continue
      some.push({ artifact, entry: entry.hash })
      if (some.length === batchRows) await look()
    }
    await look()
    for (const entry of tx.storedEntries) {
      const artifact = this.#artifactOf(entry)
      if (artifact !== undefined) add(found, artifact, entry.hash)
    }
    return found
  }

  /** Of which artifact an entry says anything to the catalog. */
  #artifactOf({ header: { data, kind } }: Entry): Uint8Array | undefined {
    const isSaid = kind === 'put' || kind === 'delete' || kind === 'drop'
    return isSaid && data !== undefined ? artifactIdOf(this.#parts.id, data.artifactSalt) : undefined
  }
}

function add(hashes: Map<string, Uint8Array[]>, artifact: Uint8Array, hash: Uint8Array): void {
  const name = bytesText(artifact)
  const same = hashes.get(name)
  if (same === undefined) hashes.set(name, [hash])
  else same.push(hash)
}
