import {
  decodeCanonical,
  encodeCanonical,
  orderedUint64,
  requireFormatVersion,
  toHex,
} from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import {
  maxDroppedRequests,
  maxEnvelopeBytes,
  maxRequests,
  maxRequestsByMember,
  maxRequestsOfSender,
  maxTicketPeers,
  maxTicketText,
} from '../../../src/limits.ts'
import { nodeKey, nodeRows } from '../../../src/namespace/index.ts'
import type { KeyValueStore } from '../../../src/storage/index.ts'

const formatVersion = 2
const groupFormatVersion = 1
const idBytes = 16
const maxRowBytes = maxEnvelopeBytes + maxTicketPeers * 4 * maxTicketText

interface StoredRequest {
  /** 16 bytes: `capabilityName` of a share; of a group the beginning of its id. */
  readonly name: Uint8Array
  /** Who shared it, or says that this agent is in that group: raw public key. */
  readonly sender: Uint8Array
  /** Whom to ask for it. */
  readonly peers: readonly KnownPeer[]
  readonly receivedMs: number
}

/** What a stranger shared, until somebody says whether it is wanted. */
export interface ShareRequest extends StoredRequest {
  readonly envelope: Uint8Array
  readonly group?: undefined
  /** Raw public key of the member of a group who wrote it down; `undefined` when it came to this agent itself. */
  readonly by?: Uint8Array | undefined
}

/** A group to which a stranger added this agent. */
export interface GroupRequest extends StoredRequest {
  /** 32 bytes. */
  readonly group: Uint8Array
  readonly envelope?: undefined
  readonly by?: undefined
}

/** What waits. */
export type Request = ShareRequest | GroupRequest

/** The name under which a group (32 bytes) waits. */
export function groupRequestName(group: Uint8Array): Uint8Array {
  return group.slice(0, idBytes)
}

/**
 * Requests that wait, on disk and bounded: of one sender and in all. What was dropped is remembered, so that it does not come
 * again; of that the oldest is forgotten.
 */
export class Requests {
  readonly #store: KeyValueStore
  /** By name in hex: in the order of coming. */
  readonly #waiting = new Map<string, Waiting>()
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
    for await (const [, value] of nodeRows(store, 'requests')) rows.push(decodeShareRow(value))
    for await (const [, value] of nodeRows(store, 'groupRequests')) rows.push(decodeGroupRow(value))
    rows.sort((a, b) => a.receivedMs - b.receivedMs)
    for (const row of rows) requests.#waiting.set(toHex(row.name), waitingOf(row))
    for await (const [number, name] of nodeRows(store, 'droppedRequests')) {
      requests.#dropped.set(toHex(name), nodeKey('droppedRequests', number))
      requests.#nextDropped = Number(new DataView(number.buffer, number.byteOffset).getBigUint64(0)) + 1
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

  /** Whether another request of that agent, written down by that member of a group, would be kept. */
  hasRoom(sender: Uint8Array, by?: Uint8Array): boolean {
    const [name, writer] = [toHex(sender), by && toHex(by)]
    const all = [...this.#waiting.values()]
    const ofSender = all.filter((one) => one.sender === name).length
    const ofWriter = writer === undefined ? 0 : all.filter((one) => one.by === writer).length
    return all.length < maxRequests && ofSender < maxRequestsOfSender && ofWriter < maxRequestsByMember
  }

  /** Keeps a request; one that waits already stays as it is. `full` when there is no room for more, of this sender or at all. */
  add(request: Request): Promise<'taken' | 'full'> {
    return this.#exclusively(async () => {
      const key = toHex(request.name)
      if (this.#waiting.has(key)) return 'taken'
      if (!this.hasRoom(request.sender, request.by)) return 'full'
      const waiting = waitingOf(request)
      await this.#store.batch([{ type: 'put', key: waiting.key, value: encodeRow(request) }], { sync: true })
      this.#waiting.set(key, waiting)
      return 'taken'
    })
  }

  /** What waits, the oldest first. @throws CORRUPT */
  async list(): Promise<Request[]> {
    const waiting = [...this.#waiting.values()]
    const rows = await this.#store.getMany(waiting.map(({ key }) => key))
    return rows.flatMap((row, at) => (row === undefined ? [] : [decodeRow(waiting[at] as Waiting, row)]))
  }

  /** @throws NOT_FOUND, CORRUPT */
  async get(name: Uint8Array): Promise<Request> {
    const waiting = this.#waiting.get(toHex(name))
    const row = waiting && (await this.#store.get(waiting.key))
    if (waiting === undefined || row === undefined) throw noSuchRequest()
    return decodeRow(waiting, row)
  }

  /** It waits no more, for it was accepted. Idempotent. */
  remove(name: Uint8Array): Promise<void> {
    return this.#exclusively(async () => {
      const waiting = this.#waiting.get(toHex(name))
      if (waiting === undefined) return
      await this.#store.batch([{ type: 'del', key: waiting.key }], { sync: true })
      this.#waiting.delete(toHex(name))
    })
  }

  /** It is not wanted, now or later. @throws NOT_FOUND */
  drop(name: Uint8Array): Promise<void> {
    return this.#exclusively(async () => {
      const id = toHex(name)
      const waiting = this.#waiting.get(id)
      if (waiting === undefined) throw noSuchRequest()
      const key = nodeKey('droppedRequests', orderedUint64(this.#nextDropped))
      const oldest = this.#dropped.size < maxDroppedRequests ? undefined : this.#dropped.entries().next().value
      await this.#store.batch(
        [
          { type: 'del', key: waiting.key },
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

/** What is in memory of a request. */
interface Waiting {
  /** In hex, as the next. */
  readonly sender: string
  readonly by: string | undefined
  /** Of its row. */
  readonly key: Uint8Array
  readonly isGroup: boolean
}

function waitingOf({ name, sender, group, by }: Request): Waiting {
  const isGroup = group !== undefined
  const key = nodeKey(isGroup ? 'groupRequests' : 'requests', name)
  return { sender: toHex(sender), by: by && toHex(by), key, isGroup }
}

/** Of a share `{ v: 2, name, sender, env, peers, ms, by }`, without `by` (an agent or null) in version 1, which is read; of a group `{ v: 1, sender, grp, peers, ms }`. */
function encodeRow({ name, sender, envelope, group, by, peers, receivedMs }: Request): Uint8Array {
  const what =
    group === undefined
      ? { v: formatVersion, name, env: envelope, by: by ?? null }
      : { v: groupFormatVersion, grp: group }
  const rows = peers.map(({ agent, addresses }) => [agent, addresses])
  return encodeCanonical({ ...what, sender, peers: rows, ms: receivedMs })
}

function decodeRow({ isGroup }: Waiting, value: Uint8Array): Request {
  return isGroup ? decodeGroupRow(value) : decodeShareRow(value)
}

function decodeShareRow(value: Uint8Array): ShareRequest {
  const { row, ...common } = decodeCommon(value, formatVersion)
  const { name, env, by = null } = row
  if (!isBytes(name, idBytes) || !(env instanceof Uint8Array) || (by !== null && !isBytes(by, 32))) throw damaged()
  return { name, ...common, envelope: env, by: by ?? undefined }
}

function decodeGroupRow(value: Uint8Array): GroupRequest {
  const { row, ...common } = decodeCommon(value, groupFormatVersion)
  if (!isBytes(row.grp, 32)) throw damaged()
  return { name: groupRequestName(row.grp), ...common, group: row.grp }
}

function decodeCommon(
  value: Uint8Array,
  version: number,
): Omit<StoredRequest, 'name'> & { readonly row: Record<string, unknown> } {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a request' }) as Record<string, unknown>
  const { v, sender, peers, ms } = row
  if (v !== 1) requireFormatVersion(v, version, 'what this node remembers of a request')
  if (!isBytes(sender, 32) || !Number.isSafeInteger(ms) || !Array.isArray(peers)) throw damaged()
  return { row, sender, peers: peers.map(peerOf), receivedMs: ms as number }
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
