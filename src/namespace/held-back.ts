import { artifactIdOf, bytesText } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { operationFrom } from './recount.ts'
import { readStored, type StoredLog } from './stored-log.ts'
import type { Transaction } from './transaction.ts'

/**
 * Entries of a partial log that said nothing to the catalog when they came, for nothing opened their artifact yet (`OpenedArtifacts`): they do once something does. In memory
 * are their hashes, and maybe others; they are looked for in the log once, when the first artifact is opened.
 */
export class HeldBack {
  readonly #log: StoredLog
  readonly #namespace: Uint8Array
  /** By artifact, as text; `undefined` until it is looked for them. */
  #hashes: Map<string, Uint8Array[]> | undefined

  constructor(log: StoredLog, namespace: Uint8Array) {
    this.#log = log
    this.#namespace = namespace
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
    for (const entry of stored) await this.#add(this.#hashes, entry, (artifact) => tx.opened.has(artifact))
  }

  async #find(tx: Transaction): Promise<Map<string, Uint8Array[]>> {
    const found = new Map<string, Uint8Array[]>()
    for await (const { bytes } of this.#log.all()) {
      const entry = readStored(bytes)
      if (entry !== undefined) await this.#add(found, entry, (artifact) => tx.opened.hadBefore(artifact))
    }
    for (const entry of tx.storedEntries) await this.#add(found, entry, (artifact) => tx.opened.hadBefore(artifact))
    return found
  }

  async #add(
    hashes: Map<string, Uint8Array[]>,
    { header: { data }, hash }: Entry,
    isOpened: (artifact: Uint8Array) => Promise<boolean>,
  ): Promise<void> {
    if (data === undefined) return
    const artifact = artifactIdOf(this.#namespace, data.artifactSalt)
    if (await isOpened(artifact)) return
    const name = bytesText(artifact)
    const same = hashes.get(name)
    if (same === undefined) hashes.set(name, [hash])
    else same.push(hash)
  }
}
