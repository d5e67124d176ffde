import type { CapabilityClaims } from '../capability/index.ts'
import { maxSyncVectorRows } from '../limits.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { AuthPart, type EntryIds } from './auth-part.ts'
import { entriesBeyond, rowsWithin } from './beyond.ts'
import type { Tip } from './chains.ts'
import { farewellFor } from './farewell.ts'
import type { Ledger } from './ledger.ts'
import {
  type ArtifactEntriesOptions,
  artifactEntries,
  evidenceAgainst,
  hasWritesOf,
  incompleteEntries,
  lettersFor,
} from './log-queries.ts'
import { roleClaim } from './role-claim.ts'
import type { StoredEntry } from './stored-log.ts'
import { strayLinks } from './stray-links.ts'

interface SignalOption {
  readonly signal?: AbortSignal | undefined
}

type Row = Pick<Tip, 'chain' | 'seq' | 'hash'>

/**
 * What of a namespace's log is held here, as others are told and given it: to members by the vector, to who follows artifacts by
 * ids. Only reads.
 */
export class HeldEntries {
  readonly #ledger: Ledger
  #lastAuthPart: { readonly membership: Membership; readonly part: Promise<AuthPart> } | undefined

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /**
   * SHA-256 over chain ‖ seq (8) ‖ hash of every row of the vector: two logs with one hash
   * hold the same entries within the limits of their chains, and the same proofs of forks.
   */
  get vectorHash(): Uint8Array {
    return this.#ledger.chains.vector.hash
  }

  /**
   * The tips of all chains, ascending by chain, then hash: of a bounded one those of what is within its limit or proves a fork. No more than a round has room
   * for: those of who decides on members first, and of the others first of whoever has few.
   */
  vector(): readonly Tip[] {
    return rowsWithin(this.#ledger.chains.vector.rows, this.#ledger.membership, maxSyncVectorRows)
  }

  /** Every entry held that none follows, beyond the limit of its chain too, in no order: what an adopt can name. */
  tips(): Iterable<Tip> {
    return this.#ledger.chains.all()
  }

  /**
   * Stored bytes of the entries that whoever has the vector `theirs` lacks. Chains that carry membership first (the owner's,
   * admins', then the others'), each in order of seq. Where they have a tip that is not held here though the chain reaches
   * its seq, there is a fork at an unknown place, and the chain is given from its start.
   */
  entriesBeyond(theirs: Iterable<Row>, options: SignalOption = {}): AsyncGenerator<Uint8Array, void, undefined> {
    return entriesBeyond(this.#ledger, theirs, options)
  }

  /**
   * Stored bytes of the entries that hold the keys of the time for an agent: its grants, and the rotate of the epoch to write
   * under. Handed to `receive` ahead of the log they do not link yet, but what comes after them is readable at once, where else
   * it would be tried a second time when they come in their place.
   */
  lettersFor(agent: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
    return lettersFor(this.#ledger.parts, this.#ledger.membership, agent)
  }

  /**
   * Stored bytes of what tells an agent that its role was taken away, and that whoever has the vector `theirs` lacks: the chain of
   * who did it, up to there, and the grants that it did it by. Nothing that was written after the removal that it tells of, but where whoever has `theirs` may know
   * of another branch of that chain, as of none of them anything counts for who is not told which: up to what names the one, without bodies and leaves of versions and shares.
   */
  farewellFor(agent: Uint8Array, theirs: Iterable<Row>): AsyncGenerator<Uint8Array, void, undefined> {
    return farewellFor(this.#ledger, agent, theirs)
  }

  /** Stored bytes of the grants by which this agent shows that it has a role: that of who granted it, if not the owner, and its own. */
  claim(): AsyncGenerator<Uint8Array, void, undefined> {
    return roleClaim(this.#ledger.parts, this.#ledger.membership)
  }

  /** Whether an entry of that hash is here. */
  async has(hash: Uint8Array): Promise<boolean> {
    return await this.#ledger.parts.log.has(hash)
  }

  /** An entry by its hash; `undefined` when it is not here. @throws CORRUPT */
  async entry(hash: Uint8Array): Promise<Entry | undefined> {
    return await this.#ledger.parts.log.entry(hash)
  }

  /** Stored bytes of an entry. */
  async bytes(hash: Uint8Array): Promise<Uint8Array | undefined> {
    return await this.#ledger.parts.log.bytes(hash)
  }

  /** Every entry with its stored bytes, chain by chain. `place` is chain (16) ‖ seq (8) ‖ hash (32). */
  all({ signal }: SignalOption = {}): AsyncGenerator<{ place: Uint8Array; bytes: Uint8Array }> {
    return this.#ledger.parts.log.all({ signal })
  }

  /** Ids of what `authEntries` gives. */
  async authIds(): Promise<EntryIds> {
    return (await this.#authPart()).ids
  }

  /**
   * All entries that say who may do what, but those beyond the limit of their chain, and the two that prove each fork: what is
   * public of them, those that others stand on first.
   * @param options.without ids (16 bytes as text: `bytesText`) of those that are not needed
   */
  async *authEntries({
    without = new Set(),
    signal,
  }: { without?: ReadonlySet<string> } & SignalOption = {}): AsyncGenerator<StoredEntry, void, undefined> {
    yield* (await this.#authPart()).entries(without, signal)
  }

  /** All entries of one artifact (20 bytes): those that count, and those that carry its keys. */
  artifactEntries(artifact: Uint8Array, options: ArtifactEntriesOptions = {}): AsyncGenerator<StoredEntry> {
    return artifactEntries(this.#ledger.parts, this.#ledger.membership, artifact, options)
  }

  /** Hashes of entries held without the body or leaf that a live version needs. */
  incomplete({ signal }: SignalOption = {}): AsyncGenerator<Uint8Array> {
    return incompleteEntries(this.#ledger.parts, signal)
  }

  /** What is public of the entries that say why a capability gives nothing any more, and of those that they stand on. */
  async *evidenceAgainst(claims: CapabilityClaims): AsyncGenerator<Uint8Array, void, undefined> {
    yield* evidenceAgainst(this.#ledger.parts, this.#ledger.membership, claims)
  }

  /** Whether a chain is known to be forked, or part of one to be adopted. */
  get hasForks(): boolean {
    return this.#ledger.membership.hasForks
  }

  /** Hashes of entries that are held of a part and wait for what `strayLinks` gives. */
  get unclear(): readonly Uint8Array[] {
    return this.#ledger.membership.unclear
  }

  /** What shows who follows artifacts of entries with these ids that they stand on no branch that counts, as far as they are held here. */
  strayLinks(ids: Iterable<Uint8Array>, options: SignalOption = {}) {
    return strayLinks(this.#ledger.parts, this.#ledger.membership, ids, options)
  }

  /** Whether this agent wrote anything about an artifact here: what others have not fetched of that is nowhere else. */
  async hasOwnWrites(): Promise<boolean> {
    const { log, env } = this.#ledger.parts
    return await hasWritesOf(log, this.tips(), env.agent.publicKey)
  }

  /** Kept while who may do what stays the same: with many who follow artifacts it is asked for all the time. */
  async #authPart(): Promise<AuthPart> {
    const { parts, membership, chains } = this.#ledger
    if (this.#lastAuthPart?.membership !== membership) {
      const part = AuthPart.of(parts, membership, chains)
      this.#lastAuthPart = { membership, part }
      part.catch(() => {
        this.#lastAuthPart = undefined
      })
    }
    return await this.#lastAuthPart.part
  }
}
