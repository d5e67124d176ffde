import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { decodeEntry } from '../log/index.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import type { ReplicatedLog, VectorRow } from './sync-log.ts'
import { SyncStream } from './sync-stream.ts'
import {
  entriesFor,
  missing,
  receiveEntries,
  receiveVector,
  type SyncTally,
  sendEntries,
  sendVector,
  tipsByChain,
  wantsOf,
} from './sync-transfer.ts'
import { type SyncContents, type SyncScope, viewOf } from './sync-view.ts'

/** The libp2p protocol of log sync. */
export const syncProtocol = '/artifact-hub/sync/1'

/** What a round is run with. */
export interface SyncRunOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly log: ReplicatedLog
  /** 32 bytes. */
  readonly agent: Uint8Array
  /** Default: the whole namespace. */
  readonly scope?: SyncScope | undefined
  /** Whether to ask for the bodies that are missing here. */
  readonly wants?: boolean | undefined
  /** Told of entries that the other side has and this one lacks, as they are counted and as they come. */
  readonly onBehind?: ((entries: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** What a round came to. */
export interface SyncOutcome extends Readonly<SyncTally> {
  /** `denied`: the other agent does not take this one for a member, or has no such namespace. */
  readonly result: 'same' | 'exchanged' | 'denied'
  /** Entries sent. */
  readonly sent: number
  /** The other side's vector hash at the end, if it told. */
  readonly theirHash: Uint8Array | undefined
  /** Tips of the other side that are still not held: it could not tell what was lacking, for a chain is forked. Another round can. */
  readonly lacking: number
  readonly sentBytes: number
  readonly receivedBytes: number
}

const noHash = new Uint8Array(32)
const nothing: SyncContents = { rows: [], ids: [] }

/**
 * One round with one agent: both sides end with what either had. Whatever was committed when a round is cut stays, and the
 * next goes on from there. To an agent that the log does not know as a member nothing is sent but what it has itself: a newly
 * granted one brings the entry that says so, and is a member before this side's turn comes.
 *
 * @throws UNAVAILABLE when it cannot be reached, is cut or too slow; CORRUPT for what no honest peer sends (held against it);
 * what the log throws; the signal's reason
 */
export async function runSync(options: SyncRunOptions): Promise<SyncOutcome> {
  const { log, agent } = options
  const view = viewOf(log, options.scope ?? { kind: 'namespace' })
  const isMember = (): boolean => log.roleOf(agent) !== undefined
  const ownHash = async (): Promise<Uint8Array> => (isMember() ? await view.hash() : noHash)
  const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
  return await onStream(options, async (stream) => {
    const outcome = (
      result: SyncOutcome['result'],
      more: Partial<Pick<SyncOutcome, 'sent' | 'theirHash' | 'lacking'>> = {},
    ): SyncOutcome => ({ result, ...tally, sent: 0, theirHash: undefined, lacking: 0, ...more, ...stream.traffic })
    const artifact = options.scope?.kind === 'artifact' ? options.scope.artifact : undefined
    const hash = await ownHash()
    await stream.send({ type: 'hello', namespace: log.id, artifact, hash })
    const answer = await stream.expect('denied', 'vector')
    if (answer.type === 'denied') return outcome('denied')
    const wants = options.wants === true ? await wantsOf(log) : []
    if (answer.same && wants.length === 0) return outcome('same', { theirHash: hash })
    const theirs = await receiveVector(stream, answer)
    if (theirs.wants.length > 0) stream.misbehaved('bad-frame', 'wants in an answer')
    const ours = theirs.same ? nothing : isMember() ? await view.contents() : await heldOf(theirs, log)
    await sendVector(stream, ours, { same: theirs.same, wants })
    let behind = theirs.same ? 0 : missing(ours, theirs)
    options.onBehind?.(behind)
    await receiveEntries(stream, log, tally, ({ stored }) => {
      behind = Math.max(0, behind - stored)
      options.onBehind?.(behind)
    })
    const sent = theirs.same || !isMember() ? 0 : await sendEntries(stream, entriesFor(log, view, ours, theirs, stream))
    await stream.send({ type: 'end', hash: await ownHash() })
    const done = await stream.expect('done')
    return outcome('exchanged', { sent, theirHash: done.hash, lacking: await lackingOf(theirs, log) })
  })
}

/**
 * The genesis entry of a namespace, from an agent that has it, checked against the id.
 * @throws ACCESS_DENIED when it does not serve this agent; UNAVAILABLE, CORRUPT; the signal's reason
 */
export async function fetchGenesis(
  options: Omit<SyncRunOptions, 'log' | 'scope' | 'wants' | 'onBehind'> & { readonly namespace: Uint8Array },
): Promise<Uint8Array> {
  return await onStream(options, async (stream) => {
    await stream.send({ type: 'hello', namespace: options.namespace, artifact: undefined, hash: undefined })
    const answer = await stream.expect('denied', 'entries')
    if (answer.type === 'denied')
      throw new ArtifactHubError('ACCESS_DENIED', 'the other agent does not serve that namespace to this one')
    const [genesis] = answer.entries as [Uint8Array]
    try {
      const { header, hash } = decodeEntry(genesis)
      if (header.kind === 'genesis' && equalBytes(hash, options.namespace)) return genesis
    } catch (error) {
      if (!isHubError(error)) throw error
    }
    return stream.misbehaved('bad-entry', 'a genesis that is not that of the namespace')
  })
}

async function onStream<T>(
  options: Pick<SyncRunOptions, 'network' | 'scheduler' | 'agent' | 'signal'>,
  work: (stream: SyncStream) => Promise<T>,
): Promise<T> {
  const { network, agent, signal } = options
  const stream = new SyncStream(await network.open(agent, syncProtocol, { signal }), options)
  try {
    const result = await work(stream)
    await stream.end()
    return result
  } catch (error) {
    await stream.end(error)
    throw error
  }
}

/** What can be said of the own log without telling a stranger anything: how far what it has itself is held. */
async function heldOf(theirs: SyncContents, log: ReplicatedLog): Promise<SyncContents> {
  const rows: VectorRow[] = []
  const tips = tipsByChain(log.vector())
  for (const row of theirs.rows) {
    if (await log.hasEntry(row.hash)) rows.push(row)
    else rows.push(...(tips.get(toHex(row.chain)) ?? []).filter(({ seq }) => seq < row.seq))
  }
  return { rows, ids: [] }
}

async function lackingOf(theirs: SyncContents, log: ReplicatedLog): Promise<number> {
  const held = new Set([...log.vector()].map(({ hash }) => toHex(hash)))
  let lacking = 0
  for (const { hash } of theirs.rows) if (!held.has(toHex(hash)) && !(await log.hasEntry(hash))) lacking += 1
  return lacking
}
