import type { VersionRecord } from '../../../src/catalog/index.ts'
import {
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  formatArtifactId,
  formatNamespaceId,
  toHex,
} from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import { type FeedCursor, type FeedEvent, feedStart } from '../../../src/namespace/index.ts'
import type { ArtifactEvent } from '../../peer-client.ts'
import { type EndedLog, endedError } from '../ended.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces, ReadRights } from '../namespaces.ts'
import { presentArtifact } from '../present.ts'
import type { FollowObserver, LostArtifact } from './follow-ends.ts'

/** What is watched. */
export interface WatchTarget {
  /** Only this one; absent: all. */
  readonly namespace: OpenNamespace | undefined
  /** Only this artifact (20 bytes). */
  readonly artifact: Uint8Array | undefined
  /** Where each namespace's feed was left, by id; those that are not in it are read from their beginning. */
  readonly places: Promise<ReadonlyMap<string, FeedCursor>>
}

/** What this agent was let read and may not read any more. */
export interface LostArtifacts extends ReadRights {
  observe(observer: Pick<FollowObserver, 'lost'>): () => void
  lostSince(ms: number): readonly LostArtifact[]
}

/** An event that waits to be taken. */
interface ReadyEvent {
  readonly namespace: OpenNamespace
  readonly event: FeedEvent
  readonly taken: () => void
}

/** In a cursor, in the place of a namespace: up to when what was lost was told. */
const lostPlace = ''

/** Where the feeds are at the call: what a cursor of this moment says. @throws what the store throws */
export async function placesNow(
  namespaces: readonly OpenNamespace[],
  lostMs: number,
): Promise<Map<string, FeedCursor>> {
  const places = await Promise.all(namespaces.map(async ({ log }) => [log.folder, await log.feed.cursorNow()] as const))
  return new Map([...places, [lostPlace, { row: lostMs, era: undefined }]])
}

/**
 * Events of one namespace or all, in the order in which they come to be known here; of several namespaces, each in its own. One artifact that is not
 * shared any more is told as `unshared`, and that ends it.
 * @throws NOT_FOUND for a place that a feed no longer reaches back to; ACCESS_DENIED when this agent is in the namespace, or in that of the artifact, no more;
 *   the signal's reason
 */
export async function* watchArtifacts(
  namespaces: LocalNamespaces,
  rights: LostArtifacts,
  { namespace: only, artifact, places: from }: WatchTarget,
  signal: AbortSignal,
): AsyncGenerator<ArtifactEvent, void, undefined> {
  const places = new Map(await from)
  const stop = new AbortController()
  const both = AbortSignal.any([signal, stop.signal])
  const read = new Map<OpenNamespace, { readonly done: Promise<void>; readonly stop: AbortController }>()
  const ready: ReadyEvent[] = []
  const lost: LostArtifact[] = []
  let failure: { readonly error: unknown } | undefined
  let wake = (): void => {}
  /** Holds one event at a time: what is not taken is not read. */
  const readFeed = async (namespace: OpenNamespace, until: AbortSignal): Promise<void> => {
    const { log } = namespace
    try {
      for await (const event of log.feed.follow({ after: places.get(log.folder) ?? feedStart, signal: until })) {
        // A signal that has fired wakes nobody.
        if (until.aborted) return
        const { promise, resolve: taken } = Promise.withResolvers<void>()
        const onAbort = (): void => taken()
        until.addEventListener('abort', onAbort, { once: true })
        ready.push({ namespace, event, taken })
        wake()
        await promise
        until.removeEventListener('abort', onAbort)
      }
    } catch (error) {
      if (until.aborted) return
      // What was taken back and shared anew begins anew.
      const isAnew = log.partial !== undefined && !log.closed && isHubError(error, 'NOT_FOUND')
      if (isAnew && places.delete(log.folder)) return await readFeed(namespace, until)
      // A namespace that is deleted takes its feed along.
      if (!log.closed || !isHubError(error)) failure ??= { error }
    }
    if (only !== undefined && log.closed) failure ??= { error: undefined }
    wake()
  }
  const begin = (namespace: OpenNamespace): void => {
    const isWatched = only === undefined ? namespace.row.kind === 'namespace' : only === namespace
    if (read.has(namespace) || !isWatched) return
    const own = new AbortController()
    read.set(namespace, { done: readFeed(namespace, AbortSignal.any([both, own.signal])), stop: own })
  }
  /** It is out of reach, though its log stays open and more of it may come: read again when it is back, from where it was. */
  const pause = async (namespace: OpenNamespace): Promise<void> => {
    const reading = read.get(namespace)
    read.delete(namespace)
    reading?.stop.abort()
    for (let at = ready.length - 1; at >= 0; at--) if (ready[at]?.namespace === namespace) ready.splice(at, 1)
    await reading?.done
  }
  /** Nothing more comes of what is watched. */
  const endWith = async (ended: EndedLog): Promise<void> => {
    const { log } = ended.namespace
    const isIt =
      only === undefined
        ? artifact !== undefined && !rights.isReadable(artifact) && (await log.catalog.get(artifact)) !== undefined
        : only === ended.namespace
    if (!isIt) return
    failure ??= { error: endedError(ended) }
    wake()
  }
  const lose = (one: LostArtifact): void => {
    const isWatched = artifact === undefined || equalBytes(artifact, one.artifact)
    const isHere = only === undefined || equalBytes(only.log.id, one.namespace)
    // A member of its namespace reads it all the same.
    const isMember = namespaces.all.some(({ log }) => equalBytes(log.id, one.namespace))
    if (!isWatched || !isHere || isMember) return
    lost.push(one)
    wake()
  }
  const stopListening = namespaces.observe({
    opened: begin,
    closing: async (namespace, isKept) => {
      // One that may come back goes on where it was.
      if (!isKept) {
        places.delete(namespace.log.folder)
        return
      }
      await pause(namespace)
      const ended = namespaces.ended.find((one) => one.namespace === namespace)
      if (ended !== undefined) await endWith(ended)
    },
  })
  const stopLosing = rights.observe({ lost: lose })
  const onAbort = (): void => wake()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    for (const one of rights.lostSince(artifact === undefined ? (places.get(lostPlace)?.row ?? Infinity) : 0)) lose(one)
    // One that is deleted by now ends at once.
    const isOut = namespaces.ended.some(({ namespace }) => namespace === only)
    for (const namespace of only === undefined ? namespaces.readable : [only]) if (!isOut) begin(namespace)
    for (const ended of namespaces.ended) await endWith(ended)
    for (;;) {
      signal.throwIfAborted()
      const gone = lost.shift()
      if (gone !== undefined) {
        places.set(lostPlace, { row: Math.max(gone.atMs, places.get(lostPlace)?.row ?? 0), era: undefined })
        yield presentLost(gone, formatCursor(places))
        if (artifact !== undefined) return
        continue
      }
      const next = ready.shift()
      if (next === undefined) {
        if (failure !== undefined && failure.error === undefined) return
        if (failure !== undefined) throw failure.error
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const { namespace, event } = next
      if (!namespace.log.closed) {
        places.set(namespace.log.folder, event.cursor)
        if (artifact === undefined || equalBytes(artifact, event.artifact)) {
          const shown = await present(namespace, event, formatCursor(places))
          if (shown !== undefined) yield shown
        }
      }
      next.taken()
    }
  } finally {
    stopListening()
    stopLosing()
    signal.removeEventListener('abort', onAbort)
    stop.abort()
    await Promise.all([...read.values()].map(({ done }) => done))
  }
}

function presentLost({ namespace, artifact, reason }: LostArtifact, cursor: string): ArtifactEvent {
  return {
    kind: 'unshared',
    namespace: formatNamespaceId(namespace),
    artifactId: formatArtifactId(artifact),
    artifact: undefined,
    reason,
    cursor,
  }
}

/** Gives `undefined` when the namespace was closed meanwhile. */
async function present({ log }: OpenNamespace, event: FeedEvent, cursor: string): Promise<ArtifactEvent | undefined> {
  const { kind, artifact } = event
  let record: VersionRecord | undefined
  try {
    const gen = kind === 'deleted' ? undefined : (await log.held.entry(event.entry))?.header.data?.gen
    record = gen === undefined ? undefined : await log.catalog.get(artifact, `${gen}-${toHex(event.entry)}`)
  } catch (error) {
    if (log.closed && isHubError(error)) return undefined
    throw error
  }
  return {
    // What is followed begins for this agent when it was shared.
    kind: kind === 'created' && log.partial !== undefined ? 'shared' : kind,
    namespace: log.idText,
    artifactId: formatArtifactId(artifact),
    artifact: record && presentArtifact(log.idText, record),
    cursor,
  }
}

/** Base64url of canonical DAG-CBOR `[[namespace, row, era or null]…]`; with no name, up to when (ms since 1970) what was lost was told. */
function formatCursor(places: ReadonlyMap<string, FeedCursor>): string {
  const rows = [...places].sort(([a], [b]) => (a < b ? -1 : 1))
  const list = rows.map(([namespace, { row, era }]) => [namespace, row, era ?? null])
  return Buffer.from(encodeCanonical(list)).toString('base64url')
}

/** @throws INVALID_ARGUMENT */
export function parseCursor(text: string): Map<string, FeedCursor> {
  const bytes = Buffer.from(text, 'base64url')
  try {
    if (bytes.toString('base64url') !== text) throw notOne()
    const rows = decodeCanonical(new Uint8Array(bytes), { maxBytes: maxCursorBytes, what: 'a cursor' })
    if (!Array.isArray(rows) || !rows.every(isRow)) throw notOne()
    return new Map(rows.map(([namespace, row, era]) => [namespace, { row, era: era ?? undefined }]))
  } catch (cause) {
    if (isHubError(cause, 'INVALID_ARGUMENT')) throw cause
    throw notOne(cause)
  }
}

/** Some 80 bytes a namespace. */
const maxCursorBytes = 1024 * 1024

function isRow(row: unknown): row is [string, number, Uint8Array | null] {
  if (!Array.isArray(row) || row.length !== 3) return false
  const [namespace, number, era] = row
  const isEra = era === null || (era instanceof Uint8Array && era.length === 16)
  return typeof namespace === 'string' && Number.isSafeInteger(number) && number >= -1 && isEra
}

function notOne(cause?: unknown): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', 'this is not a cursor that watch gave', { cause })
}
