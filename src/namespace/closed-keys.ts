import { artifactIdOf, bytesText, concatBytes } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { Keyring } from '../sharing/index.ts'
import { ClosedUses } from './closed-uses.ts'
import { type KeyWays, readKeyRow } from './key-rows.ts'
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
  /** Of each chain that has any, the first and the last entry that counts and has boxes of it. */
  readonly entries: readonly Entry[]
}

/** Keys that something is under which counts, and by which not every member comes. */
export interface Closed {
  readonly epochs: readonly ClosedEpoch[]
  readonly keys: readonly NamedKey[]
}

/** Keys that are kept in mind of what is written under one grant: epochs that are none, and keys that are sealed by name. */
const maxEpochsOfGrant = 64
const maxNamedOfGrant = 512
const artifactBytes = 20
const batchEntries = 256
/** Uses that are gathered before their entries are read, each once: one entry can seal or wrap 128 keys. Some 200 bytes each. */
const usesAtOnce = 65_536

/**
 * Whether an epoch comes to every member: it is one of those that count, or wrapped under one, by a wrap that opens. Anyone who may write can say that there is one, and
 * an admin can begin an epoch that it gives to nobody; so it is believed by those only who hold no epoch at all.
 */
export function isGiven(membership: Membership, keyring: Keyring, id: Uint8Array): boolean {
  if (membership.isEpoch(id)) return true
  const above = membership.epochsAbove(id)
  return keyring.size === 0 ? above.length > 0 : above.some((under) => keyring.isWrapped(id, under))
}

/**
 * Finds keys that are closed to members who should have them: under epochs that do not count, for they were begun by an admin who had been removed, and used by who had not
 * heard of it; or sealed by name. Looks through all keys once, where there may be any, and again when what counts may have changed; from then on at what comes.
 */
export class ClosedKeys {
  readonly #ledger: Ledger
  readonly #epochs = new ClosedUses<Uint8Array>(maxEpochsOfGrant)
  readonly #named = new ClosedUses<Pick<NamedKey, 'artifact' | 'keyId'>>(maxNamedOfGrant)
  /** Epochs that counted after the last change. */
  #begun: ReadonlySet<string> = new Set()
  #hadBounds = false
  #hasNew = false
  /** Settles when all that was stored by then was looked at; `undefined` when it is to be. */
  #looked: Promise<void> | undefined

  constructor(ledger: Ledger) {
    this.#ledger = ledger
    // Who follows single artifacts gives nothing.
    if (ledger.parts.partial !== undefined) return
    this.#begun = this.#epochsBegun()
    ledger.subscribe((change) => this.#note(change))
  }

  /** Whether something has come since `owed` that may be closed. */
  get hasNew(): boolean {
    return this.#hasNew
  }

  /** What is closed now. @throws what the store throws */
  async owed(): Promise<Closed> {
    const closed = await this.#closedNow()
    if (!this.#epochs.isToBeMadeAnew && !this.#named.isToBeMadeAnew) return closed
    this.#looked = undefined
    return await this.#closedNow()
  }

  async #closedNow(): Promise<Closed> {
    await this.#look()
    this.#hasNew = false
    return { epochs: await this.#closedEpochs(), keys: await this.#closedByName() }
  }

  async #closedEpochs(): Promise<ClosedEpoch[]> {
    const { membership, parts } = this.#ledger
    const epochs: ClosedEpoch[] = []
    for (const { name, key: id, hashes } of this.#epochs.all()) {
      if (membership.isEpoch(id)) this.#epochs.delete(name)
      const isDone = isGiven(membership, parts.keyring, id)
      this.#epochs.setDone(name, isDone)
      if (isDone) continue
      const entries = await this.#counting(hashes)
      if (entries.length > 0) epochs.push({ id, entries })
    }
    return epochs
  }

  async #closedByName(): Promise<NamedKey[]> {
    const { env, keys: tables } = this.#ledger.parts
    const all = [...this.#named.all()]
    const closed: NamedKey[] = []
    for (let at = 0; at < all.length; at += batchEntries) {
      const some = all.slice(at, at + batchEntries)
      const rows = await env.store.getMany(
        some.map(({ key: { artifact, keyId } }) => tables.key('artifactKeys', artifact, keyId)),
      )
      const left = some.filter(({ name, key: { artifact, keyId } }, index) => {
        const isOpen = this.#isOpen(artifact, readKeyRow(rows[index], keyId))
        if (isOpen) this.#named.delete(name)
        return !isOpen
      })
      const counting = await this.#counting(left.flatMap(({ hashes }) => hashes))
      const byHash = new Map(counting.map((entry) => [bytesText(entry.hash), entry]))
      for (const { key, hashes } of left) {
        const entries = distinct(hashes).flatMap((hash) => byHash.get(bytesText(hash)) ?? [])
        const artifactSalt = entries[0]?.header.data?.artifactSalt
        if (artifactSalt !== undefined) closed.push({ ...key, artifactSalt, entries })
      }
    }
    return closed
  }

  async #counting(hashes: readonly Uint8Array[]): Promise<Entry[]> {
    const { membership, parts } = this.#ledger
    return (await parts.log.readableMany(distinct(hashes))).filter((entry) => membership.counts(entry))
  }

  /** Whether every member comes by a key by one of its wraps. As for `isGiven`, who holds no epoch believes it. */
  #isOpen(artifact: Uint8Array, { wraps }: KeyWays): boolean {
    const { membership, parts } = this.#ledger
    const { keyring } = parts
    return wraps.some(
      (wrap) => isGiven(membership, keyring, wrap.under) && (keyring.size === 0 || keyring.opens(artifact, wrap)),
    )
  }

  #note({ entries, authChanged }: NamespaceChange): void {
    const { membership } = this.#ledger
    if (authChanged) {
      const begun = this.#epochsBegun()
      const { hasBounds } = membership
      if (!this.#begun.isSubsetOf(begun) || this.#hadBounds !== hasBounds) this.#looked = undefined
      this.#begun = begun
      this.#hadBounds = hasBounds
    }
    if (this.#looked === undefined) return
    for (const entry of entries) {
      // What stood beyond a limit that it moves was not told of.
      if (authChanged && (entry.auth?.kind === 'adopt' || entry.auth?.kind === 'revoke')) this.#looked = undefined
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
    this.#epochs.clear()
    this.#named.clear()
    const { env, keys, log } = this.#ledger.parts
    const hashes = new Map<string, Uint8Array>()
    let uses = 0
    // What else one of the entries seals by name may be open.
    const named = new Set<string>()
    const flush = async (atLeast: number) => {
      if (uses < atLeast) return
      const found = [...hashes.values()]
      for (let at = 0; at < found.length; at += batchEntries) {
        for (const entry of await log.readableMany(found.slice(at, at + batchEntries))) this.#take(entry, named)
      }
      hashes.clear()
      named.clear()
      uses = 0
    }
    const add = (hash: Uint8Array) => {
      hashes.set(bytesText(hash), hash)
      uses += 1
    }
    const all = keys.all('artifactKeys')
    for await (const [key, row] of env.store.entries(all)) {
      const rest = key.slice(all.gte.length)
      const [artifact, keyId] = [rest.subarray(0, artifactBytes), rest.subarray(artifactBytes)]
      const ways = readKeyRow(row, keyId)
      if (ways.boxed.length > 0 && !this.#isOpen(artifact, ways)) {
        named.add(bytesText(rest))
        for (const hash of ways.boxed) add(hash)
      }
      for (const { under, entry } of ways.wraps) if (!this.#ledger.membership.isEpoch(under)) add(entry)
      await flush(usesAtOnce)
    }
    const shares = keys.all('shares')
    for await (const [key] of env.store.entries(shares)) {
      add(key.slice(-32))
      await flush(usesAtOnce)
    }
    await flush(0)
  }

  /** @param only names of what it may take of keys that are sealed by name; absent: all */
  #take(entry: Entry, only?: ReadonlySet<string>): void {
    const { header, keys } = entry
    const { membership, parts } = this.#ledger
    if (header.data === undefined || (keys === undefined && header.kind !== 'share')) return
    const named = keysSealedByName(entry)
    for (const keyId of named) {
      const artifact = artifactIdOf(parts.id, header.data.artifactSalt)
      const name = bytesText(concatBytes(artifact, keyId))
      if (only?.has(name) === false) continue
      this.#named.take(name, { artifact, keyId: keyId.slice() }, false, entry)
      this.#hasNew = true
    }
    const under = (keys?.wraps ?? []).map((wrap) => wrap.under)
    // The body of a share is under an epoch, or under a key that it seals by name itself.
    if (header.kind === 'share' && header.keyId !== undefined && named.length === 0) under.push(header.keyId)
    for (const id of distinct(under)) {
      if (membership.isEpoch(id)) continue
      const isDone = isGiven(membership, parts.keyring, id)
      this.#epochs.take(bytesText(id), id.slice(), isDone, entry)
      if (!isDone) this.#hasNew = true
    }
  }
}

function distinct(values: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(values.map((value) => [bytesText(value), value])).values()]
}
