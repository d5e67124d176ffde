import type { EntryKind, GrantedRole } from '../log/index.ts'

/** What an agent is in a namespace. */
export type Role = 'owner' | GrantedRole

const ranks: Readonly<Record<Role, number>> = { owner: 3, admin: 2, writer: 1, reader: 0, replica: 0 }

/** 3 (owner) to 0 (reader, replica). Only a strictly higher rank grants, revokes or adopts. */
export function rankOf(role: Role): number {
  return ranks[role]
}

const fromHighest: readonly Role[] = ['owner', 'admin', 'writer', 'reader', 'replica']

/** Negative, zero or positive as the first role is higher, the same or lower: a reader is above a replica, for it has keys. */
export function compareRoles(one: Role, two: Role): number {
  return fromHighest.indexOf(one) - fromHighest.indexOf(two)
}

const writerKinds: readonly EntryKind[] = ['put', 'delete', 'drop', 'keys', 'share', 'revoke-capability', 'descriptor']
const adminKinds: readonly EntryKind[] = [...writerKinds, 'grant', 'revoke', 'adopt', 'rotate']
const kindsOf: Readonly<Record<Role, readonly EntryKind[]>> = {
  owner: adminKinds,
  admin: adminKinds,
  writer: writerKinds,
  reader: [],
  replica: [],
}

/** Whether an entry of that kind may stand in a chain of that role. A genesis stands by itself: it makes the owner one. */
export function mayAuthor(role: Role, kind: EntryKind): boolean {
  return kindsOf[role].includes(kind)
}
