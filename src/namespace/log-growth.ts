import { artifactIdOf, bytesText, equalBytes, readUint64 } from '../encoding/index.ts'
import type { Entry, KeyWrap } from '../log/index.ts'
import type { AuthEntry } from '../membership/index.ts'
import type { KeyValueStore, Overlay } from '../storage/index.ts'
import type { ArtifactChanges } from './artifact-changes.ts'
import {
  type AdoptBody,
  adoptedChainOf,
  type Chains,
  chainOf,
  type Tip,
  tipChange,
  tipKey,
  tipOf,
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
  /** Entries stored here, by hash. */
  readonly #stored = new Map<string, Entry>()
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
    this.#whole.set(bytesText(entry.hash), entry)
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
    if (!this.hasGrown(chain)) return
    for (const entry of this.#stored.values()) if (equalBytes(chainOf(entry), chain)) yield entry
  }

  /** Entries of a chain that were in the store before, from a seq up, in order of seq. */
  async *storedBefore(chain: Uint8Array, from: number): AsyncGenerator<Entry> {
    for await (const { bytes } of this.#before.ofChain(chain, from)) yield decodeStored(bytes)
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
      this.#stored.set(bytesText(entry.hash), entry)
      const after = withTip(before, tipOf(entry, chain), previous)
      this.#tips.set(bytesText(chain), after)
      this.#overlay.add(tipChange(keys, tipOf(entry, chain)))
      if (after.length === before.length && previous !== undefined) this.#overlay.del(tipKey(keys, chain, previous))
      await this.index(entry, chain, bytes.length)
      if (after.length > 1) await this.#linkBranches(entry, chain, after.length > before.length)
      return
    }
    const after = withPartialTip(before, tipOf(entry, chain), await this.#siblingsOf(entry, chain, before))
    this.#stored.set(bytesText(entry.hash), entry)
    this.#tips.set(bytesText(chain), after)
    for (const tip of before) if (!after.includes(tip)) this.#overlay.del(tipKey(keys, chain, tip.hash))
    for (const tip of after) if (!before.includes(tip)) this.#overlay.add(tipChange(keys, tip))
    await this.index(entry, chain, bytes.length)
    const forkSeq = (tips: readonly Tip[]) => (tips.length > 1 ? tips[0]?.seq : undefined)
    if (after.length > 1) await this.#linkBranches(entry, chain, forkSeq(after) !== forkSeq(before), forkSeq(after))
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
      this.#growth.addAuth(entry as AuthEntry)
      if (entry.auth.kind === 'adopt') await this.#linkAdopted(entry.auth)
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

  async #linkAdopted(adopt: AdoptBody): Promise<void> {
    const held = await this.entry(adopt.hash)
    if (held !== undefined) this.#growth.addLink(held)
    // Whoever lacks it, or what is before it, tells branches apart by what else stands there.
    if (this.#init.partial !== undefined) await this.#linkFrom(adoptedChainOf(adopt), adopt.seq)
  }

  async #linkFrom(chain: Uint8Array, seq: number): Promise<void> {
    for await (const held of this.storedBefore(chain, seq)) this.#growth.addLink(held)
    for (const held of this.storedHere(chain)) if (held.header.seq >= seq) this.#growth.addLink(held)
  }

  /** Gives the membership what it needs to tell branches apart: nothing of the owner's chains, of which all count. */
  async #linkBranches(entry: Entry, chain: Uint8Array, isNewFork: boolean, seq = entry.header.seq): Promise<void> {
    if (entry.header.grant === undefined || equalBytes(entry.header.grant, this.#init.namespace)) return
    if (entry.header.seq >= seq) this.#growth.addLink(entry)
    if (isNewFork) await this.#linkFrom(chain, seq)
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
