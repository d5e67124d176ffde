import { equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { GrantedRole } from '../log/index.ts'
import { rankOf } from '../membership/index.ts'
import type { Ledger } from './ledger.ts'
import { appendAdopt, appendGrant, appendLackingBoxes, appendRevoke, appendRotate, requireAbove } from './members.ts'
import { recount } from './recount.ts'

/** See `Namespace.grant`. */
export async function writeGrant(ledger: Ledger, agent: Uint8Array, role: GrantedRole): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    const { membership } = tx
    if (equalBytes(agent, membership.owner))
      throw new ArtifactHubError('INVALID_ARGUMENT', 'the owner’s role does not change')
    requireAbove(tx, rankOf(role), `make anyone ${role}`)
    const grants = membership.grantsOf(agent)
    const obsolete = grants.filter(
      (grant) => rankOf(grant.role) > rankOf(role) || (role === 'replica' && grant.role !== 'replica'),
    )
    for (const { role: held } of obsolete) requireAbove(tx, rankOf(held), `take the role ${held} away`)
    if (obsolete.length === 0 && grants.some((grant) => grant.role === role)) return
    mark()
    if (obsolete.length > 0) await appendRevoke(tx, ledger.chains, agent, obsolete)
    if (!grants.some((grant) => grant.role === role)) await appendGrant(tx, agent, role)
    await recount(tx, ledger.chains, [])
    if (obsolete.length > 0 && tx.epoch === undefined) await appendRotate(tx)
  })
}

/** See `Namespace.revoke`. */
export async function writeRevoke(ledger: Ledger, agent: Uint8Array): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    const grants = tx.membership.grantsOf(agent)
    if (grants.length === 0) throw new ArtifactHubError('NOT_FOUND', 'that agent is no member of this namespace')
    for (const { role } of grants) requireAbove(tx, rankOf(role), `take the role ${role} away`)
    mark()
    await appendRevoke(tx, ledger.chains, agent, grants)
    if (tx.epoch === undefined) await appendRotate(tx)
    await recount(tx, ledger.chains, [])
  })
}

/** See `Namespace.adopt`. */
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

/** See `Namespace.rotate`. */
export async function writeRotate(ledger: Ledger): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    requireAbove(tx, 1, 'begin an epoch')
    mark()
    await appendRotate(tx)
  })
}

/** See `Namespace.heal`. */
export async function writeOwed(ledger: Ledger): Promise<number> {
  return await ledger.commit(async (tx, mark) => {
    const role = tx.membership.roleOf(tx.agent.publicKey)
    if (role === undefined || rankOf(role) < 1) return 0
    const before = tx.appended
    if (tx.membership.owed.rotation) {
      if (rankOf(role) < 2) return 0
      mark()
      await appendRotate(tx)
    } else {
      mark()
      await appendLackingBoxes(tx)
    }
    return tx.appended - before
  })
}
