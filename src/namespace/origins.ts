import { bytesText, equalBytes } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import { chainOf } from './chains.ts'
import { placeOf } from './tables.ts'
import type { Transaction } from './transaction.ts'

type Placed = Pick<Entry, 'header' | 'hash'>

/**
 * Whether a partial log cannot take an entry on the word of the agent who gives it. Of a chain that ends at a cut only whoever holds all of it
 * can tell which entries stand below, where its author can still sign others: so one must say so who could write as much otherwise, and need not
 * lie for it; or else a cut or an adopt names it.
 */
export function isDoubtful(membership: Membership, entry: Placed, from: Uint8Array): boolean {
  const { header, hash } = entry
  const grant = header.grant ?? hash
  // A chain without a cut ends at a fork, whose author may write all of it now.
  if (membership.grantOf(grant)?.live === true || membership.shownOf({ ...header, grant }) === undefined) return false
  if (!isOfWeight(membership, entry)) return false
  const role = membership.roleOf(from)
  if (role !== undefined && rankOf(role) >= rankOf(header.data === undefined ? 'admin' : 'writer')) return false
  return !membership.isNamed(entry)
}

/**
 * Whether who follows single artifacts can be misled by an entry that its author made after its end. What seals keys holds what it should or nothing, as
 * their ids tell; and of who may do what a writer says nothing but what ends its own capabilities, and proofs of groups.
 */
function isOfWeight(membership: Membership, { header }: Placed): boolean {
  if (header.kind === 'keys' || header.kind === 'rotate') return false
  if (header.data !== undefined) return true
  const grant = header.grant === undefined ? undefined : membership.grantOf(header.grant)
  return grant !== undefined && rankOf(grant.role) >= rankOf('admin')
}

/**
 * Whether an entry that says who may do what is believed for those of its chain that come right after it, up to one that is.
 *
 * @param nextOf the one that is held right after another, if that is believed or of no weight
 */
export async function isLedTo(
  membership: Membership,
  entry: Entry,
  nextOf: (entry: Entry) => Promise<Entry | undefined>,
): Promise<boolean> {
  for (let next = await nextOf(entry); next !== undefined; next = await nextOf(next)) {
    if (isOfWeight(membership, next) || membership.isNamed(next)) return true
  }
  return false
}

/** Remembers who gave an entry to a partial log, for as long as that may come to matter: the owner's role never ends, nor do its chains. */
export function noteOrigin(tx: Transaction, entry: Entry, from: Uint8Array | undefined): void {
  const { owner, namespace } = tx.membership
  const { grant, seq } = entry.header
  if (from === undefined || grant === undefined || equalBytes(grant, namespace) || equalBytes(from, owner)) return
  tx.add({ type: 'put', key: tx.keys.key('origins', from, entry.hash), value: placeOf(chainOf(entry), seq) })
}

/** Whether an entry of a chain is the one right before another of it that says who may do what. */
export function isBefore({ header, hash }: Placed, next: Entry): boolean {
  const { previous, seq } = next.header
  return next.auth !== undefined && seq === header.seq + 1 && previous !== undefined && equalBytes(previous, hash)
}

/** Names (`bytesText`) of the versions that an entry goes on from, ends or, as a share, is given of: its author held these. */
export function namedBy({ header: { kind, data, heads } }: Placed): string[] {
  if (data === undefined) return []
  const shared = kind === 'share' ? heads : []
  return [...data.parents, ...data.versions, ...shared].map(bytesText)
}
