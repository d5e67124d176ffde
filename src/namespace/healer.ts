import { toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { AuthorKnowledge } from './author-knowledge.ts'
import { writeLostRevocations } from './capability-writes.ts'
import { ClosedKeys } from './closed-keys.ts'
import type { KnownDescriptors } from './group-descriptor.ts'
import { KeyHealer } from './key-heal.ts'
import type { Ledger } from './ledger.ts'
import { LostShares } from './lost-shares.ts'
import { writeOwed } from './membership-writes.ts'
import { ShareHealer } from './share-heal.ts'

/** What this node writes of itself so that whoever may read a namespace can, and nobody else. */
export class Healer {
  readonly #ledger: Ledger
  readonly #closedKeys: ClosedKeys
  readonly #keys: KeyHealer
  readonly #shares: ShareHealer
  readonly #lostShares: LostShares
  #isPutOff = false

  constructor(ledger: Ledger, descriptors: KnownDescriptors) {
    const knowledge = new AuthorKnowledge(ledger.parts)
    this.#ledger = ledger
    this.#closedKeys = new ClosedKeys(ledger)
    this.#keys = new KeyHealer(ledger, this.#closedKeys, knowledge)
    this.#shares = new ShareHealer(ledger, knowledge, (group) => descriptors.isBehind(group))
    this.#lostShares = new LostShares(ledger)
  }

  /**
   * Writes what is owed and this agent may write: what it gave, or took back, where others are not told of it, an epoch without former members, boxes that members lack,
   * keys that are closed to them, keys of shares. Gives how many entries. @throws CORRUPT, what the store throws
   */
  async run(): Promise<number> {
    try {
      return await this.#run()
    } catch (error) {
      // A disk that is full or fails may take it later; what is damaged stays so.
      this.#isPutOff = !isHubError(error, 'CORRUPT') && !isHubError(error, 'CLOSED')
      throw error
    }
  }

  async #run(): Promise<number> {
    // Who heard of a share first, and not that it was taken back, would seal keys for it.
    const said = (await writeLostRevocations(this.#ledger)) + (await this.#lostShares.run())
    const done = [await writeOwed(this.#ledger), await this.#keys.run(), await this.#shares.run()]
    this.#isPutOff = done.some(({ isPutOff }) => isPutOff)
    return done.reduce((sum, { written }) => sum + written, said)
  }

  /** Whether there is something that this agent may write at the next `run`: when entries have come, or some time has passed. */
  get isPutOff(): boolean {
    return this.#isPutOff || this.#closedKeys.hasNew
  }

  /**
   * Who wrote or shared something that counts under a key that not every member comes by (raw public keys, ascending): under an epoch of somebody who had no right to begin one, of
   * which the author had not heard, or sealed by name. Whoever writes here and has the key gives it to the others (`run`).
   */
  async owedKeys(): Promise<Uint8Array[]> {
    const { epochs, keys } = await this.#closedKeys.owed()
    const authors = [...epochs, ...keys].flatMap(({ entries }) => entries.map(({ header }) => header.author))
    return [...new Map(authors.map((author) => [toHex(author), author])).values()].sort(Buffer.compare)
  }
}
