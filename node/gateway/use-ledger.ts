import type { LinkClaims } from '../../src/capability/index.ts'
import { bytesText, decodeCanonical, encodeCanonical } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { nodeKey, nodeRows } from '../../src/namespace/index.ts'
import type { KeyValueStore } from '../../src/storage/index.ts'

const MiB = 1024 * 1024
const maxRowBytes = 64
/** Links of which the count is kept in memory. */
const maxCounts = 10_000
/** What may be under way between this system and a client when their connection is cut, bytes: buffers on both sides. */
const underWayBytes = 16 * MiB

/** How long a request waits for what others may give back, milliseconds: who goes on with a cut download is here before the cut is seen. */
const defaultSettlingMs = 1_000
/** How many times as long the next part of a download waits. */
const partPatience = 5

/** What one request is to have of a content. */
export interface WantedPart {
  /** Plaintext bytes, `end` exclusive. */
  readonly start: number
  readonly end: number
  /** Who asks: a name of the client. */
  readonly client: string
}

/** What one request may still have of a content. */
interface Holder {
  readonly client: string
  readonly start: number
  /** Up to here it may go out; where another part begins that has taken over the rest. */
  end: number
  /** Up to here it went out, or is about to. */
  claimed: number
}

/** What was used of one link. */
interface Count {
  readonly key: Uint8Array
  readonly expires: number
  /** Bytes that were sent or may yet be. */
  spent: number
  /** Bytes that were handed to the system and given back, because their connection was cut. */
  returned: number
  /** Requests under way. */
  readonly holders: Set<Holder>
  /** Resolves when one of them is settled. */
  settled: PromiseWithResolvers<void>
  /** The write that is going on, and the one after it, which has all that was counted before it begins. */
  writing: Promise<void> | undefined
  next: Promise<void> | undefined
}

/** Bytes of a link that one request may send. Settle it once. */
export interface Reservation {
  /**
   * Says that the content goes out up to an offset, and gives how far it may: not beyond where another request has taken over.
   * What it gave once it gives again.
   */
  claim(end: number): number
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
  readonly #settlingMs: number
  readonly #counts = new Map<string, Promise<Count>>()

  private constructor(store: KeyValueStore, settlingMs: number) {
    this.#store = store
    this.#settlingMs = settlingMs
  }

  /**
   * Forgets links that expired before `beforeSeconds` (since 1970).
   * @param settlingMs how long a request waits for what others may give back, milliseconds
   */
  static async open(
    store: KeyValueStore,
    beforeSeconds: number,
    settlingMs: number = defaultSettlingMs,
  ): Promise<UseLedger> {
    const gone: Uint8Array[] = []
    for await (const [use, row] of nodeRows(store, 'linkUses')) {
      if (decodeRow(row).expires < beforeSeconds) gone.push(nodeKey('linkUses', use))
    }
    await store.batch(
      gone.map((key) => ({ type: 'del', key })),
      { sync: false },
    )
    return new UseLedger(store, settlingMs)
  }

  /**
   * Sets bytes of a link with a bound aside for one request; durable when it resolves. Clients that download in several parts at once
   * ask for all of it first: a part that begins in what a request of the same client has not sent yet takes over its rest from there on.
   *
   * @param sizeBytes of the whole content
   * @throws EXHAUSTED, STORAGE_FULL, STORAGE_FAILED
   */
  async reserve(
    claims: LinkClaims & { maxUses: number },
    sizeBytes: number,
    { start, end, client }: WantedPart,
  ): Promise<Reservation> {
    const count = await this.#countOf(claims)
    // An empty content has uses too.
    const size = Math.max(1, sizeBytes)
    const holder: Holder = { client, start, end: Math.max(start + 1, end), claimed: start }
    await this.#enter(count, holder, claims.maxUses * size)
    try {
      await this.#write(count)
    } catch (error) {
      // Whether it was counted is not known: it stays counted.
      leave(count, holder)
      throw error
    }
    const maxReturned = claims.maxUses * Math.max(Math.min(size, underWayBytes), Math.floor(size / 4))
    return {
      claim: (to) => {
        const allowed = Math.min(to, holder.end)
        holder.claimed = Math.max(holder.claimed, allowed)
        return allowed
      },
      settle: async (sentBytes, wasCut) => {
        const held = heldBy(holder)
        const sent = start === end && !wasCut ? held : sentBytes
        const lost = wasCut ? Math.min(sent, underWayBytes, maxReturned - count.returned) : 0
        count.returned += lost
        count.spent -= held - sent + lost
        leave(count, holder)
        if (held - sent + lost > 0) await this.#write(count)
      },
    }
  }

  /** Counts what a request is to have once there is room for it, at once. @param limitBytes of all requests @throws EXHAUSTED */
  async #enter(count: Count, holder: Holder, limitBytes: number): Promise<void> {
    // Who takes several parts breaks off what it asked for first, once it has come to where the next one begins.
    const isNextPart =
      holder.start > 0 &&
      [...count.holders].some(({ client, claimed, end }) => client === holder.client && claimed < end)
    const deadline = performance.now() + this.#settlingMs * (isNextPart ? partPatience : 1)
    for (;;) {
      const lackingBytes = count.spent + heldBy(holder) - limitBytes
      if (lackingBytes <= 0 || takeOver(count, holder, lackingBytes)) {
        count.spent += heldBy(holder)
        count.holders.add(holder)
        return
      }
      const restMs = deadline - performance.now()
      if (count.holders.size === 0 || restMs <= 0) {
        throw new ArtifactHubError('EXHAUSTED', 'this link has been used as often as it may be')
      }
      await settledWithin(count, restMs)
    }
  }

  async #countOf({ issuer, jti, expires }: LinkClaims): Promise<Count> {
    const key = nodeKey('linkUses', issuer, jti)
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
      holders: new Set(),
      settled: Promise.withResolvers(),
      writing: undefined,
      next: undefined,
    }
  }

  /** The least recently used that nobody is using. */
  async #forgetOthers(): Promise<void> {
    if (this.#counts.size <= maxCounts) return
    for (const [name, loading] of [...this.#counts].slice(0, this.#counts.size - maxCounts)) {
      const { holders, writing } = await loading
      if (holders.size === 0 && writing === undefined) this.#counts.delete(name)
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

function heldBy({ start, end }: Holder): number {
  return end - start
}

/** Makes room of `lacking` bytes, if it can be had from requests of the same client in whose rest one begins: they end there. */
function takeOver(count: Count, { client, start }: Holder, lacking: number): boolean {
  const others = [...count.holders]
    .filter((one) => one.client === client && one.claimed < start && start < one.end)
    .sort((a, b) => b.end - a.end)
  const rests = others.map(({ end }) => end - start)
  if (rests.reduce((sum, rest) => sum + rest, 0) < lacking) return false
  let freed = 0
  for (const [at, other] of others.entries()) {
    if (freed >= lacking) break
    freed += rests[at] as number
    other.end = start
  }
  count.spent -= freed
  return true
}

function leave(count: Count, holder: Holder): void {
  count.holders.delete(holder)
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
