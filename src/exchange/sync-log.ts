import type { CapabilityClaims } from '../capability/index.ts'
import type { Entry } from '../log/index.ts'
import type { ReadableNamespace } from './may-read.ts'

/** The newest entry of a branch of a chain. A chain without a fork has one; a forked one has one for each branch. */
export interface VectorRow {
  /** 16 bytes. */
  readonly chain: Uint8Array
  readonly seq: number
  /** Hash of that entry, 32 bytes. */
  readonly hash: Uint8Array
}

/** What became of entries that were handed to a log. */
export interface Received {
  /** Entries that were not held before and are durable now. */
  readonly stored: number
  /** Entries that were held already. */
  readonly known: number
  /** Hashes of entries that could not be stored, for what they stand on (the entry before them, their grant) is not held. */
  readonly unlinked: readonly Uint8Array[]
  /** Entries that no honest peer sends: malformed, wrongly signed, of another namespace. */
  readonly refused: readonly RefusedEntry[]
}

/** An entry that was not stored and never will be. */
export interface RefusedEntry {
  readonly hash: Uint8Array | undefined
  readonly code: string
  readonly why: string
}

/** What a log tells its listeners after a batch is durable. */
export interface LogChange {
  /** What this node wrote in that batch: stored bytes of its entries, in the order of its chain. */
  readonly written: readonly Uint8Array[]
  /** How many entries came from others. */
  readonly received: number
  /** Entries of which only some artifacts are here that were taken out, for another to give anew. */
  readonly removed?: number
  /** Whether who may do what may have changed. */
  readonly authChanged: boolean
  /** Whether others may lack keys of what was received: the healer looks. */
  readonly mayOweBoxes?: boolean
  /** Every entry of that batch that others are told of. */
  readonly entries?: Iterable<Entry>
}

/** An entry as it is stored, with its name. */
export interface StoredEntry {
  /** 32 bytes. */
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
}

/** What is told of one artifact. */
export interface ArtifactViewOptions {
  /** Of versions up to that number only what is public. */
  readonly after?: number | undefined
  /** Of shares only the one of that id (16 bytes); without it none. */
  readonly share?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
}

/** What of a log is held, as others are told and given it: entries by hash, stored bytes of them. */
export interface HeldEntries {
  /** SHA-256 over the rows of the vector in order: two logs with one hash hold the same entries. */
  readonly vectorHash: Uint8Array
  /** The tips of all chains, ascending by chain, then hash. */
  vector(): Iterable<VectorRow>
  /**
   * Entries held that whoever has `theirs` lacks: what is neither one of their tips nor before one. Chains that carry
   * membership first (the owner's, admins', then the others), each in the order of seq. Where one of their tips is not held
   * though the chain reaches its seq here, there is a fork at an unknown place: then the chain is given from its start.
   */
  entriesBeyond(theirs: Iterable<VectorRow>, options?: { signal?: AbortSignal | undefined }): AsyncIterable<Uint8Array>
  /**
   * Entries that hold the keys of the time for an agent, for it to have ahead of a long log: what comes after them it can read
   * at once, where else it would try everything a second time when they come in their place.
   */
  lettersFor?(agent: Uint8Array): AsyncIterable<Uint8Array>
  /**
   * Entries that tell an agent that had a role so, which whoever has `theirs` lacks: the revokes and what these stand on. None of
   * them was written after the removal that it tells of, unless that stands in a chain of which `theirs` may have another branch: then they go on up to what names the
   * one, and what came since is without bodies and leaves of versions and shares.
   */
  farewellFor?(agent: Uint8Array, theirs: Iterable<VectorRow>): AsyncIterable<Uint8Array>
  /** Entries by which this node's agent shows that it has a role, `maxClaimEntries` at most: its grant, and that of the admin who made it. */
  claim?(): AsyncIterable<Uint8Array>
  /** Whether an entry of that hash is held. */
  has(hash: Uint8Array): Promise<boolean>
  /** Stored bytes of an entry. */
  bytes(hash: Uint8Array): Promise<Uint8Array | undefined>
  /** Hashes of entries held without the body or leaf that a live version needs. */
  incomplete(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  /** Ids of what `authEntries` gives: the first 16 bytes of each hash, ascending; and the SHA-256 over them. */
  authIds(): Promise<{ readonly ids: readonly Uint8Array[]; readonly hash: Uint8Array }>
  /**
   * All entries that say who may do what, and those that prove forks: what is public of them, those that others stand on first.
   * @param options.without ids (as text: `bytesText`) of those that are not needed
   */
  authEntries(options?: { without?: ReadonlySet<string>; signal?: AbortSignal | undefined }): AsyncIterable<StoredEntry>
  /** All entries of one artifact (20 bytes), as a view gives them. */
  artifactEntries(artifact: Uint8Array, options?: ArtifactViewOptions): AsyncIterable<StoredEntry>
  /** The entries that say why a capability gives nothing any more, and those that they stand on; what is public of them. */
  evidenceAgainst?(claims: CapabilityClaims): AsyncIterable<Uint8Array>
  /** Whether a chain is known to have branches. */
  readonly hasForks?: boolean
  /** Hashes of entries that wait for what `strayLinks` gives there. */
  readonly unclear?: readonly Uint8Array[]
  /**
   * Headers that show who follows artifacts of entries that it has whether they stand on a branch that counts: some, as far as these are held.
   * @param ids the first 16 bytes of their hashes
   */
  strayLinks?(ids: Iterable<Uint8Array>, options?: { signal?: AbortSignal | undefined }): AsyncIterable<Uint8Array>
}

/** Writes what this agent may and should write so that every member can read: an owed rotation, missing boxes. */
export interface LogHealer {
  /** Idempotent. */
  run(): Promise<unknown>
  /** Whether the last `run` left something to be written later, or failed and may not the next time. */
  readonly isPutOff: boolean
}

/** The log of one namespace as replication sees it. A Namespace is one. */
export interface ReplicatedLog extends ReadableNamespace {
  /** The namespace: 32 bytes. */
  readonly id: Uint8Array
  readonly held: HeldEntries
  /**
   * Checks entries that anyone may have made and stores those that are well, in one durable batch. Idempotent.
   * @param options.from the agent that gave them
   */
  receive(
    batch: readonly Uint8Array[],
    options?: { signal?: AbortSignal | undefined; from?: Uint8Array | undefined },
  ): Promise<Received>
  /** Whether entries were handed to `receive` that are not durable yet. */
  readonly isReceiving?: boolean
  /** Whether an agent had a role that was taken away. */
  hadRole?(agent: Uint8Array): boolean
  /** Whether entries that anyone may have made show that this log's owner, or an admin, has granted the agent a role. */
  provesRole?(agent: Uint8Array, claim: readonly Uint8Array[]): boolean
  /** Everybody who has a role. */
  memberAgents(): Iterable<Uint8Array>
  readonly healer?: LogHealer
  /** Called after each durable batch, until the returned function is called. */
  subscribe(listener: (change: LogChange) => void): () => void
}
