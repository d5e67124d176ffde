import type { LinkClaims } from '../../src/capability/index.ts'
import { bytesText, concatBytes, decodeCanonical, encodeCanonical, prefixEnd } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { keySpaces } from '../../src/namespace/index.ts'
import type { KeyValueStore } from '../../src/storage/index.ts'

const MiB = 1024 * 1024
// Beside the tables of `src/namespace/registry.ts` and `sdk/local/replication/rows.ts`.
const useTable = Uint8Array.of(keySpaces.node, 0x75)
const maxRowBytes = 64
/** Links of which the count is kept in memory. */
const maxCounts = 10_000
/** What may be under way between this system and a client when their connection is cut, bytes: buffers on both sides. */
const underWayBytes = 16 * MiB

/** How long a request waits for what others may give back, milliseconds: who goes on with a cut download is here before the cut is seen. */
const settlingMs = 1_000

/** What was used of one link. */
interface Count {
  readonly key: Uint8Array
  readonly expires: number
  /** Bytes that were sent or may yet be. */
  spent: number
  /** Bytes that were handed to the system and given back, because their connection was cut. */
  returned: number
  /** Requests under way. */
  running: number
  /** Resolves when one of them is settled. */
  settled: PromiseWithResolvers<void>
  /** The write that is going on, and the one after it, which has all that was counted before it begins. */
  writing: Promise<void> | undefined
  next: Promise<void> | undefined
}

/** Bytes of a link that one request may send. Settle it once. */
export interface Reservation {
  /**
   * Gives back what was not sent.
   *
   * @param sentBytes handed to the system
   * @param wasCut the connection ended before the client had all of it, so that some of `sentBytes` may not have come
   */
  settle(sentBytes: number, wasCut: boolean): Promise<void>
}

/**
 * How much of links with a bound on their uses was sent, in bytes: each byte of a content may go out `maxUses` times. What a request
 * may send is on the disk as spent before its first byte goes out, so a crash forgets nothing.
 */
export class UseLedger {
  readonly #store: KeyValueStore
  readonly #counts = new Map<string, Promise<Count>>()

  private constructor(store: KeyValueStore) {
    this.#store = store
  }

  /** Forgets links that expired before `beforeSeconds` (since 1970). */
  static async open(store: KeyValueStore, beforeSeconds: number): Promise<UseLedger> {
    const gone: Uint8Array[] = []
    for await (const [key, row] of store.entries({ gte: useTable, lt: prefixEnd(useTable) as Uint8Array })) {
      if (decodeRow(row).expires < beforeSeconds) gone.push(key)
    }
    await store.batch(
      gone.map((key) => ({ type: 'del', key })),
      { sync: false },
    )
    return new UseLedger(store)
  }

  /**
   * Sets bytes of a link with a bound aside for one request; durable when it resolves.
   *
   * @param sizeBytes of the whole content
   * @throws EXHAUSTED, STORAGE_FULL, STORAGE_FAILED
   */
  async reserve(claims: LinkClaims & { maxUses: number }, sizeBytes: number, bytes: number): Promise<Reservation> {
    const count = await this.#countOf(claims)
    // An empty content has uses too.
    const size = Math.max(1, sizeBytes)
    const wanted = Math.max(1, bytes)
    const hasRoom = (): boolean => count.spent + wanted <= claims.maxUses * size
    for (const deadline = performance.now() + settlingMs; !hasRoom(); ) {
      const restMs = deadline - performance.now()
      if (count.running === 0 || restMs <= 0) {
        throw new ArtifactHubError('EXHAUSTED', 'this link has been used as often as it may be')
      }
      await settledWithin(count, restMs)
    }
    count.spent += wanted
    count.running++
    try {
      await this.#write(count)
    } catch (error) {
      // Whether it was counted is not known: it stays counted.
      end(count)
      throw error
    }
    const maxReturned = claims.maxUses * Math.max(Math.min(size, underWayBytes), Math.floor(size / 4))
    return {
      settle: async (sentBytes, wasCut) => {
        const sent = bytes === 0 && !wasCut ? wanted : sentBytes
        const lost = wasCut ? Math.min(sent, underWayBytes, maxReturned - count.returned) : 0
        count.returned += lost
        count.spent -= wanted - sent + lost
        end(count)
        if (wanted - sent + lost > 0) await this.#write(count)
      },
    }
  }

  async #countOf({ issuer, jti, expires }: LinkClaims): Promise<Count> {
    const key = concatBytes(useTable, issuer, jti)
    const name = bytesText(key)
    const known = this.#counts.get(name)
    if (known !== undefined) {
      this.#counts.delete(name)
      this.#counts.set(name, known)
      return await known
    }
    const loading = this.#load(key, expires)
    this.#counts.set(name, loading)
    loading.catch(() => this.#counts.delete(name))
    const count = await loading
    await this.#forgetOthers()
    return count
  }

  async #load(key: Uint8Array, expires: number): Promise<Count> {
    const row = await this.#store.get(key)
    const { spent, returned } = row === undefined ? { spent: 0, returned: 0 } : decodeRow(row)
    return {
      key,
      expires,
      spent,
      returned,
      running: 0,
      settled: Promise.withResolvers(),
      writing: undefined,
      next: undefined,
    }
  }

  /** The least recently used that nobody is using. */
  async #forgetOthers(): Promise<void> {
    if (this.#counts.size <= maxCounts) return
    for (const [name, loading] of [...this.#counts].slice(0, this.#counts.size - maxCounts)) {
      const { running, writing } = await loading
      if (running === 0 && writing === undefined) this.#counts.delete(name)
    }
  }

  /** Resolves when what is counted now is on the disk. One batch at a time, or an older one might come last. */
  #write(count: Count): Promise<void> {
    if (count.writing === undefined) {
      const writing = this.#put(count).finally(() => {
        if (count.writing === writing) count.writing = undefined
      })
      count.writing = writing
      return writing
    }
    count.next ??= count.writing
      .catch(() => {})
      .then(() => {
        count.next = undefined
        return this.#write(count)
      })
    return count.next
  }

  async #put({ key, expires, spent, returned }: Count): Promise<void> {
    await this.#store.batch([{ type: 'put', key, value: encodeCanonical([expires, spent, returned]) }], { sync: true })
  }
}

function end(count: Count): void {
  count.running--
  count.settled.resolve()
  count.settled = Promise.withResolvers()
}

async function settledWithin({ settled }: Count, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([settled.promise, late])
  clearTimeout(timer)
}

function decodeRow(row: Uint8Array): { expires: number; spent: number; returned: number } {
  const value = decodeCanonical(row, { maxBytes: maxRowBytes, what: 'what was used of a link' })
  if (!Array.isArray(value) || value.length !== 3 || !value.every((one) => Number.isSafeInteger(one) && one >= 0)) {
    throw new ArtifactHubError('CORRUPT', 'the count of a link’s uses is damaged')
  }
  const [expires, spent, returned] = value as [number, number, number]
  return { expires, spent, returned }
}
