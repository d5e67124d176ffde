/** Who may do what, and which entries count: evaluated from the auth entries, one answer in whatever order they come. */
export { type ChainLimit, changedBetween, isWithin } from './chain-limit.ts'
export {
  endedIn,
  type GroupDescriptor,
  highestNumber,
  isNewsOf,
  newestDescriptor,
  type ProofFacts,
  readProof,
} from './descriptor.ts'
export { compareClocks, type Epoch, type Owed } from './epochs.ts'
export type { ChainName, EntryPosition, Fork, Grant, Member, ShownEntries } from './members.ts'
export { Membership, type MembershipChange } from './membership.ts'
export { compareRoles, mayAuthor, type Role, rankOf } from './roles.ts'
export type { AuthEntry, EntryPlace, EntrySeat } from './statements.ts'
