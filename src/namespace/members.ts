import { bytesText, equalBytes, fromHex, toHex } from '../encoding/index.ts'
import {
  maxAdoptsOfRevoke,
  maxBoxesInEntry,
  maxClockAheadMs,
  maxCuts,
  maxCutsOfGroup,
  maxForcedEpochs,
  maxRevokedGrants,
} from '../limits.ts'
import {
  type AuthBody,
  type Cut,
  type Entry,
  encodeAuthBody,
  type GrantedRole,
  grantPrefix,
  type SealingBody,
} from '../log/index.ts'
import { type Grant, highestNumber, isWithin, type Member, type Membership, rankOf } from '../membership/index.ts'
import { type EpochSecret, groupKeyOf } from '../sharing/index.ts'
import type { Chains, Tip } from './chains.ts'
import { denied } from './denied.ts'
import type { Transaction } from './transaction.ts'

/** Of no use to who has no epoch. */
const sealingKinds: readonly AuthBody['kind'][] = ['rotate', 'keys']

/** The rank of the grant that this agent writes under. @throws ACCESS_DENIED when it has none to write with */
function ownRank(tx: Transaction): number {
  const { grant } = tx.nextPlace
  const own = tx.membership.grantOf(grant)
  return own === undefined ? 0 : rankOf(own.role)
}

/** @throws ACCESS_DENIED unless this agent ranks above what it is about to do */
export function requireAbove(tx: Transaction, rank: number, what: string): void {
  if (ownRank(tx) > Math.max(rank, 1)) return
  throw denied(tx.membership, tx.agent.publicKey, what)
}

/** Whether an agent may write anything. */
export function mayWrite(membership: Membership, agent: Uint8Array): boolean {
  return rankOf(membership.roleOf(agent) ?? 'reader') >= 1
}

/** The epoch to write under, begun here if there is none and this agent may; `undefined` when it may not. */
export async function epochToWriteUnder(tx: Transaction): Promise<EpochSecret | undefined> {
  return tx.epoch ?? (ownRank(tx) >= 2 && mayBeginEpoch(tx) ? await appendRotate(tx) : undefined)
}

/** Whether an epoch may be begun for want of one: what writers brought about is bounded, for they can do it again. */
export function mayBeginEpoch(tx: Transaction): boolean {
  const { membership, now } = tx
  if (!membership.isRotationForced) return true
  const [from, to] = [now - maxForcedEpochs.duringMs, now + maxClockAheadMs]
  const recent = membership.epochs.filter(({ clock }) => clock.wallMs > from && clock.wallMs <= to)
  return recent.length < maxForcedEpochs.count
}

/** Everyone who reads by a role of their own. */
export function readersOf({ membership }: Transaction): Uint8Array[] {
  return membership.members.filter(({ role }) => role !== 'replica').map(({ agent }) => agent)
}

/**
 * Gives agents a role, and the current epoch's secret if the role reads: to one agent in its grant, to several in entries with many
 * boxes each.
 */
export async function appendGrants(
  tx: Transaction,
  agents: readonly Uint8Array[],
  role: GrantedRole,
  via: Uint8Array | undefined,
): Promise<void> {
  if (agents.length === 0) return
  const isReading = role !== 'replica'
  const epoch = isReading ? (tx.epoch ?? (await appendRotate(tx))) : undefined
  const isAlone = agents.length === 1
  const granted = new Set<string>()
  for (const agent of agents) {
    const own = isAlone ? epoch : undefined
    const keys = own && tx.keyring.sealEpoch(own, [agent], tx.random(32))
    const body = encodeAuthBody({ kind: 'grant', agent, role, sealed: own !== undefined, via })
    await tx.append({ kind: 'grant', keyId: own?.id, data: undefined }, { body, keys })
    granted.add(bytesText(agent))
  }
  if (isAlone || epoch === undefined) return
  const lacking = tx.membership.lacking(epoch.id).filter(({ agent }) => granted.has(bytesText(agent)))
  await appendBoxes(tx, epoch, lacking)
}

/** Ends grants of one agent at what counts of their chains now. */
export async function appendRevoke(
  tx: Transaction,
  chains: Chains,
  agent: Uint8Array,
  grants: readonly Grant[],
): Promise<void> {
  const sorted = [...grants].sort((a, b) => Buffer.compare(a.hash, b.hash))
  for (let at = 0; at < sorted.length; at += maxRevokedGrants) {
    const ended = sorted.slice(at, at + maxRevokedGrants)
    const cuts = await cutsOf(tx, chains, agent, ended)
    const body = encodeAuthBody({ kind: 'revoke', agent, grants: ended.map(({ hash }) => hash), cuts })
    await tx.append({ kind: 'revoke', keyId: undefined, data: undefined }, { body })
  }
}

/**
 * Has what an admin said who is about to lose its role, as far as it counts, believed by those who follow single artifacts: they lack the links that show
 * what stands below the cut, so an adopt names the last of what says who may do what in each place where other entries come between.
 */
export async function appendAdoptsBelow(
  tx: Transaction,
  chains: Chains,
  agent: Uint8Array,
  grants: readonly Grant[],
): Promise<void> {
  const { membership } = tx
  if (membership.isGroup) return
  let left = maxAdoptsOfRevoke
  for (const tip of chainsOf(tx, chains, agent)) {
    const grant = grants.find(({ hash }) => equalBytes(hash, tip.grant))
    if (grant?.role !== 'admin') continue
    const limit = membership.limitOf(tip)
    const counting = (await tx.authBefore(tip.chain))
      .filter(({ seq, hash }) => isWithin(limit, seq, toHex(hash)))
      .sort((a, b) => b.seq - a.seq)
    let isFollowed = false
    let above = Number.NaN
    for (const { seq, hash } of counting) {
      isFollowed &&= above === seq + 1
      above = seq
      const isEnd = tip.seq === seq
      const entry = isFollowed || isEnd || left === 0 ? undefined : await tx.entry(hash)
      isFollowed ||= isEnd
      if (entry?.auth === undefined || sealingKinds.includes(entry.auth.kind)) continue
      await appendAdopt(tx, entry)
      isFollowed = true
      left -= 1
    }
  }
}

/** Lets a chain count up to and with an entry of it. */
export async function appendAdopt(tx: Transaction, { header, hash }: Entry): Promise<Entry> {
  const { author: agent, grant, incarnation, seq } = header
  const body = encodeAuthBody({ kind: 'adopt', agent, grant: grant as Uint8Array, incarnation, seq, hash })
  return await tx.append({ kind: 'adopt', keyId: undefined, data: undefined }, { body })
}

/** Begins an epoch: a fresh secret, sealed to every member who reads, under which all epochs known are wrapped. */
export async function appendRotate(tx: Transaction): Promise<EpochSecret> {
  const older: EpochSecret[] = []
  // Those to wait for are sealed later, to each who lacks them.
  for (const head of openHeads(tx).slice(0, maxBoxesInEntry)) if (!(await tx.mustWait(head.id))) older.push(head)
  const epoch = tx.keyring.admitEpoch(tx.random(32))
  const wraps = older.map((one) => tx.keyring.wrapEpoch(one, epoch))
  const members = tx.membership.members.filter(({ role }) => role !== 'replica')
  await appendSealing(tx, 'rotate', epoch, members, wraps)
  return epoch
}

/**
 * The epochs that this agent can open and that whoever is given better ones could not: those whose rotate counts first, the best of them
 * first. Anyone who ever had the right to can bring any number of others.
 */
function openHeads({ keyring, membership }: Transaction): EpochSecret[] {
  const counting = membership.epochs.flatMap(({ id }) => keyring.epoch(id) ?? [])
  const all = new Set([...counting, ...[...keyring.epochs].reverse()])
  return [...all].filter(({ id }) => !membership.epochsAbove(id).some((above) => keyring.isWrapped(id, above)))
}

/**
 * Seals to members what they lack of the epoch to write under, and of others that it does not wrap, for they began at the
 * same time: whoever was granted a role under one of them could read nothing that was written under the others. An owner or admin does not
 * go by what writers say that they sealed. Gives whether some of it must wait.
 */
export async function appendLackingBoxes(tx: Transaction): Promise<boolean> {
  const rank = Math.min(ownRank(tx), rankOf('admin'))
  let isPutOff = false
  const { epoch, membership } = tx
  const heads = openHeads(tx).filter(({ id }) => membership.epochs.some((one) => equalBytes(one.id, id)))
  const apart = heads.filter((head) => head !== epoch).slice(0, maxBoxesInEntry)
  for (const one of epoch === undefined ? apart : [epoch, ...apart]) {
    const lacking = tx.membership.lacking(one.id, rank)
    if (lacking.length === 0) continue
    if (await tx.mustWait(one.id)) isPutOff = true
    else await appendBoxes(tx, one, lacking)
  }
  return isPutOff
}

/** Wraps epochs under one that members have, which is sealed to this agent once more, for no entry carries wraps alone. */
export async function appendWraps(tx: Transaction, epoch: EpochSecret, older: readonly EpochSecret[]): Promise<void> {
  const agent = tx.agent.publicKey
  const grants = tx.membership.grantsOf(agent)
  const own = { agent, role: grants[0]?.role ?? 'reader', grants }
  for (let at = 0; at < older.length; at += maxBoxesInEntry) {
    const wraps = older.slice(at, at + maxBoxesInEntry).map((one) => tx.keyring.wrapEpoch(one, epoch))
    await appendSealing(tx, 'keys', epoch, [own], wraps)
  }
}

/** Seals an epoch's secret to members who lack it. */
async function appendBoxes(tx: Transaction, epoch: EpochSecret, members: readonly Member[]): Promise<void> {
  if (members.length > 0) await appendSealing(tx, 'keys', epoch, members, [])
}

async function appendSealing(
  tx: Transaction,
  first: 'rotate' | 'keys',
  epoch: EpochSecret,
  members: readonly Member[],
  wraps: ReturnType<typeof tx.keyring.wrapEpoch>[],
): Promise<void> {
  const recipients = [
    ...new Map(
      members.map(({ agent, grants }) => {
        const prefix = grantPrefix((grants[0] as Grant).hash)
        return [bytesText(prefix), { agent, prefix }] as const
      }),
    ),
  ]
    .sort(([one], [two]) => (one < two ? -1 : 1))
    .map(([, recipient]) => recipient)
  for (let at = 0; at < recipients.length; at += maxBoxesInEntry) {
    const some = recipients.slice(at, at + maxBoxesInEntry)
    const sealed = tx.keyring.sealEpoch(
      epoch,
      some.map(({ agent }) => agent),
      tx.random(32),
    )
    const kind = at === 0 ? first : 'keys'
    const to = some.map(({ prefix }) => prefix)
    const body = encodeAuthBody(kind === 'keys' ? { kind, to } : { kind, to, ...groupEpochOf(tx, epoch) })
    const keys = { ...sealed, wraps: at === 0 ? wraps : [] }
    await tx.append({ kind, keyId: epoch.id, data: undefined }, { body, keys })
  }
}

/** What a new epoch of a group is known by outside it. */
function groupEpochOf(
  { membership, namespace }: Transaction,
  { secret }: EpochSecret,
): Pick<SealingBody, 'publicKey' | 'number'> {
  if (!membership.isGroup) return {}
  const { epoch: before, rival } = membership.groups
  const highest = Math.max(before?.number ?? 0, rival?.number ?? 0)
  return {
    publicKey: groupKeyOf(namespace, secret).publicKey,
    number: Math.min(highest + 1, highestNumber),
  }
}

/** For each chain under the grants, the last entry that counts now. */
async function cutsOf(tx: Transaction, chains: Chains, agent: Uint8Array, grants: readonly Grant[]): Promise<Cut[]> {
  const newest = [...chainsOf(tx, chains, agent)].sort((a, b) => b.clock.wallMs - a.clock.wallMs)
  const most = tx.membership.isGroup ? maxCutsOfGroup : maxCuts
  const cuts: Cut[] = []
  for (const tip of newest) {
    const grant = grants.find(({ hash }) => equalBytes(hash, tip.grant))
    if (grant === undefined || cuts.length === most) continue
    const last = await lastCounting(tx, tip)
    if (last !== undefined) cuts.push({ grant: grant.hash, incarnation: tip.incarnation, ...last })
  }
  return cuts.sort((a, b) => Buffer.compare(a.grant, b.grant) || Buffer.compare(a.incarnation, b.incarnation))
}

/** One tip of each chain of an agent. */
function* chainsOf(tx: Transaction, chains: Chains, agent: Uint8Array): Generator<Tip> {
  const seen = new Set<string>()
  const grown = [...tx.tips].flat()
  for (const tip of [...grown, ...chains.all()]) {
    const name = bytesText(tip.chain)
    if (seen.has(name) || !equalBytes(tip.author, agent)) continue
    seen.add(name)
    yield tx.tipsOf(tip.chain).at(-1) ?? tip
  }
}

async function lastCounting(tx: Transaction, tip: Tip): Promise<{ seq: number; hash: Uint8Array } | undefined> {
  const limit = tx.membership.limitOf(tip)
  const tips = tx.tipsOf(tip.chain)
  if (tips.length === 1 && isWithin(limit, tip.seq, toHex(tip.hash))) return tip
  const [furthest] = [...limit.beyond].sort(([a, seqA], [b, seqB]) => seqB - seqA || (a < b ? -1 : 1))
  if (furthest !== undefined) return { seq: furthest[1], hash: fromHex(furthest[0]) }
  const seq = Math.min(limit.below - 1, tip.seq)
  if (seq < 0) return undefined
  for await (const { header, hash } of tx.storedOf(tip.chain, seq)) {
    if (header.seq === seq) return { seq, hash }
    break
  }
  return undefined
}
