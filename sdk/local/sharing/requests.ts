import {
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  orderedUint64,
  prefixEnd,
  requireFormatVersion,
  toHex,
} from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import {
  maxDroppedRequests,
  maxEnvelopeBytes,
  maxRequests,
  maxRequestsOfSender,
  maxTicketPeers,
  maxTicketText,
} from '../../../src/limits.ts'
import { keySpaces } from '../../../src/namespace/index.ts'
import type { KeyValueStore } from '../../../src/storage/index.ts'

const requestTable = 0x71
const droppedTable = 0x72
const formatVersion = 1
const idBytes = 16
const maxRowBytes = maxEnvelopeBytes + maxTicketPeers * 4 * maxTicketText

/** What a stranger shared, until somebody says whether it is wanted. */
export interface Request {
  /** The capability's, 16 bytes: `capabilityName`. */
  readonly name: Uint8Array
  /** Who shared it: raw public key. */
  readonly sender: Uint8Array
  readonly envelope: Uint8Array
  /** Whom to ask for it. */
  readonly peers: readonly KnownPeer[]
  readonly receivedMs: number
}

/**
 * Requests that wait, on disk and bounded: of one sender and in all. What was dropped is remembered, so that it does not come
 * again; of that the oldest is forgotten.
 */
export class Requests {
  readonly #store: KeyValueStore
  /** By name in hex, the sender in hex: in the order of coming. */
  readonly #waiting = new Map<string, string>()
  /** By name in hex, its row's key. */
  readonly #dropped = new Map<string, Uint8Array>()
  #nextDropped = 0
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(store: KeyValueStore) {
    this.#store = store
  }

  /** @throws CORRUPT, UNSUPPORTED_FORMAT */
  static async open(store: KeyValueStore): Promise<Requests> {
    const requests = new Requests(store)
    const rows: Request[] = []
    for await (const [, value] of store.entries(rangeOf(requestTable))) rows.push(decodeRow(value))
    rows.sort((a, b) => a.receivedMs - b.receivedMs)
    for (const { name, sender } of rows) requests.#waiting.set(toHex(name), toHex(sender))
    for await (const [key, name] of store.entries(rangeOf(droppedTable))) {
      requests.#dropped.set(toHex(name), key.slice())
      requests.#nextDropped = Number(new DataView(key.buffer, key.byteOffset + 2).getBigUint64(0)) + 1
    }
    return requests
  }

  /** Whether it waits, or was dropped. */
  isKnown(name: Uint8Array): boolean {
    return this.#waiting.has(toHex(name)) || this.isDropped(name)
  }

  /** Whether it was dropped: nothing more of it is wanted. */
  isDropped(name: Uint8Array): boolean {
    return this.#dropped.has(toHex(name))
  }

  /** Keeps a request; one that waits already stays as it is. `full` when there is no room for more, of this sender or at all. */
  add(request: Request): Promise<'taken' | 'full'> {
    return this.#exclusively(async () => {
      const [key, sender] = [toHex(request.name), toHex(request.sender)]
      if (this.#waiting.has(key)) return 'taken'
      const ofSender = [...this.#waiting.values()].filter((one) => one === sender).length
      if (this.#waiting.size >= maxRequests || ofSender >= maxRequestsOfSender) return 'full'
      await this.#store.batch([{ type: 'put', key: requestKey(request.name), value: encodeRow(request) }], {
        sync: true,
      })
      this.#waiting.set(key, sender)
      return 'taken'
    })
  }

  /** What waits, the oldest first. @throws CORRUPT */
  async list(): Promise<Request[]> {
    const keys = [...this.#waiting.keys()].map((id) => requestKey(new Uint8Array(Buffer.from(id, 'hex'))))
    const rows = await this.#store.getMany(keys)
    return rows.flatMap((row) => (row === undefined ? [] : [decodeRow(row)]))
  }

  /** @throws NOT_FOUND, CORRUPT */
  async get(name: Uint8Array): Promise<Request> {
    const row = await this.#store.get(requestKey(name))
    if (row === undefined) throw noSuchRequest()
    return decodeRow(row)
  }

  /** It waits no more, for it was accepted. Idempotent. */
  remove(name: Uint8Array): Promise<void> {
    return this.#exclusively(async () => {
      await this.#store.batch([{ type: 'del', key: requestKey(name) }], { sync: true })
      this.#waiting.delete(toHex(name))
    })
  }

  /** It is not wanted, now or later. @throws NOT_FOUND */
  drop(name: Uint8Array): Promise<void> {
    return this.#exclusively(async () => {
      const id = toHex(name)
      if (!this.#waiting.has(id)) throw noSuchRequest()
      const key = concatBytes(Uint8Array.of(keySpaces.node, droppedTable), orderedUint64(this.#nextDropped))
      const oldest = this.#dropped.size < maxDroppedRequests ? undefined : this.#dropped.entries().next().value
      await this.#store.batch(
        [
          { type: 'del', key: requestKey(name) },
          { type: 'put', key, value: name },
          ...(oldest === undefined ? [] : [{ type: 'del' as const, key: oldest[1] }]),
        ],
        { sync: true },
      )
      this.#nextDropped += 1
      this.#waiting.delete(id)
      if (oldest !== undefined) this.#dropped.delete(oldest[0])
      this.#dropped.set(id, key)
    })
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }
}

function requestKey(name: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(keySpaces.node, requestTable), name)
}

function rangeOf(table: number): { gte: Uint8Array; lt: Uint8Array } {
  const gte = Uint8Array.of(keySpaces.node, table)
  return { gte, lt: prefixEnd(gte) as Uint8Array }
}

/** `{ v: 1, name, sender, env, peers, ms }` */
function encodeRow({ name, sender, envelope, peers, receivedMs }: Request): Uint8Array {
  const rows = peers.map(({ agent, addresses }) => [agent, addresses])
  return encodeCanonical({ v: formatVersion, name, sender, env: envelope, peers: rows, ms: receivedMs })
}

function decodeRow(value: Uint8Array): Request {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a request' }) as Record<string, unknown>
  const { v, name, sender, env, peers, ms } = row
  requireFormatVersion(v, formatVersion, 'what this node remembers of a request')
  const isWell = isBytes(name, idBytes) && isBytes(sender, 32) && env instanceof Uint8Array && Number.isSafeInteger(ms)
  if (!isWell || !Array.isArray(peers)) throw damaged()
  return { name, sender, envelope: env, peers: peers.map(peerOf), receivedMs: ms as number }
}

function peerOf(value: unknown): KnownPeer {
  const [agent, addresses] = Array.isArray(value) ? value : []
  const isWell = isBytes(agent, 32) && Array.isArray(addresses) && addresses.every((one) => typeof one === 'string')
  if (!isWell) throw damaged()
  return { agent, addresses }
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}

function noSuchRequest(): ArtifactHubError {
  return new ArtifactHubError('NOT_FOUND', 'no such request waits here')
}

function damaged(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'what this node remembers of a request is damaged')
}
