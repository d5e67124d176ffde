import { toHex } from '../../../src/encoding/index.ts'
import { clockSkewMs, endedFollowMs, forgetEveryMs, maxEndedFollows } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { FollowBook, FollowEntry } from './follow-book.ts'
import { deleteFollowRow, putFollow } from './follow-rows.ts'
import type { Followed, FollowStanding } from './follow-standing.ts'

/** An artifact that this agent was let read and may not read any more. */
export interface LostArtifact {
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** 20 bytes. */
  readonly artifact: Uint8Array
  readonly reason: string
  /** When this node came to know it, milliseconds since 1970: no two artifacts are lost at the same. */
  readonly atMs: number
}

/** Told of what becomes of what is followed. */
export interface FollowObserver {
  /** The first version of a followed artifact is here. */
  arrived?(followed: Followed): void
  /** A capability gives nothing any more. */
  ended?(followed: Followed): void
  /** Nothing lets this agent read an artifact any more. */
  lost?(lost: LostArtifact): void
}

interface FollowEndsOptions {
  readonly env: LocalEnvironment
  readonly book: FollowBook
  readonly standing: FollowStanding
  /** The partial log of a namespace (32 bytes), once its beginning is here. */
  readonly logOf: (namespace: Uint8Array) => Namespace | undefined
  /** What is followed of these namespaces (hex) ended by its time. */
  readonly expired: (namespaces: Iterable<string>) => void
  /** Changes what is remembered, in the background, with no other change under way. */
  readonly inTurn: (work: () => Promise<void>) => void
  readonly inBackground: (work: Promise<void>) => void
}

/** Rows that one batch writes. */
const batchRows = 1_000
/** A timer is set for no longer than this, milliseconds. */
const maxTimerMs = 24 * 3600_000

/** How what is followed ends: remembered, told, looked for when its time comes, and forgotten long after. */
export class FollowEnds {
  readonly #options: FollowEndsOptions
  readonly #observers = new Set<FollowObserver>()
  /** Artifacts (hex) that were told as lost, and at what time. */
  readonly #lost = new Map<string, number>()
  #lastEndMs = 0
  #isClosed = false
  #timerMs = Number.POSITIVE_INFINITY
  #stopTimer: (() => void) | undefined
  #stopForgetting: (() => void) | undefined

  constructor(options: FollowEndsOptions) {
    this.#options = options
  }

  observe(observer: FollowObserver): () => void {
    this.#observers.add(observer)
    return () => this.#observers.delete(observer)
  }

  /** One that was followed before this process began, with those that are in the book by now. */
  noteLoaded({ ended, capability }: FollowEntry): void {
    this.#lastEndMs = Math.max(this.#lastEndMs, ended?.atMs ?? 0)
    const { artifact } = capability.claims
    const about = [...this.#options.book.about(artifact)]
    if (about.some(({ isOut }) => !isOut)) this.#lost.delete(toHex(artifact))
    else this.#lost.set(toHex(artifact), Math.max(...about.map((one) => one.ended?.atMs ?? 0)))
  }

  /** The first version of what is followed is here. */
  arrived(entry: FollowEntry): void {
    for (const { arrived } of this.#observers) arrived?.(this.#options.standing.present(entry))
  }

  /** No timer of it runs any more. Idempotent. */
  close(): void {
    this.#isClosed = true
    this.#stopTimer?.()
    this.#stopForgetting?.()
  }

  /** When the last of what is remembered ended: see `LostArtifact`. */
  get lastEndMs(): number {
    return this.#lastEndMs
  }

  /** What ended after a time and cannot be read now, each artifact once, the oldest end first: as far back as is remembered. */
  lostSince(ms: number): LostArtifact[] {
    const { book, standing } = this.#options
    const found = [...book.ended].flatMap(({ capability, isKept, ended }) => {
      const { namespace, artifact } = capability.claims
      const isNew = ended !== undefined && ended.atMs > ms && isKept
      return isNew && standing.refusalOf(artifact) !== undefined ? [{ namespace, artifact, ...ended }] : []
    })
    const newest = new Map(found.sort((a, b) => a.atMs - b.atMs).map((one) => [toHex(one.artifact), one]))
    return [...newest.values()].sort((a, b) => a.atMs - b.atMs)
  }

  /** Remembers that these give nothing any more, and why. */
  async end(ends: readonly { readonly entry: FollowEntry; readonly reason: string }[]): Promise<void> {
    const { env, book, standing } = this.#options
    for (let at = 0; at < ends.length; at += batchRows) {
      const some = ends.slice(at, at + batchRows)
      // What is told as lost is told once.
      const times = new Map<string, number>()
      for (const { entry, reason } of some) {
        const artifact = toHex(entry.capability.claims.artifact)
        const toldMs = this.#lost.get(artifact) ?? (entry.isOut ? entry.outMs : undefined)
        const atMs = toldMs ?? times.get(artifact) ?? this.#nextEndMs()
        times.set(artifact, atMs)
        book.end(entry, { reason, atMs })
      }
      const rows = some.flatMap(({ entry }) => (entry.isKept ? [putFollow(entry)] : []))
      if (rows.length > 0) await env.store.batch(rows, { sync: true })
      for (const { entry, reason } of some) {
        for (const { ended } of this.#observers) ended?.(standing.present(entry))
        if (!entry.isOut) this.#noteLost(entry, reason, entry.ended?.atMs ?? this.#lastEndMs)
        entry.isOut = true
      }
    }
    if (book.ended.size > maxEndedFollows) this.forgetEnded()
  }

  /** It gives nothing for now, but may again: told as lost, once. */
  suspend(entry: FollowEntry, reason: string): void {
    if (!entry.isOut) this.#noteLost(entry, reason, this.#nextEndMs())
    entry.isOut = true
  }

  /** It lets this agent read its artifact: if that was lost before, and is here still, whoever watches is told that it is shared again. */
  found(entry: FollowEntry): void {
    const { standing, logOf, inBackground } = this.#options
    const { namespace, artifact } = entry.capability.claims
    if (!standing.isReadable(entry) || !this.#lost.delete(toHex(artifact))) return
    const log = logOf(namespace)
    if (log !== undefined && !log.closed) inBackground(log.feed.tellAgain(artifact))
  }

  /** No two are the same. */
  #nextEndMs(): number {
    this.#lastEndMs = Math.max(this.#options.env.now(), this.#lastEndMs + 1)
    return this.#lastEndMs
  }

  #noteLost(entry: FollowEntry, reason: string, atMs: number): void {
    const { kind, namespace, artifact } = entry.capability.claims
    const { book, standing } = this.#options
    entry.outMs = atMs
    if (kind !== 'share' || entry.scope !== 'artifact') return
    // By another capability it may be readable still.
    for (const other of book.about(artifact)) if (standing.isReadable(other)) return
    // Several may end at once.
    if (this.#lost.has(toHex(artifact))) return
    this.#lost.set(toHex(artifact), atMs)
    for (const { lost } of this.#observers) lost?.({ namespace, artifact, reason, atMs })
  }

  /** Looks again when this one ends by its time. */
  expect({ capability: { claims }, ended }: FollowEntry): void {
    if (ended !== undefined || claims.expires === undefined) return
    const ms = claims.expires * 1000 + clockSkewMs + 1
    if (ms >= this.#timerMs || this.#isClosed) return
    const { env, book, standing } = this.#options
    this.#timerMs = ms
    this.#stopTimer?.()
    const delayMs = Math.min(maxTimerMs, Math.max(1_000, ms - env.now()))
    this.#stopTimer = env.scheduler.setTimer(delayMs, () => {
      this.#timerMs = Number.POSITIVE_INFINITY
      const expired = new Set<string>()
      for (const entry of book.all()) {
        if (entry.ended === undefined && standing.refusal(entry) === 'EXPIRED')
          expired.add(toHex(entry.capability.claims.namespace))
        else this.expect(entry)
      }
      this.#options.expired(expired)
    })
  }

  /** Forgets what ended long ago, now and every day. */
  forgetEnded(): void {
    const { env, book } = this.#options
    if (this.#isClosed) return
    this.#stopForgetting?.()
    this.#stopForgetting = env.scheduler.setTimer(forgetEveryMs, () => this.forgetEnded())
    this.#options.inTurn(async () => {
      const old = [...book.endedBefore(env.now() - endedFollowMs)]
      for (let at = 0; at < old.length; at += batchRows) {
        const some = old.slice(at, at + batchRows)
        const rows = some.map(({ capability }) => deleteFollowRow(capability.claims))
        await env.store.batch(rows, { sync: false })
        for (const entry of some) {
          book.remove(entry)
          const { artifact } = entry.capability.claims
          if ([...book.about(artifact)].length === 0) this.#lost.delete(toHex(artifact))
        }
      }
    })
  }
}
