import { bytesText, toHex } from '../encoding/index.ts'
import { maxAuthorLookback } from '../limits.ts'
import type { Entry } from '../log/index.ts'
import { chainOf } from './chains.ts'
import { EpochWaits } from './epoch-waits.ts'
import type { NamespaceParts } from './parts.ts'
import { readStored } from './stored-log.ts'

/**
 * Whether all is held here that the authors of versions held when they wrote them, as the entries of their chains name it. Whoever knows less than an
 * author does not know from whom a share was taken back, and may give the version's key to nobody.
 */
export class AuthorKnowledge {
  readonly #parts: NamespaceParts
  /** By chain, the first seq that is not known to name only what is held. What is held stays. */
  readonly #whole = new Map<string, number>()
  readonly #waits = new EpochWaits()

  constructor(parts: NamespaceParts) {
    this.#parts = parts
  }

  /**
   * By artifact key (id in hex), whether to wait before it is given to anyone: an author of a version under it knew what is missing here. That may never
   * come, so the wait is bounded, as for epochs.
   */
  async keysToWaitFor(artifact: Uint8Array): Promise<ReadonlySet<string>> {
    const { catalog, log } = this.#parts
    const hashes: Uint8Array[] = []
    for await (const { entry } of catalog.liveRoots(artifact)) hashes.push(entry.slice())
    for await (const { entry } of catalog.endedVersions(artifact)) hashes.push(entry.slice())
    const waiting = new Set<string>()
    for (const put of await log.unverifiedMany(hashes)) {
      if (!(await this.mustWaitFor(put))) continue
      const { keyId, data } = put.header
      for (const id of [keyId, data?.root?.keyId]) if (id !== undefined) waiting.add(toHex(id))
    }
    return waiting
  }

  /** As `keysToWaitFor`, for what is under the key of one entry. */
  async mustWaitFor(entry: Entry): Promise<boolean> {
    return this.#waits.mustWait(entry.hash, await this.#isWhole(entry), this.#parts.env.clock.nowMs)
  }

  async #isWhole({ header, ...rest }: Entry): Promise<boolean> {
    const { log, env, keys } = this.#parts
    const chain = chainOf({ header, ...rest })
    const name = bytesText(chain)
    const from = Math.max(this.#whole.get(name) ?? 0, header.seq + 1 - maxAuthorLookback)
    let last = from - 1
    for await (const { bytes } of log.ofChain(chain, from)) {
      const held = readStored(bytes)?.header
      const seq = held?.seq ?? last + 1
      if (seq > header.seq) break
      const places = held && (await env.store.getMany(held.heads.map((hash) => keys.key('places', hash))))
      // What is damaged may name anything.
      if (places === undefined || places.includes(undefined)) {
        this.#whole.set(name, held?.seq ?? Math.max(from, last))
        return false
      }
      last = seq
    }
    this.#whole.set(name, Math.max(from, header.seq + 1))
    return true
  }
}
