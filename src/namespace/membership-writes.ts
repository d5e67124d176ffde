import { bytesText, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { formatDid } from '../identity/index.ts'
import type { GrantedRole } from '../log/index.ts'
import { compareRoles, type Grant, type Membership, type Role, rankOf } from '../membership/index.ts'
import { roleWord } from './denied.ts'
import type { Ledger } from './ledger.ts'
import {
  appendAdopt,
  appendAdoptsBelow,
  appendGrants,
  appendLackingBoxes,
  appendRevoke,
  appendRotate,
  mayBeginEpoch,
  requireAbove,
} from './members.ts'
import { recount } from './recount.ts'
import type { Transaction } from './transaction.ts'

/** Whom to give a role, and by way of which group if it is not by name. */
export interface Grants {
  readonly agents: readonly Uint8Array[]
  readonly role: GrantedRole
  readonly via?: Uint8Array | undefined
}

/** See `NamespaceMembers.grantAll`. */
export async function writeGrants(ledger: Ledger, { agents, role, via }: Grants): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    const { membership } = tx
    requireAbove(tx, rankOf(role), `make anyone ${roleWord(membership, role)}`)
    const lacking: Uint8Array[] = []
    const obsolete: { agent: Uint8Array; grants: Grant[] }[] = []
    for (const agent of distinct(agents)) {
      if (equalBytes(agent, membership.owner)) {
        if (via !== undefined) continue
        throw new ArtifactHubError('INVALID_ARGUMENT', 'the owner’s role does not change')
      }
      const held = membership.grantsOf(agent)
      // By name a role is the highest that the agent will have; a group's is beside what else it has.
      const beside = via === undefined ? held : held.filter((grant) => isVia(grant, via))
      const higher = beside.filter((grant) => compareRoles(grant.role, role) < 0)
      for (const { role: taken } of higher) requireAbove(tx, rankOf(taken), takingAway(membership, taken))
      if (higher.length > 0) obsolete.push({ agent, grants: higher })
      if (!held.some((grant) => grant.role === role && isVia(grant, via))) lacking.push(agent)
    }
    if (lacking.length === 0 && obsolete.length === 0) return
    mark()
    for (const { agent, grants } of obsolete) await endRoles(tx, ledger, agent, grants)
    await appendGrants(tx, lacking, role, via)
    await recount(tx, ledger.chains, [])
    if (obsolete.length > 0 && needsEpoch(tx)) await appendRotate(tx)
  })
}

/** Whose roles to end: all of them, or those by way of a group. */
export interface Revokes {
  readonly agents: readonly Uint8Array[]
  readonly via?: Uint8Array | undefined
}

/** See `NamespaceMembers.revokeAll`. */
export async function writeRevokes(ledger: Ledger, { agents, via }: Revokes): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    const ended = distinct(agents).flatMap((agent) => {
      const held = tx.membership.grantsOf(agent)
      if (via === undefined && held.length === 0)
        throw new ArtifactHubError('NOT_FOUND', `${formatDid(agent)} is no member of this ${nounOf(tx)}`)
      const grants = via === undefined ? held : held.filter((grant) => isVia(grant, via))
      for (const { role } of grants) requireAbove(tx, rankOf(role), takingAway(tx.membership, role))
      return grants.length === 0 ? [] : [{ agent, grants }]
    })
    if (ended.length === 0) return
    mark()
    for (const { agent, grants } of ended) await endRoles(tx, ledger, agent, grants)
    if (needsEpoch(tx)) await appendRotate(tx)
    await recount(tx, ledger.chains, [])
  })
}

async function endRoles(tx: Transaction, { chains }: Ledger, agent: Uint8Array, grants: readonly Grant[]) {
  await appendAdoptsBelow(tx, chains, agent, grants)
  await appendRevoke(tx, chains, agent, grants)
}

function takingAway(membership: Membership, role: Role): string {
  return `take the role ${roleWord(membership, role)} away`
}

function isVia(grant: Grant, group: Uint8Array | undefined): boolean {
  return group === undefined || grant.via === undefined ? group === grant.via : equalBytes(group, grant.via)
}

/** Whether an epoch must begin: there is none to write under, or others know the group by one that former members have. */
function needsEpoch(tx: Transaction): boolean {
  return tx.epoch === undefined || (tx.membership.isGroup && tx.membership.owed.rotation)
}

function distinct(agents: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(agents.map((agent) => [bytesText(agent), agent])).values()]
}

function nounOf(tx: Transaction): string {
  return tx.membership.isGroup ? 'group' : 'namespace'
}

/** See `NamespaceMembers.adopt`. */
export async function writeAdopt(ledger: Ledger, hash: Uint8Array): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    const target = await tx.entry(hash)
    const grant = target?.header.grant && (await tx.entry(target.header.grant))
    if (target === undefined || grant === undefined)
      throw new ArtifactHubError('NOT_FOUND', 'that entry is not held here')
    if (grant.auth?.kind !== 'grant') throw new ArtifactHubError('INVALID_ARGUMENT', 'all of the owner’s entries count')
    requireAbove(tx, rankOf(grant.auth.role), 'adopt what that agent wrote')
    mark()
    await appendAdopt(tx, target)
    await recount(tx, ledger.chains, [])
  })
}

/** See `NamespaceMembers.rotate`. */
export async function writeRotate(ledger: Ledger): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    requireAbove(tx, 1, 'begin an epoch')
    mark()
    await appendRotate(tx)
  })
}

/** See `Healer.run`. */
export async function writeOwed(ledger: Ledger): Promise<{ readonly written: number; readonly isPutOff: boolean }> {
  return await ledger.commit(async (tx, mark) => {
    const role = tx.membership.roleOf(tx.agent.publicKey)
    if (role === undefined || rankOf(role) < 1) return { written: 0, isPutOff: false }
    const before = tx.appended
    let isPutOff = false
    if (tx.membership.owed.rotation) {
      if (rankOf(role) < 2) return { written: 0, isPutOff }
      isPutOff = !mayBeginEpoch(tx)
      mark()
      if (!isPutOff) await appendRotate(tx)
    } else {
      mark()
      isPutOff = await appendLackingBoxes(tx)
    }
    return { written: tx.appended - before, isPutOff }
  })
}
