import { orderedUint64, readUint64 } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { type FeedEvent, readFeedRow } from './feed.ts'
import { cursorAt, type FeedCursor, isSamePlace } from './feed-eras.ts'
import type { Ledger } from './ledger.ts'

/** Rows read at a time. */
const batchRows = 256

interface FollowOptions {
  readonly after?: FeedCursor | undefined
  readonly signal?: AbortSignal | undefined
}

/** What a member sees change in a namespace, in this node's order. */
export class Feed {
  readonly #ledger: Ledger

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** The cursor of the newest change. */
  get cursor(): FeedCursor {
    return cursorAt(this.#ledger.feedEras, this.#ledger.nextFeedRow - 1)
  }

  /** The cursor of the newest change that could be read at the call, be its batch through or not. @throws what the store throws */
  async cursorNow(): Promise<FeedCursor> {
    const nextRow = await this.#ledger.nextFeedRowNow()
    return cursorAt(this.#ledger.feedEras, nextRow - 1)
  }

  /**
   * What changes from after a cursor on (without one: from now on), and then as it happens. Ends when the namespace is closed.
   *
   * @throws NOT_FOUND when the feed no longer reaches back to the cursor, or what led to it was lost when an older copy of the
   *   node's data was put back; the signal's reason
   */
  follow({ after, signal }: FollowOptions = {}): AsyncGenerator<FeedEvent, void, undefined> {
    return followFeed(this.#ledger, after, signal)
  }

  /**
   * Says once more that an artifact (20 bytes) came, if it is here: this agent is let read it again, and what is here of it came before.
   * @throws CLOSED, what the store throws
   */
  async tellAgain(artifact: Uint8Array): Promise<void> {
    await this.#ledger.commit(async (tx, mark) => {
      mark()
      await tx.tellAgain(artifact)
    })
  }
}

async function* followFeed(
  ledger: Ledger,
  after: FeedCursor | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<FeedEvent, void, undefined> {
  let row = after?.row ?? ledger.nextFeedRow - 1
  // Made anew, by joining again or out of a backup, the feed is another: what it then brings is not what comes after.
  const isHere = row < ledger.nextFeedRow && (after === undefined || isSamePlace(after, cursorAt(ledger.feedEras, row)))
  if (!isHere) throw unreachable(Math.min(row, ledger.nextFeedRow - 1))
  for (;;) {
    signal?.throwIfAborted()
    // Listening before reading: what comes in between wakes the wait.
    const wake = Promise.withResolvers<void>()
    const stop = ledger.subscribe(() => wake.resolve())
    const abort = () => wake.resolve()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const rows = await readRows(ledger, row, signal)
      for (const event of rows) {
        yield event
        row = event.cursor.row
      }
      if (rows.length > 0) continue
      if (ledger.closed) return
      await wake.promise
    } finally {
      stop()
      signal?.removeEventListener('abort', abort)
    }
  }
}

async function readRows(
  { parts: { keys, env }, feedEras }: Ledger,
  after: number,
  signal: AbortSignal | undefined,
): Promise<FeedEvent[]> {
  const { lt, gte } = keys.all('feed')
  const range = { gte: keys.key('feed', orderedUint64(Math.max(0, after + 1))), lt, limit: batchRows }
  const events: FeedEvent[] = []
  for await (const [key, row] of env.store.entries(range, signal && { signal })) {
    events.push({ cursor: cursorAt(feedEras, readUint64(key.subarray(gte.length))), ...readFeedRow(row) })
  }
  const [first] = events
  const next = Math.max(feedEras[0]?.from ?? 0, after + 1)
  if (first !== undefined && first.cursor.row > next) throw unreachable(first.cursor.row - 1)
  return events
}

function unreachable(oldest: number): ArtifactHubError {
  return new ArtifactHubError('NOT_FOUND', 'the feed no longer reaches back to that cursor', { details: { oldest } })
}
