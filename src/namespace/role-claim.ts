import { equalBytes } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, type Entry } from '../log/index.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import type { NamespaceParts } from './parts.ts'

/** See `HeldEntries.claim`. */
export async function* roleClaim(
  { id, log, env }: NamespaceParts,
  membership: Membership,
): AsyncGenerator<Uint8Array, void, undefined> {
  const [grant] = membership.grantsOf(env.agent.publicKey)
  // The owner is one by the genesis.
  if (grant === undefined || equalBytes(grant.hash, id)) return
  const by = (await log.unverified(grant.hash))?.header.grant
  for (const hash of by === undefined || equalBytes(by, id) ? [grant.hash] : [by, grant.hash]) {
    const bytes = await log.bytes(hash)
    if (bytes !== undefined) yield bytes
  }
}

/** See `Namespace.provesRole`. */
export function provesRole(membership: Membership, agent: Uint8Array, claim: readonly Uint8Array[]): boolean {
  let granter = { agent: membership.owner, grant: membership.namespace, rank: rankOf('owner') }
  for (const bytes of claim) {
    const entry = readEntry(bytes)
    const { namespace, author, grant } = entry?.header ?? {}
    if (entry?.auth?.kind !== 'grant' || namespace === undefined || author === undefined || grant === undefined)
      return false
    const isTheirs = equalBytes(author, granter.agent) && equalBytes(grant, granter.grant)
    if (!equalBytes(namespace, membership.namespace) || !isTheirs || rankOf(entry.auth.role) >= granter.rank)
      return false
    // What is known to have ended, or never to have been, shows nothing.
    if (membership.knowsGrant(entry.hash) && membership.grantOf(entry.hash)?.live !== true) return false
    granter = { agent: entry.auth.agent, grant: entry.hash, rank: rankOf(entry.auth.role) }
  }
  return claim.length > 0 && equalBytes(granter.agent, agent)
}

/** With its hashes and signature checked. */
function readEntry(bytes: Uint8Array): Entry | undefined {
  try {
    return decodeEntry(bytes)
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}
