import { artifactIdOf, bytesText, concatBytes } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { Keyring } from '../sharing/index.ts'
import { chainOf } from './chains.ts'
import { readKeyRow } from './key-rows.ts'
import { keysSealedByName } from './labelled-boxes.ts'
import type { Ledger, NamespaceChange } from './ledger.ts'

/** An epoch that was none: whoever began it had no right to, and others were not given it. */
export interface ClosedEpoch {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** Of each chain that has any, the first and the last entry that counts and has keys, or a share, under it. */
  readonly entries: readonly Entry[]
}

/** A key that was sealed to the members of its time by name: who came later has none. */
export interface NamedKey {
  readonly artifact: Uint8Array
  readonly artifactSalt: Uint8Array
  /** 16 bytes. */
  readonly keyId: Uint8Array
  /** Those that count and have boxes of it. */
  readonly entries: readonly Entry[]
}

/** Keys that something is under which counts, and by which not every member comes. */
export interface Closed {
  readonly epochs: readonly ClosedEpoch[]
  readonly keys: readonly NamedKey[]
}

interface Use {
  readonly seq: number
  readonly hash: Uint8Array
}

/** The entries of one chain that are under an epoch: where the first counts any does. */
interface UsesOfChain {
  readonly grant: string
  first: Use
  last: Use
}

/** Epochs that are none, by chain, that are kept of what is written under one grant: a name costs its author nothing. */
const maxOfGrant = 64
/** Entries that are looked at together of one key. */
const maxEntriesOfKey = 64
const artifactBytes = 20
const batchEntries = 500

/**
 * Whether an epoch comes to every member: it is one of those that count, or wrapped under one. That a wrap opens is looked at where it can be,
 * for anyone who may write can say that there is one.
 */
export function isGiven(membership: Membership, keyring: Keyring, id: Uint8Array): boolean {
  if (membership.isEpoch(id)) return true
  const above = membership.epochsAbove(id)
  return above.some((under) => keyring.epoch(under) === undefined || keyring.isWrapped(id, under))
}

/**
 * Finds keys that are closed to members who should have them: under epochs that do not count, for they were begun by an admin who had been removed, and used by who had not
 * heard of it; or sealed by name. Looks through all keys once, where there may be any, and again after epochs stopped counting; from then on at what comes.
 */
export class ClosedKeys {
  readonly #ledger: Ledger
  /** By epoch, then chain, as text. */
  readonly #epochs = new Map<string, { readonly id: Uint8Array; readonly chains: Map<string, UsesOfChain> }>()
  readonly #named = new Map<string, Pick<NamedKey, 'artifact' | 'keyId'>>()
  /** Epochs that counted after the last change. */
  #begun: ReadonlySet<string> = new Set()
  /** Settles when all that was stored by then was looked at; `undefined` when it is to be. */
  #looked: Promise<void> | undefined

  constructor(ledger: Ledger) {
    this.#ledger = ledger
    // Who follows single artifacts gives nothing.
    if (ledger.parts.partial !== undefined) return
    this.#begun = this.#epochsBegun()
    ledger.subscribe((change) => this.#note(change))
  }

  /** What is closed now. @throws what the store throws */
  async owed(): Promise<Closed> {
    await this.#look()
    const { membership, parts } = this.#ledger
    const { log, keyring, env, keys: tables } = parts
    const epochs: ClosedEpoch[] = []
    for (const [name, { id, chains }] of this.#epochs) {
      if (membership.isEpoch(id)) this.#epochs.delete(name)
      if (isGiven(membership, keyring, id)) continue
      const hashes = [...chains.values()].flatMap(({ first, last }) => [first.hash, last.hash])
      const entries = (await log.unverifiedMany(distinct(hashes))).filter((entry) => membership.counts(entry))
      if (entries.length > 0) epochs.push({ id, entries })
    }
    const keys: NamedKey[] = []
    for (const [name, { artifact, keyId }] of this.#named) {
      const { wraps, boxed } = readKeyRow(await env.store.get(tables.key('artifactKeys', artifact, keyId)), keyId)
      const isOpen = wraps.some((wrap) => isGiven(membership, keyring, wrap.under) && keyring.mayOpen(artifact, wrap))
      if (isOpen) {
        this.#named.delete(name)
        continue
      }
      let entries: Entry[] = []
      for (let at = 0; at < boxed.length && entries.length === 0; at += maxEntriesOfKey) {
        const some = await log.unverifiedMany(boxed.slice(at, at + maxEntriesOfKey))
        entries = some.filter((entry) => membership.counts(entry))
      }
      const artifactSalt = entries[0]?.header.data?.artifactSalt
      if (artifactSalt !== undefined) keys.push({ artifact, artifactSalt, keyId, entries })
    }
    return { epochs, keys }
  }

  #note({ entries, authChanged }: NamespaceChange): void {
    const { membership } = this.#ledger
    if (authChanged) {
      const begun = this.#epochsBegun()
      if (!this.#begun.isSubsetOf(begun)) this.#looked = undefined
      this.#begun = begun
    }
    if (this.#looked === undefined) return
    for (const entry of entries) {
      // What stood beyond a limit that it moves was not told of.
      const movesLimit = entry.auth?.kind === 'adopt' || (entry.auth?.kind === 'revoke' && membership.hasForks)
      if (authChanged && movesLimit) this.#looked = undefined
      this.#take(entry)
    }
  }

  #epochsBegun(): Set<string> {
    return new Set(this.#ledger.membership.epochs.map(({ id }) => bytesText(id)))
  }

  async #look(): Promise<void> {
    if (this.#looked === undefined) {
      // Until anything ended all epochs count, and none was too few to write under.
      const looking = this.#ledger.membership.hasBounds ? this.#lookThrough() : Promise.resolve()
      this.#looked = looking
      looking.catch(() => {
        if (this.#looked === looking) this.#looked = undefined
      })
    }
    await this.#looked
  }

  async #lookThrough(): Promise<void> {
    const { env, keys } = this.#ledger.parts
    let hashes: Uint8Array[] = []
    const flush = async () => {
      for (const entry of await this.#ledger.parts.log.unverifiedMany(hashes)) this.#take(entry)
      hashes = []
    }
    const all = keys.all('artifactKeys')
    for await (const [key, row] of env.store.entries(all)) {
      const rest = key.slice(all.gte.length)
      const [artifact, keyId] = [rest.subarray(0, artifactBytes), rest.subarray(artifactBytes)]
      const { wraps, entries, boxed } = readKeyRow(row, keyId)
      if (wraps.some(({ under }) => this.#ledger.membership.isEpoch(under))) continue
      if (boxed.length > 0) this.#named.set(bytesText(rest), { artifact, keyId })
      if (wraps.length > 0) hashes.push(...entries.slice(0, maxEntriesOfKey))
      if (hashes.length >= batchEntries) await flush()
    }
    const shares = keys.all('shares')
    for await (const [key] of env.store.entries(shares)) {
      hashes.push(key.slice(-32))
      if (hashes.length >= batchEntries) await flush()
    }
    await flush()
  }

  #take(entry: Entry): void {
    const { header, keys } = entry
    if (header.data === undefined || (keys === undefined && header.kind !== 'share')) return
    const named = keysSealedByName(entry)
    for (const keyId of named) {
      const artifact = artifactIdOf(this.#ledger.parts.id, header.data.artifactSalt)
      this.#named.set(bytesText(concatBytes(artifact, keyId)), { artifact, keyId: keyId.slice() })
    }
    const under = (keys?.wraps ?? []).map((wrap) => wrap.under)
    // The body of a share is under an epoch, or under a key that it seals by name itself.
    if (header.kind === 'share' && header.keyId !== undefined && named.length === 0) under.push(header.keyId)
    for (const id of distinct(under)) if (!this.#ledger.membership.isEpoch(id)) this.#takeUse(id, entry)
  }

  #takeUse(id: Uint8Array, entry: Entry): void {
    const name = bytesText(id)
    const known = this.#epochs.get(name) ?? { id: id.slice(), chains: new Map<string, UsesOfChain>() }
    const chain = bytesText(chainOf(entry))
    const use = { seq: entry.header.seq, hash: entry.hash.slice() }
    const uses = known.chains.get(chain)
    if (uses === undefined) {
      const grant = bytesText(entry.header.grant ?? entry.hash)
      const ofGrant = [...this.#epochs.values()].flatMap(({ chains }) => [...chains.values()])
      if (ofGrant.filter((one) => one.grant === grant).length >= maxOfGrant) return
      this.#epochs.set(name, known)
      known.chains.set(chain, { grant, first: use, last: use })
    } else if (use.seq < uses.first.seq) uses.first = use
    else if (use.seq > uses.last.seq) uses.last = use
  }
}

function distinct(values: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(values.map((value) => [bytesText(value), value])).values()]
}
