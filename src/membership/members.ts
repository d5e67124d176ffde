import type { ClockReading } from '../catalog/index.ts'
import type { Role } from './roles.ts'

/** A grant that has effect: its entry counts, and its author ranks above what it gives. */
export interface Grant {
  /** Hash of the grant entry; of the genesis, for the owner. */
  readonly hash: Uint8Array
  readonly agent: Uint8Array
  readonly role: Role
  readonly clock: ClockReading
  /** No counting revoke names it. */
  readonly live: boolean
  /** The group (32 bytes) that the agent has the role through; `undefined` when it has it by name. */
  readonly via: Uint8Array | undefined
}

/** An agent with at least one live grant. */
export interface Member {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly agent: Uint8Array
  /** The highest of its live grants. */
  readonly role: Role
  /** Live ones: the highest role first, among equals the newest. */
  readonly grants: readonly Grant[]
}

/** How a role of an agent ended. */
export interface Ending {
  /** Hash of the revoke. */
  readonly revoke: Uint8Array
  /** Who wrote it. */
  readonly author: Uint8Array
  /** The role that it took away. */
  readonly role: Role
  readonly clock: ClockReading
}

/** One agent's entries under one grant and one incarnation. */
export interface ChainName {
  readonly author: Uint8Array
  /** Hash of the grant entry; of the genesis, for the owner. */
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
}

/** A place in a chain, on one branch. */
export interface EntryPosition {
  readonly seq: number
  /** 32 bytes. */
  readonly hash: Uint8Array
}

/** The lowest place at which a chain goes on in several ways and nobody has said which counts. */
export interface Fork extends ChainName {
  readonly seq: number
  /** Of the entries that are held there, the two with the lowest hashes: their signed headers are the proof. */
  readonly hashes: readonly [Uint8Array, Uint8Array]
}

/** The entries of a bounded chain that every member should hold. */
export interface ShownEntries {
  /** Every entry with a lower seq is one. */
  readonly below: number
  /** Up to this seq there are more to come: a cut or an adopt names an entry that is not held. -1 if not. */
  readonly awaited: number
  /** Of whoever holds all of a forked chain: another entry than is held at this number or below is none, unless it is named. -1 if nothing says so. */
  readonly settledUpTo: number
  /** The same (`===`) as long as nothing came that makes others of those that are held ones of these. */
  readonly era: unknown
  /** If the chain is known to be forked: from which seq on it is known without reading what is held and none of these, and the hashes (hex) of that, ascending by seq. */
  readonly hidden: { readonly from: number; readonly hashes: Iterable<string> } | undefined
  /** Of whoever holds all, those at `below` or above that none of them follows; what a cut or an adopt names need not be held. */
  readonly ends: readonly EntryPosition[]
  /** Whether the entry of that seq and hash (hex) is one. */
  has(seq: number, hash: string): boolean
}
