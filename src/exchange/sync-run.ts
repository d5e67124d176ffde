import type { CapabilityClaims } from '../capability/index.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { maxSyncWants, maxUselessSyncBatches } from '../limits.ts'
import { decodeEntry, decodeUnverifiedEntry, type Entry } from '../log/index.ts'
import { isEndedBy } from './denial.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import { noHash, type SyncScope } from './sync-codec.ts'
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
  whileAllowed,
} from './sync-transfer.ts'
import { type SyncContents, viewOf } from './sync-view.ts'

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

const nothing: SyncContents = { rows: [], ids: [] }

/**
 * One round with one agent: both sides end with what either had. Whatever was committed when a round is cut stays, and the
 * next goes on from there. To an agent that the log does not know as a member nothing is sent but what it has itself, and to one
 * whose role was taken away that it was: a newly granted one brings the entry that says so, and is a member before this side's turn comes.
 *
 * @throws UNAVAILABLE when it cannot be reached, is cut or too slow; CORRUPT for what no honest peer sends (held against it);
 * what the log throws; the signal's reason
 */
export async function runSync(options: SyncRunOptions): Promise<SyncOutcome> {
  const round = await runRound(options, undefined)
  if (round.result === 'denied') await claimRole(options)
  return round.result === 'proven' ? ((await runRound(options, round.ahead)) as SyncOutcome) : round
}

/** What a stranger proved: tips of chains that go on beyond what is held here, by hash in hex. */
interface Proven {
  readonly result: 'proven'
  readonly ahead: ReadonlySet<string>
}

/** @param ahead what the other side proved in a round before; it is asked for that when it matters and this is not given */
async function runRound(
  options: SyncRunOptions,
  ahead: ReadonlySet<string> | undefined,
): Promise<SyncOutcome | Proven> {
  const { log, agent } = options
  const scope = options.scope ?? { kind: 'namespace' }
  const view = viewOf(log, scope)
  const isMember = (): boolean => log.roleOf(agent) !== undefined
  const farewell = (rows: readonly VectorRow[]) =>
    log.hadRole?.(agent) === true ? log.held.farewellFor?.(agent, rows) : undefined
  const ownHash = async (): Promise<Uint8Array> => (isMember() ? await view.hash() : noHash)
  const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
  return await onStream<SyncOutcome | Proven>(options, async (stream) => {
    const outcome = (
      result: SyncOutcome['result'],
      more: Partial<Pick<SyncOutcome, 'sent' | 'theirHash' | 'lacking'>> = {},
    ): SyncOutcome => ({ result, ...tally, sent: 0, theirHash: undefined, lacking: 0, ...more, ...stream.traffic })
    const hash = await ownHash()
    await stream.send({ type: 'hello', namespace: log.id, scope, hash, presentation: undefined })
    const answer = await stream.expect('denied', 'vector')
    if (answer.type === 'denied') return outcome('denied')
    const wants = options.wants === true ? await wantsOf(log) : []
    if (answer.same && wants.length === 0) return outcome('same', { theirHash: hash })
    const theirs = await receiveVector(stream, answer)
    if (theirs.wants.length > 0) stream.misbehaved('bad-frame', 'wants in an answer')
    if (!theirs.same && !isMember() && ahead === undefined) {
      const claims = await claimsOf(theirs, log)
      if (claims.length > 0) return { result: 'proven', ahead: await prove(stream, theirs, claims, log) }
    }
    const ours = theirs.same ? nothing : isMember() ? await view.contents() : await heldOf(theirs, log, ahead)
    await sendVector(stream, ours, { same: theirs.same, wants })
    let behind = theirs.same ? 0 : missing(ours, theirs)
    options.onBehind?.(behind)
    await receiveEntries(stream, log, tally, ({ stored }) => {
      behind = Math.max(0, behind - stored)
      options.onBehind?.(behind)
    })
    const due = theirs.same
      ? undefined
      : isMember()
        ? whileAllowed(isMember, entriesFor(log, view, ours, theirs, stream))
        : farewell(theirs.rows)
    const sent = due === undefined ? 0 : await sendEntries(stream, due)
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
  options: Omit<SyncRunOptions, 'log' | 'wants' | 'onBehind'> & {
    readonly namespace: Uint8Array
    /** What this agent shows, if it has no role, and what that says. */
    readonly presentation?: Uint8Array | undefined
    readonly claims?: CapabilityClaims | undefined
  },
): Promise<Uint8Array> {
  return await onStream(options, async (stream) => {
    const { namespace, scope = { kind: 'namespace' }, presentation } = options
    await stream.send({ type: 'hello', namespace, scope, hash: undefined, presentation })
    const answer = await stream.expect('denied', 'entries')
    if (answer.type === 'denied') {
      const { claims } = options
      if (claims !== undefined && isEndedBy(claims, answer.evidence))
        throw new ArtifactHubError('REVOKED', 'the capability, or its issuer’s right, was taken back')
      throw new ArtifactHubError('ACCESS_DENIED', 'the other agent does not serve that namespace to this one')
    }
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

/**
 * Shows an agent that this one has a role, of which it may not have heard: then it comes to ask in its turn.
 * @throws UNAVAILABLE; the signal's reason
 */
export async function claimRole({ log, ...options }: SyncRunOptions): Promise<void> {
  const entries = log.held.claim === undefined ? [] : await Array.fromAsync(log.held.claim())
  if (entries.length === 0) return
  await onStream(options, (stream) => stream.send({ type: 'claim', namespace: log.id, entries }))
}

/** Runs work on a sync stream to an agent; the stream is ended on every path. */
export async function onStream<T>(
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

/** A tip of a stranger's that is not held here, in a chain of which less is held. */
interface Claim {
  readonly hash: Uint8Array
  /** Of the entry that is held. */
  readonly tip: VectorRow
}

async function claimsOf(theirs: SyncContents, log: ReplicatedLog): Promise<Claim[]> {
  const claims: Claim[] = []
  const tips = tipsByChain(log.held.vector())
  for (const { chain, seq, hash } of theirs.rows) {
    const tip = tips.get(toHex(chain))?.find((own) => own.seq < seq)
    if (tip === undefined || claims.length === maxSyncWants || (await log.held.has(hash))) continue
    claims.push({ hash, tip })
  }
  return claims
}

/**
 * Has a stranger show the entries that it claims to have: only who has what was written later may hear how far this log
 * goes. Until then it is told nothing but what it said itself. Gives those that it showed.
 */
async function prove(
  stream: SyncStream,
  theirs: SyncContents,
  claims: readonly Claim[],
  log: ReplicatedLog,
): Promise<ReadonlySet<string>> {
  const byHash = new Map(claims.map(({ hash, tip }) => [toHex(hash), tip]))
  const shown = new Set<string>()
  await sendVector(stream, theirs, { same: false, wants: claims.map(({ hash }) => hash) })
  for (let batches = 0; ; batches++) {
    const message = await stream.expect('entries', 'end')
    if (message.type === 'end') break
    if (batches > maxUselessSyncBatches) stream.misbehaved('flood', 'entries that were not asked for, without end')
    for (const bytes of message.entries) {
      const entry = readEntry(stream, bytes)
      if (entry === undefined) continue
      const tip = byHash.get(toHex(entry.hash))
      const held = tip && (await log.held.bytes(tip.hash))
      if (held !== undefined && isOfOneChain(entry, decodeUnverifiedEntry(held))) shown.add(toHex(entry.hash))
    }
  }
  await stream.send({ type: 'end', hash: noHash })
  await stream.expect('done')
  return shown
}

function readEntry(stream: SyncStream, bytes: Uint8Array): Entry | undefined {
  try {
    return decodeEntry(bytes)
  } catch (error) {
    if (isHubError(error, 'UNSUPPORTED_FORMAT')) return undefined
    if (!isHubError(error)) throw error
    return stream.misbehaved('bad-entry', `an entry that is refused: ${error.message}`)
  }
}

function isOfOneChain({ header, hash }: Entry, other: Entry): boolean {
  return (
    equalBytes(header.author, other.header.author) &&
    equalBytes(header.grant ?? hash, other.header.grant ?? other.hash) &&
    equalBytes(header.incarnation, other.header.incarnation)
  )
}

/**
 * What can be said of the own log without telling a stranger anything that it does not know: how far what it has itself is held.
 *
 * @param ahead tips that it has shown, by hash in hex
 */
async function heldOf(
  theirs: SyncContents,
  log: ReplicatedLog,
  ahead: ReadonlySet<string> | undefined,
): Promise<SyncContents> {
  const rows: VectorRow[] = []
  const tips = tipsByChain(log.held.vector())
  for (const row of theirs.rows) {
    if (await log.held.has(row.hash)) rows.push(row)
    else if (ahead?.has(toHex(row.hash)) === true)
      rows.push(...(tips.get(toHex(row.chain)) ?? []).filter(({ seq }) => seq < row.seq))
  }
  return { rows, ids: [] }
}

async function lackingOf(theirs: SyncContents, log: ReplicatedLog): Promise<number> {
  const held = new Set([...log.held.vector()].map(({ hash }) => toHex(hash)))
  let lacking = 0
  for (const { hash } of theirs.rows) if (!held.has(toHex(hash)) && !(await log.held.has(hash))) lacking += 1
  return lacking
}
