import { bytesText } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { chainOf } from './chains.ts'

interface Use {
  readonly seq: number
  readonly hash: Uint8Array
}

/** The entries of one chain that use a key: where the first counts any does. */
interface UsesOfChain {
  readonly grant: string
  first: Use
  last: Use
}

interface UsedKey<K> {
  readonly key: K
  readonly chains: Map<string, UsesOfChain>
}

/** Keys that are used under one grant: in how many chains each, and the sum. */
interface NamesOfGrant {
  readonly chains: Map<string, number>
  total: number
}

/**
 * Which entries use which keys. Of what is written under one grant so many keys are kept in mind, by chain, for naming one costs its author nothing;
 * those that nothing is owed of give way first.
 */
export class ClosedUses<K> {
  readonly #maxOfGrant: number
  readonly #keys = new Map<string, UsedKey<K>>()
  readonly #namesOfGrant = new Map<string, NamesOfGrant>()
  /** Names of those of which nothing is owed as things are. */
  readonly #done = new Set<string>()
  #isLeftOut = false
  #hasRoom = false

  /** @param maxOfGrant keys, by chain */
  constructor(maxOfGrant: number) {
    this.#maxOfGrant = maxOfGrant
  }

  /** Whether there is room since for some that there was none for. */
  get isToBeMadeAnew(): boolean {
    return this.#isLeftOut && this.#hasRoom
  }

  clear(): void {
    this.#keys.clear()
    this.#namesOfGrant.clear()
    this.#done.clear()
    this.#isLeftOut = false
    this.#hasRoom = false
  }

  /** All that are kept in mind; what is taken out meanwhile is passed over. */
  *all(): Generator<{ readonly name: string; readonly key: K; readonly hashes: readonly Uint8Array[] }> {
    for (const [name, { key, chains }] of this.#keys) {
      yield { name, key, hashes: [...chains.values()].flatMap(({ first, last }) => [first.hash, last.hash]) }
    }
  }

  take(name: string, key: K, isDone: boolean, entry: Entry): void {
    const known = this.#keys.get(name) ?? { key, chains: new Map<string, UsesOfChain>() }
    const chain = bytesText(chainOf(entry))
    const use = { seq: entry.header.seq, hash: entry.hash.slice() }
    const uses = known.chains.get(chain)
    if (uses === undefined) {
      const grant = bytesText(entry.header.grant ?? entry.hash)
      if (!this.#makeRoom(grant, name)) {
        if (!isDone) this.#isLeftOut = true
        return
      }
      if (!this.#keys.has(name) && isDone) this.#done.add(name)
      this.#keys.set(name, known)
      known.chains.set(chain, { grant, first: use, last: use })
      this.#count(grant, name, 1)
    } else if (use.seq < uses.first.seq) uses.first = use
    else if (use.seq > uses.last.seq) uses.last = use
  }

  setDone(name: string, isDone: boolean): void {
    if (!this.#keys.has(name) || this.#done.has(name) === isDone) return
    if (isDone) {
      this.#done.add(name)
      this.#hasRoom = true
    } else this.#done.delete(name)
  }

  delete(name: string): void {
    if (this.#remove(name)) this.#hasRoom = true
  }

  #remove(name: string): boolean {
    const known = this.#keys.get(name)
    if (known === undefined) return false
    this.#keys.delete(name)
    this.#done.delete(name)
    for (const { grant } of known.chains.values()) this.#count(grant, name, -1)
    return true
  }

  #makeRoom(grant: string, forName: string): boolean {
    const names = this.#namesOfGrant.get(grant)
    if (names === undefined || names.total < this.#maxOfGrant) return true
    // Asked of each key that there is no room for.
    const isDone = (name: string) => name !== forName && this.#done.has(name)
    const done = this.#done.size === 0 ? undefined : names.chains.keys().find(isDone)
    return done !== undefined && this.#remove(done)
  }

  #count(grant: string, name: string, by: number): void {
    const names = this.#namesOfGrant.get(grant) ?? { chains: new Map<string, number>(), total: 0 }
    const count = (names.chains.get(name) ?? 0) + by
    names.total += by
    if (count > 0) names.chains.set(name, count)
    else names.chains.delete(name)
    if (names.total > 0) this.#namesOfGrant.set(grant, names)
    else this.#namesOfGrant.delete(grant)
  }
}
