import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxSyncVectorRows, maxSyncWants, maxUselessSyncBatches, syncBatchBytes } from '../limits.ts'
import { roomOf, rowsInPage } from './sync-codec.ts'
import type { Received, ReplicatedLog, VectorRow } from './sync-log.ts'
import type { SyncStream } from './sync-stream.ts'
import type { SyncContents, SyncView } from './sync-view.ts'

/** So many entries cost more to be tried again when their keys come than the keys cost to be sent twice. */
const entriesWorthLetters = 64
/** Hashes of entries that came too early, of which the end of a round looks whether they came again. */
const maxEarlyEntries = 256

/** What one side of a round took in. */
export interface SyncTally {
  /** Entries that are durable now and were not before. */
  stored: number
  known: number
  unlinked: number
}

/** What the other side told of itself. */
export interface TheirVector extends SyncContents {
  readonly same: boolean
  readonly wants: readonly Uint8Array[]
}

/** Tells the other side what there is here, page by page. */
export async function sendVector(
  stream: SyncStream,
  contents: SyncContents,
  options: { same: boolean; wants: readonly Uint8Array[] },
): Promise<void> {
  const count = Math.max(contents.rows.length, contents.ids.length)
  for (let at = 0; ; at += rowsInPage) {
    const next = at + rowsInPage
    await stream.send({
      type: 'vector',
      same: options.same,
      rows: contents.rows.slice(at, next),
      ids: contents.ids.slice(at, next),
      wants: at === 0 ? options.wants : [],
      more: next < count,
    })
    if (next >= count) return
  }
}

/**
 * What the other side has, whole.
 * @param takeRoom told of the rows of each page but the first
 * @throws CORRUPT when it has no end (held against the peer), what `takeRoom` throws, and what `SyncStream.receive` throws
 */
export async function receiveVector(
  stream: SyncStream,
  first: Awaited<ReturnType<typeof expectVector>>,
  takeRoom?: (rows: number) => void,
): Promise<TheirVector> {
  const rows: VectorRow[] = [...first.rows]
  const ids: Uint8Array[] = [...first.ids]
  const wants: Uint8Array[] = [...first.wants]
  for (let page = first; page.more; ) {
    page = await expectVector(stream)
    if (page.rows.length + page.ids.length === 0) stream.misbehaved('bad-frame', 'an empty page')
    rows.push(...page.rows)
    ids.push(...page.ids)
    wants.push(...page.wants)
    if (rows.length + ids.length > maxSyncVectorRows) stream.misbehaved('flood', 'a vector without end')
    if (wants.length > maxSyncWants) stream.misbehaved('flood', 'wants without end')
    takeRoom?.(page.rows.length + page.ids.length)
  }
  return { same: first.same, rows, ids, wants }
}

function expectVector(stream: SyncStream) {
  return stream.expect('vector')
}

/** Ends with an error as soon as the agent may read no more. */
export async function* whileAllowed(
  isAllowed: () => boolean,
  entries: AsyncIterable<Uint8Array>,
): AsyncIterable<Uint8Array> {
  for await (const entry of entries) {
    if (!isAllowed()) throw new ArtifactHubError('ACCESS_DENIED', 'this agent may not read any more')
    yield entry
  }
}

/** Sends entries, in frames of `syncBatchBytes`. Resolves with how many. */
export async function sendEntries(stream: SyncStream, entries: AsyncIterable<Uint8Array>): Promise<number> {
  let sent = 0
  let batch: Uint8Array[] = []
  let room = syncBatchBytes
  for await (const entry of entries) {
    if (batch.length > 0 && roomOf(entry) > room) {
      await stream.send({ type: 'entries', entries: batch })
      batch = []
      room = syncBatchBytes
    }
    batch.push(entry)
    room -= roomOf(entry)
    sent += 1
  }
  if (batch.length > 0) await stream.send({ type: 'entries', entries: batch })
  return sent
}

/**
 * Takes what the other side sends into the log. While one batch is made durable the next is checked, and no more than that is
 * read. Resolves with their vector hash at the end, when all is durable.
 */
export async function receiveEntries(
  stream: SyncStream,
  log: ReplicatedLog,
  tally: SyncTally,
  onBatch?: (received: Received) => void,
): Promise<Uint8Array> {
  const early: Uint8Array[] = []
  let useless = 0
  const take = async (receiving: Promise<Received>): Promise<void> => {
    const received = await receiving
    count(stream, received, tally)
    early.push(...received.unlinked.slice(0, maxEarlyEntries - early.length))
    onBatch?.(received)
    useless = received.stored > 0 ? 0 : useless + 1
    if (useless > maxUselessSyncBatches) stream.misbehaved('flood', 'entries of which none is new, without end')
  }
  let taking: Promise<void> = Promise.resolve()
  let checking: Promise<unknown> = Promise.resolve()
  let open: Promise<unknown> = Promise.resolve()
  const next = async () => {
    const message = await stream.expect('entries', 'end')
    if (message.type === 'end') return message
    const receiving = log.receive(message.entries, { signal: stream.signal, from: stream.agent })
    checking = receiving.catch(() => {})
    return { type: message.type, receiving }
  }
  try {
    for (;;) {
      const coming = next()
      open = coming
      const [message] = await Promise.all([coming, taking])
      if (message.type === 'end') {
        for (const hash of early) if (await log.held.has(hash)) tally.unlinked -= 1
        return message.hash
      }
      taking = take(message.receiving)
      taking.catch(() => {})
    }
  } catch (error) {
    // Whatever is wrong with one batch, nobody waits for the next.
    await stream.end(error)
    await Promise.allSettled([open, taking])
    await checking
    throw error
  }
}

/** Adds to the tally. @throws CORRUPT when there is an entry among them that no honest peer sends: it is held against this one */
export function count(stream: SyncStream, received: Received, tally: SyncTally): void {
  tally.stored += received.stored
  tally.known += received.known
  tally.unlinked += received.unlinked.length
  // A newer release may write what this one cannot read; and what is void here may count where it comes from.
  const bad = received.refused.find(({ code }) => code !== 'UNSUPPORTED_FORMAT' && code !== 'void')
  if (bad !== undefined) stream.misbehaved('bad-entry', `an entry that is refused: ${bad.why}`)
}

/** What the other side lacks; when that is much, the keys to it go ahead. */
export function entriesFor(
  log: ReplicatedLog,
  view: SyncView,
  ours: SyncContents,
  theirs: SyncContents,
  stream: SyncStream,
): AsyncIterable<Uint8Array> {
  const beyond = view.beyond(theirs, stream.signal)
  const letters = missing(theirs, ours) < entriesWorthLetters ? undefined : log.held.lettersFor?.(stream.agent)
  return letters === undefined ? beyond : inTurn(letters, beyond)
}

/** Entries to ask for, as many as one round takes. */
export async function wantsOf(log: ReplicatedLog): Promise<Uint8Array[]> {
  const wants: Uint8Array[] = []
  for await (const hash of log.held.incomplete()) {
    if (wants.length >= maxSyncWants) break
    wants.push(hash)
  }
  for (const hash of log.held.unclear ?? []) if (wants.length < maxSyncWants) wants.push(hash)
  return wants
}

/** Whoever is no member brings nothing. */
export async function noEntries(stream: SyncStream): Promise<Uint8Array> {
  return (await stream.expect('end')).hash
}

/** Both, one after the other. */
export async function* inTurn<T>(...parts: readonly AsyncIterable<T>[]): AsyncIterable<T> {
  for (const part of parts) yield* part
}

/** Entries that the other side has beyond this one, as far as the vectors tell. */
export function missing(ours: SyncContents, theirs: SyncContents): number {
  const tips = tipsByChain(ours.rows)
  let count = 0
  for (const { chain, seq } of theirs.rows) {
    const own = tips.get(toHex(chain))
    const from = own === undefined ? -1 : Math.max(...own.map((row) => row.seq))
    count += Math.max(0, seq - from)
  }
  const held = new Set(ours.ids.map(toHex))
  return count + theirs.ids.filter((id) => !held.has(toHex(id))).length
}

/** Tips, by the hex of their chain. */
export function tipsByChain(rows: Iterable<VectorRow>): Map<string, VectorRow[]> {
  const tips = new Map<string, VectorRow[]>()
  for (const row of rows) {
    const chain = toHex(row.chain)
    const known = tips.get(chain)
    if (known === undefined) tips.set(chain, [row])
    else known.push(row)
  }
  return tips
}
