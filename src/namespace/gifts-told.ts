import { artifactIdOf, bytesText, equalBytes } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { maxLabelledBoxesInPut } from '../limits.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { Tip } from './chains.ts'
import { boxCountsOf, type Gift, type GivenBoxes, type GivenShare, giftsOf } from './gifts.ts'
import { readKeyRow } from './key-rows.ts'
import { labelledBoxesKey } from './labelled-boxes.ts'
import type { Ledger } from './ledger.ts'
import type { NamespaceParts } from './parts.ts'
import { type SecretReader, storedSecrets } from './secrets.ts'
import { openShared, type Share, type SharedBytes } from './share-book.ts'
import { isShownBy } from './shown.ts'
import { readStored } from './stored-log.ts'
import type { Transaction } from './transaction.ts'

/** An entry of this agent, and whether others are told of what it gave. */
export interface Looked {
  readonly entry: Entry
  /** What no entry that others are told of says. */
  readonly lost: readonly Gift[]
  /** Entries that tell others of the rest. */
  readonly tellers: readonly Entry[]
  /** Whether it gave a share of which nobody is told and that cannot be read here. */
  readonly isUnread: boolean
}

/** A gift that is not all found in entries that others are told of. */
interface Lack {
  readonly gift: Gift
  /** How many boxes are in no such entry; of a share 1. */
  missing: number
  /** Whether there may be more such entries than were found: no room is kept for them. */
  readonly isFull: boolean
}

interface Teller {
  readonly entry: Entry
  /** By the name of the gift. */
  readonly boxes: ReadonlyMap<string, number>
}

/** Of which of this agent's gifts others are told at one moment: by what is stored, or with what a transaction adds. */
export class GiftsTold {
  readonly #parts: NamespaceParts
  readonly #membership: Membership
  readonly #grant: Uint8Array
  readonly #reader: SecretReader
  readonly #tx: Transaction | undefined
  /** Those in the store, as text. */
  readonly #ownChains: ReadonlySet<string>
  /** Entries that were read: `undefined` where others are not told of one. */
  readonly #shown = new Map<string, Teller | undefined>()

  private constructor(
    { parts, chains }: Ledger,
    { membership, grant, tx }: { membership: Membership; grant: Uint8Array; tx?: Transaction },
  ) {
    this.#parts = parts
    const agent = parts.env.agent.publicKey
    const own = [...chains.all()].filter(({ author }) => equalBytes(author, agent))
    this.#ownChains = new Set(own.map(({ chain }) => bytesText(chain)))
    this.#membership = membership
    this.#grant = grant
    this.#reader = tx ?? storedSecrets(parts)
    this.#tx = tx
  }

  /** @param grant that this agent writes under */
  static stored(ledger: Ledger, grant: Uint8Array): GiftsTold {
    return new GiftsTold(ledger, { membership: ledger.membership, grant })
  }

  /** With what was stored in a transaction so far. @throws ACCESS_DENIED when this agent may not write */
  static within(ledger: Ledger, tx: Transaction): GiftsTold {
    return new GiftsTold(ledger, { membership: tx.membership, grant: tx.nextPlace.grant, tx })
  }

  /**
   * Looks at entries of this agent.
   *
   * @param own tips of this agent's chains, which are looked through where the row of a label has no room for more
   */
  async look(entries: readonly Entry[], own: readonly Tip[]): Promise<Looked[]> {
    const found = []
    for (const entry of entries) found.push(await this.#lookAt(entry))
    await this.#findAmong(
      own,
      found.flatMap(({ lacks, tellers }) => lacks.map((lack) => ({ lack, tellers }))),
    )
    return found.map(({ lacks, ...looked }) => ({
      ...looked,
      lost: lacks.filter(({ missing }) => missing > 0).map(({ gift }) => gift),
    }))
  }

  /** How many of a gift's boxes others are not told of, without looking through any chain; of a share 1 if they are not. */
  async missing(entry: Entry, gift: Gift): Promise<number> {
    return (await this.#lackOf(entry, gift, [])).missing
  }

  /** The share that an entry gives; `undefined` when it cannot be read here, or is none under the grant that this agent writes under. */
  async shareIn(entry: Entry): Promise<{ readonly share: Share; readonly shared: SharedBytes } | undefined> {
    const share = this.#isUnderGrant(entry) ? await this.#parts.shares.read(entry, this.#reader) : undefined
    const shared = share && (await openShared(entry, this.#reader))
    return shared && { share, shared }
  }

  async #lookAt(entry: Entry) {
    const tellers: Entry[] = []
    const lacks: Lack[] = []
    let isUnread = false
    for (const gift of giftsOf(entry)) {
      // Under another grant the capability says something else.
      if (gift.kind === 'share' && !this.#isUnderGrant(entry)) continue
      const lack = await this.#lackOf(entry, gift, tellers)
      if (lack.missing <= 0) continue
      if (gift.kind === 'share' && (await this.shareIn(entry)) === undefined) isUnread = true
      else lacks.push(lack)
    }
    return { entry, lacks, tellers, isUnread }
  }

  async #lackOf(entry: Entry, gift: Gift, tellers: Entry[]): Promise<Lack> {
    const artifact = artifactIdOf(this.#parts.id, entry.header.data?.artifactSalt as Uint8Array)
    if (gift.kind === 'boxes') return await this.#lackOfBoxes(artifact, entry, gift, tellers)
    const teller = await this.#tellerOfShare(artifact, gift)
    if (teller !== undefined) tellers.push(teller)
    return { gift, missing: teller === undefined ? 1 : 0, isFull: false }
  }

  async #tellerOfShare(artifact: Uint8Array, { jti }: GivenShare): Promise<Entry | undefined> {
    const added = [...(this.#tx?.storedSharing(artifact) ?? [])].filter(({ header: { data } }) => {
      return data?.jti !== undefined && equalBytes(data.jti, jti)
    })
    // Anybody who may write can give any number of entries that name.
    const stored = await this.#parts.shares.entriesOf(artifact, jti, this.#ownChains)
    for (const hash of [...stored, ...added.map((one) => one.hash)]) {
      const entry = (await this.#shownEntry(hash))?.entry
      const isOwn = entry !== undefined && equalBytes(entry.header.author, this.#parts.env.agent.publicKey)
      if (isOwn && this.#isUnderGrant(entry)) return entry
    }
    return undefined
  }

  async #lackOfBoxes(artifact: Uint8Array, entry: Entry, gift: GivenBoxes, tellers: Entry[]): Promise<Lack> {
    const [{ keyId, label }] = gift.boxes as [GivenBoxes['boxes'][number]]
    const row = await this.#reader.get(labelledBoxesKey(this.#parts.keys, artifact, keyId, label))
    const { boxed, isFull } = readKeyRow(row, keyId)
    const lack = { gift, missing: gift.boxes.length + (await this.#boxesBefore(entry, gift)), isFull }
    for (const hash of boxed) {
      const one = lack.missing > 0 ? await this.#shownEntry(hash) : undefined
      if (one === undefined) continue
      tellers.push(one.entry)
      lack.missing -= one.boxes.get(gift.name) ?? 0
    }
    return lack
  }

  /**
   * How many boxes that are called the same the entry before ends with, if it had no room for more: they were written together, and who is told of the first
   * is not told of all.
   */
  async #boxesBefore(entry: Entry, { name }: GivenBoxes): Promise<number> {
    const { kind, previous } = entry.header
    if (kind !== 'keys' || previous === undefined || giftsOf(entry)[0]?.name !== name) return 0
    const before = await this.#readable(previous)
    if (before === undefined || (before.keys?.boxes.length ?? 0) < maxLabelledBoxesInPut) return 0
    const last = giftsOf(before).at(-1)
    return last?.kind === 'boxes' && last.name === name ? last.boxes.length : 0
  }

  /** Takes off what is lacking what is in entries of those chains of which rows have no room. */
  async #findAmong(
    own: readonly Tip[],
    lacks: readonly { readonly lack: Lack; readonly tellers: Entry[] }[],
  ): Promise<void> {
    const full = Map.groupBy(
      lacks.filter(({ lack }) => lack.isFull),
      ({ lack }) => lack.gift.name,
    )
    if (full.size === 0) return
    for (const tip of own) {
      const shown = this.#membership.shownOf(tip)
      for await (const { bytes } of this.#parts.log.ofChain(tip.chain, 0)) {
        const entry = readStored(bytes)
        if (entry === undefined || !isShownBy(this.#membership, entry, shown)) continue
        for (const [name, boxes] of boxCountsOf(entry)) {
          for (const { lack, tellers } of full.get(name) ?? []) {
            if (lack.missing <= 0 || tellers.some(({ hash }) => equalBytes(hash, entry.hash))) continue
            tellers.push(entry)
            lack.missing -= boxes
          }
        }
      }
    }
  }

  #isUnderGrant({ header: { grant } }: Entry): boolean {
    return grant !== undefined && equalBytes(grant, this.#grant)
  }

  async #shownEntry(hash: Uint8Array): Promise<Teller | undefined> {
    const name = bytesText(hash)
    if (this.#shown.has(name)) return this.#shown.get(name)
    const entry = await this.#readable(hash)
    const isShown = entry !== undefined && isShownBy(this.#membership, entry)
    const shown = isShown ? { entry, boxes: boxCountsOf(entry) } : undefined
    this.#shown.set(name, shown)
    return shown
  }

  /** What is damaged tells nobody anything. */
  async #readable(hash: Uint8Array): Promise<Entry | undefined> {
    try {
      return await this.#reader.entry(hash)
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
      return undefined
    }
  }
}
