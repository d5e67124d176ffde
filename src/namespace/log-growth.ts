import { artifactIdOf, bytesText, equalBytes, readUint64 } from '../encoding/index.ts'
import type { Entry, KeyWrap } from '../log/index.ts'
import type { AuthEntry } from '../membership/index.ts'
import type { KeyValueChange, KeyValueStore, Overlay } from '../storage/index.ts'
import type { ArtifactChanges } from './artifact-changes.ts'
import {
  type AdoptBody,
  adoptedChainOf,
  type Chains,
  type Tip,
  tipChange,
  tipOf,
  tipRemoval,
  withPartialTip,
  withTip,
} from './chains.ts'
import type { FollowedArtifacts } from './followed.ts'
import { addKeyRow, wayOf } from './key-rows.ts'
import { keysSealedByName, labelledBoxesKey, labelledBoxesOf } from './labelled-boxes.ts'
import type { MembershipGrowth } from './membership-growth.ts'
import type { OpenedArtifacts } from './opened-artifacts.ts'
import { decodeStored, StoredLog } from './stored-log.ts'
import { type NamespaceKeys, placeOf } from './tables.ts'

/** What a log grows from. */
export interface LogGrowthInit {
  readonly namespace: Uint8Array
  readonly store: KeyValueStore
  readonly keys: NamespaceKeys
  readonly chains: Chains
  readonly partial: FollowedArtifacts | undefined
}

/** A log and the entries that are being added to it: tips, and the rows that follow from the public part of entries. */
export class LogGrowth {
  readonly #init: LogGrowthInit
  readonly #before: StoredLog
  readonly #overlay: Overlay
  readonly #growth: MembershipGrowth
  readonly #artifacts: ArtifactChanges
  readonly #opened: OpenedArtifacts
  /** Chains that grew, as they are with what was stored here. */
  readonly #tips = new Map<string, readonly Tip[]>()
  /** Entries stored here that others stored here follow, of chains of which the recorded tips are not what is held: one of them may be recorded. */
  readonly #passed: Tip[] = []
  /** Entries stored here, by hash. */
  readonly #stored = new Map<string, Entry>()
  readonly #storedByChain = new Map<string, Entry[]>()
  /** Entries stored before that were made whole here, by hash. */
  readonly #whole = new Map<string, Entry>()
  /** Of those stored here, by artifact, shares and those with boxes for capabilities. */
  readonly #sharing = new Map<string, { readonly artifact: Uint8Array; readonly entries: Entry[] }>()

  constructor(
    init: LogGrowthInit,
    overlay: Overlay,
    growth: MembershipGrowth,
    artifacts: ArtifactChanges,
    opened: OpenedArtifacts,
  ) {
    this.#init = init
    this.#before = new StoredLog(init.store, init.keys)
    this.#overlay = overlay
    this.#growth = growth
    this.#artifacts = artifacts
    this.#opened = opened
  }

  /** The tips of chains that grew. */
  get tips(): Iterable<readonly Tip[]> {
    return this.#tips.values()
  }

  /** What records the tips: once for a chain, however many entries of it were stored. Of a partial log they are among the other changes. */
  get tipChanges(): KeyValueChange[] {
    if (this.#init.partial !== undefined) return []
    const { keys, chains } = this.#init
    const changes: KeyValueChange[] = []
    // By hash: what was lost and came again is another object than the tip that is recorded.
    const kept = new Set([...this.#tips.values()].flatMap((tips) => tips.map(({ hash }) => bytesText(hash))))
    for (const after of this.#tips.values()) {
      const before = chains.tipsOf((after[0] as Tip).chain)
      for (const tip of after) if (!before.includes(tip)) changes.push(tipChange(keys, tip))
      for (const tip of before) if (!kept.has(bytesText(tip.hash))) changes.push(tipRemoval(keys, tip))
    }
    for (const tip of this.#passed) if (!kept.has(bytesText(tip.hash))) changes.push(tipRemoval(keys, tip))
    return changes
  }

  /** The tips of a chain with what was stored here, ascending by (seq, hash). */
  tipsOf(chain: Uint8Array): readonly Tip[] {
    return this.#tips.get(bytesText(chain)) ?? this.#init.chains.tipsOf(chain)
  }

  /** Whether an entry of the chain was stored here. */
  hasGrown(chain: Uint8Array): boolean {
    return this.#tips.has(bytesText(chain))
  }

  /** An entry by its hash, stored here or before. @throws CORRUPT */
  async entry(hash: Uint8Array): Promise<Entry | undefined> {
    return this.storedEntry(hash) ?? this.#whole.get(bytesText(hash)) ?? (await this.#before.unverified(hash))
  }

  /** See `Transaction.noteWhole`. */
  noteWhole(entry: Entry): void {
    const name = bytesText(entry.hash)
    const noted = this.#stored.has(name) ? this.#stored : this.#whole
    noted.set(name, entry)
  }

  /** An entry that was stored here. */
  storedEntry(hash: Uint8Array): Entry | undefined {
    return this.#stored.get(bytesText(hash))
  }

  /** All entries stored here. */
  get storedEntries(): readonly Entry[] {
    return [...this.#stored.values()]
  }

  /** Auth entries stored here. */
  get storedAuth(): Iterable<Entry> {
    return this.#stored.values().filter(({ auth }) => auth !== undefined)
  }

  /** Entries of an artifact stored here that are shares, or carry boxes for capabilities. */
  *storedSharing(artifact: Uint8Array): Generator<Entry> {
    yield* this.#sharing.get(bytesText(artifact))?.entries ?? []
  }

  /** Artifacts of which `storedSharing` gives any. */
  get sharedArtifacts(): Iterable<Uint8Array> {
    return this.#sharing.values().map(({ artifact }) => artifact)
  }

  /** Entries of a chain that were stored here. */
  *storedHere(chain: Uint8Array): Generator<Entry> {
    yield* this.#storedByChain.get(bytesText(chain)) ?? []
  }

  /** Entries of a chain that were in the store before, from a seq up, in order of seq. */
  async *storedBefore(chain: Uint8Array, from: number): AsyncGenerator<Entry> {
    for await (const { bytes } of this.#before.ofChain(chain, from)) yield decodeStored(bytes)
  }

  /** Entries of a chain from a seq up and below another, stored here or before: those from before first, in order of seq. */
  async *heldBetween(chain: Uint8Array, from: number, to: number): AsyncGenerator<Entry> {
    if (from >= to) return
    for await (const entry of this.storedBefore(chain, from)) {
      if (entry.header.seq >= to) break
      yield entry
    }
    for (const entry of this.storedHere(chain)) if (entry.header.seq >= from && entry.header.seq < to) yield entry
  }

  /** Where the auth entries of a chain are, of those that were in the store before. */
  async authBefore(chain: Uint8Array): Promise<{ readonly seq: number; readonly hash: Uint8Array }[]> {
    const { store, keys } = this.#init
    const { gte, lt } = keys.all('auth')
    const found = []
    for await (const [key, place] of store.entries({ gte, lt })) {
      if (!equalBytes(place.subarray(0, chain.length), chain)) continue
      found.push({ seq: readUint64(place.subarray(chain.length)), hash: key.slice(gte.length) })
    }
    return found
  }

  /** Stores an entry whose predecessor is stored, and takes in what follows from its public part. */
  async store(entry: Entry, bytes: Uint8Array, chain: Uint8Array): Promise<void> {
    const { keys } = this.#init
    const { seq, previous } = entry.header
    this.#overlay.put(keys.entry(chain, seq, entry.hash), bytes)
    const before = this.tipsOf(chain)
    if (this.#init.partial === undefined) {
      this.#note(entry, chain)
      const after = withTip(before, tipOf(entry, chain), previous)
      this.#tips.set(bytesText(chain), after)
      if (this.#init.chains.isBroken(chain)) this.#passed.push(...before)
      const linkedFrom = after.length > Math.max(1, before.length) ? this.#linkedFrom(entry.header) : undefined
      await this.index(entry, chain, bytes.length)
      if (after.length > 1) await this.#linkBranches(entry, chain, linkedFrom)
      return
    }
    const after = withPartialTip(before, tipOf(entry, chain), await this.#siblingsOf(entry, chain, before))
    this.#note(entry, chain)
    this.#tips.set(bytesText(chain), after)
    for (const tip of before) if (!after.includes(tip)) this.#overlay.add(tipRemoval(keys, tip))
    for (const tip of after) if (!before.includes(tip)) this.#overlay.add(tipChange(keys, tip))
    const forkSeq = (tips: readonly Tip[]) => (tips.length > 1 ? tips[0]?.seq : undefined)
    const linkedFrom = forkSeq(after) === forkSeq(before) ? undefined : this.#linkedFrom(entry.header)
    await this.index(entry, chain, bytes.length)
    if (after.length > 1) await this.#linkBranches(entry, chain, linkedFrom, forkSeq(after))
  }

  #note(entry: Entry, chain: Uint8Array): void {
    this.#stored.set(bytesText(entry.hash), entry)
    const ofChain = this.#storedByChain.get(bytesText(chain))
    if (ofChain === undefined) this.#storedByChain.set(bytesText(chain), [entry])
    else ofChain.push(entry)
  }

  /** Takes in what follows from an entry's public part, which is, or is about to be, in the store. */
  async index(entry: Entry, chain: Uint8Array, entryBytes: number): Promise<void> {
    const { keys } = this.#init
    const { data, seq } = entry.header
    const place = placeOf(chain, seq)
    this.#artifacts.accounts.addEntry(entryBytes)
    this.#overlay.put(keys.key('places', entry.hash), place)
    if (entry.auth !== undefined) {
      this.#overlay.put(keys.key('auth', entry.hash), place)
      const adopt = entry.auth.kind === 'adopt' ? entry.auth : undefined
      const linkedFrom = adopt && this.#linkedFrom({ ...adopt, author: adopt.agent })
      this.#growth.addAuth(entry as AuthEntry)
      if (adopt !== undefined) await this.#linkAdopted(adopt, linkedFrom)
    }
    this.#growth.addLinkIfNeeded(entry)
    if (data === undefined) return
    await this.indexKeys(entry)
    if (data.jti !== undefined) {
      const artifact = artifactIdOf(this.#init.namespace, data.artifactSalt)
      this.#overlay.put(keys.key('shares', artifact, data.jti, entry.hash), place)
    }
    if (entry.leaf !== undefined && data.root !== undefined) {
      this.#overlay.put(keys.key('inlineLeaves', data.root.digest, entry.hash), place)
    }
  }

  /** Notes where keys of its artifact are found in a data entry. */
  async indexKeys(entry: Entry): Promise<void> {
    const { data } = entry.header
    if (data === undefined) return
    const { keys, namespace } = this.#init
    const artifact = artifactIdOf(namespace, data.artifactSalt)
    this.#opened.note(artifact, entry)
    if (data.jti !== undefined || entry.keys?.boxes.some(({ label }) => label !== undefined) === true) {
      const sharing = this.#sharing.get(bytesText(artifact)) ?? { artifact, entries: [] }
      sharing.entries.push(entry)
      this.#sharing.set(bytesText(artifact), sharing)
    }
    const wayKey = (keyId: Uint8Array) => keys.key('artifactKeys', artifact, keyId)
    for (const wrap of entry.keys?.wraps ?? []) await this.#addWay(artifact, wayKey(wrap.keyId), wrap, entry)
    for (const keyId of keysSealedByName(entry)) await this.#addWay(artifact, wayKey(keyId), undefined, entry)
    for (const { keyId, label } of labelledBoxesOf(entry)) {
      await this.#addWay(artifact, labelledBoxesKey(keys, artifact, keyId, label), undefined, entry)
    }
  }

  /** Other entries at the number of one that is about to be stored, in a chain that may lack any. */
  async #siblingsOf({ header: { seq } }: Entry, chain: Uint8Array, tips: readonly Tip[]): Promise<Tip[]> {
    const siblings: Tip[] = []
    if (tips.every((tip) => tip.seq < seq)) return siblings
    for await (const { bytes } of this.#before.at(chain, seq)) siblings.push(tipOf(decodeStored(bytes), chain))
    for (const held of this.storedHere(chain)) if (held.header.seq === seq) siblings.push(tipOf(held, chain))
    return siblings
  }

  async #linkAdopted(adopt: AdoptBody, linkedFrom: number | undefined): Promise<void> {
    const held = await this.entry(adopt.hash)
    if (held !== undefined) this.#growth.addLink(held)
    // Whoever lacks it, or what is before it, tells branches apart by what else stands there.
    if (this.#init.partial !== undefined) await this.#linkBetween(adoptedChainOf(adopt), adopt.seq, linkedFrom)
  }

  /** From which number up all that is held of a chain was given to the membership. */
  #linkedFrom({ author, grant, incarnation }: Pick<Entry['header'], 'author' | 'grant' | 'incarnation'>): number {
    return grant === undefined ? 0 : this.#growth.membership.linkedFrom({ author, grant, incarnation })
  }

  async #linkBetween(chain: Uint8Array, from: number, to = Number.POSITIVE_INFINITY): Promise<void> {
    for await (const held of this.heldBetween(chain, from, to)) this.#growth.addLink(held)
  }

  /**
   * Gives the membership what it needs to tell branches apart: nothing of the owner's chains, of which all count.
   *
   * @param linkedFrom from where up it has been given that; `undefined` when no branch began
   */
  async #linkBranches(
    entry: Entry,
    chain: Uint8Array,
    linkedFrom: number | undefined,
    seq = entry.header.seq,
  ): Promise<void> {
    if (entry.header.grant === undefined || equalBytes(entry.header.grant, this.#init.namespace)) return
    if (entry.header.seq >= seq) this.#growth.addLink(entry)
    if (linkedFrom !== undefined) await this.#linkBetween(chain, seq, linkedFrom)
  }

  async #addWay(
    artifact: Uint8Array,
    key: Uint8Array,
    wrap: KeyWrap | undefined,
    { header, hash }: Entry,
  ): Promise<void> {
    const before = await this.#overlay.get(key, this.#artifacts.isDrawn(artifact))
    const after = addKeyRow(before, wayOf(header.grant ?? hash, hash, wrap))
    if (after !== undefined) this.#overlay.put(key, after)
  }
}
