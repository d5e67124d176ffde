import { type Audience, timeOf } from '../capability/index.ts'
import { bytesText, concatBytes, equalBytes } from '../encoding/index.ts'
import { isUsablePublicKey } from '../identity/index.ts'
import type { BoxLabel } from '../log/index.ts'
import type { EntrySeat, GroupDescriptor, Membership } from '../membership/index.ts'
import { labelledBoxesOf, labelsInStore, type UsedLabel } from './labelled-boxes.ts'
import type { OpenBox } from './open-boxes.ts'
import type { NamespaceParts } from './parts.ts'
import { type SecretReader, storedSecrets } from './secrets.ts'
import type { Share } from './share-book.ts'
import type { Transaction } from './transaction.ts'

/** Whom a key is sealed to for a share, and what that box is labelled with. */
export interface ShareRecipient {
  /** Raw Ed25519 public key of the agent, or of the group's epoch. */
  readonly publicKey: Uint8Array
  readonly label: BoxLabel
}

/** Why a capability gives nothing. */
export type Refusal = 'EXPIRED' | 'NOT_YET_VALID' | 'REVOKED' | 'ISSUER_REMOVED'

/** What is known of the shares of a namespace at one moment: of what is stored, or with what a transaction adds. */
export class SharingView {
  readonly membership: Membership
  readonly secrets: SecretReader
  readonly nowMs: number
  readonly #parts: NamespaceParts
  readonly #tx: Transaction | undefined
  /** By the hash of an entry; `undefined` of one that is not here. */
  readonly #seats = new Map<string, EntrySeat | undefined>()
  /** By chain, what its entries have in common. */
  readonly #chains = new Map<string, Omit<EntrySeat['header'], 'kind' | 'seq'>>()
  readonly #counting = new Map<EntrySeat, boolean>()

  private constructor(parts: NamespaceParts, membership: Membership, tx: Transaction | undefined) {
    this.membership = membership
    this.nowMs = parts.env.clock.nowMs
    this.#parts = parts
    this.#tx = tx
    this.secrets = tx ?? storedSecrets(parts)
  }

  static stored(parts: NamespaceParts, membership: Membership): SharingView {
    return new SharingView(parts, membership, undefined)
  }

  /** With what was stored in a transaction so far. */
  static within(parts: NamespaceParts, tx: Transaction): SharingView {
    return new SharingView(parts, tx.membership, tx)
  }

  /** Every share of an artifact that can be read here, in force or not, each entry once. */
  async sharesOf(artifact: Uint8Array): Promise<Share[]> {
    const shares = await this.#parts.shares.of(artifact)
    for (const entry of this.#tx?.storedSharing(artifact) ?? []) {
      const share = await this.#parts.shares.read(entry, this.secrets)
      if (share !== undefined && !shares.some(({ entry: known }) => equalBytes(known, share.entry))) shares.push(share)
    }
    return shares
  }

  /** Shares of an artifact that let their audience read what is written now. */
  async sharesInForce(artifact: Uint8Array): Promise<Share[]> {
    return (await this.sharesOf(artifact)).filter((share) => this.isInForce(share))
  }

  /** What labelled boxes of an artifact key there are, by whomever, each label once. With `jtis` those of these names, each of which is looked for. */
  async labelsOf(artifact: Uint8Array, keyId: Uint8Array, jtis?: readonly Uint8Array[]): Promise<UsedLabel[]> {
    const { env, keys } = this.#parts
    const labels: UsedLabel[] = []
    for (const jti of jtis ?? [undefined]) {
      for await (const label of labelsInStore(env.store, keys, artifact, keyId, jti)) labels.push(label)
    }
    for (const entry of this.#tx?.storedSharing(artifact) ?? []) {
      for (const { keyId: boxed, label } of labelledBoxesOf(entry)) {
        if (equalBytes(boxed, keyId)) labels.push({ ...label, entries: [entry.hash] })
      }
    }
    return labels
  }

  /** One of the entries that counts; `undefined` without: what whoever may not write any more says is in its boxes need not be there. */
  async countingOf(hashes: readonly Uint8Array[]): Promise<EntrySeat | undefined> {
    for (const hash of hashes) {
      const name = bytesText(hash)
      if (!this.#seats.has(name)) {
        const entry = await this.secrets.entry(hash)
        this.#seats.set(name, entry && this.#seatOf(entry))
      }
      const seat = this.#seats.get(name)
      if (seat !== undefined && this.#counts(seat)) return seat
    }
    return undefined
  }

  /** Whether a box that was once seen to be there still opens for whom it is for. */
  isOpen({ seat, group, epoch }: OpenBox): boolean {
    return this.#counts(seat) && (group === undefined || this.epochsOf(group).has(epoch))
  }

  /** Copies, for what was read keeps the whole entry. */
  #seatOf({ hash, header: { namespace, kind, author, grant, incarnation, seq } }: EntrySeat): EntrySeat {
    const name = bytesText(concatBytes(author, grant ?? hash, incarnation))
    let chain = this.#chains.get(name)
    if (chain === undefined) {
      const own = { author: author.slice(), incarnation: incarnation.slice() }
      chain = { namespace: namespace?.slice(), grant: grant?.slice(), ...own }
      this.#chains.set(name, chain)
    }
    return { hash: hash.slice(), header: { ...chain, kind, seq } }
  }

  #counts(seat: EntrySeat): boolean {
    let counts = this.#counting.get(seat)
    if (counts === undefined) {
      counts = this.membership.counts(seat)
      this.#counting.set(seat, counts)
    }
    return counts
  }

  /**
   * Why a share gives nothing now; `undefined` when it is in force. One whose time has not come by this node's clock is, for its
   * issuer's may be ahead: providers look at the time themselves.
   */
  refusalOf({ claims }: Pick<Share, 'claims'>): Exclude<Refusal, 'NOT_YET_VALID'> | undefined {
    return this.membership.refusalOf(claims) ?? (timeOf(claims, this.nowMs) === 'expired' ? 'EXPIRED' : undefined)
  }

  isInForce(share: Pick<Share, 'claims'>): boolean {
    return this.refusalOf(share) === undefined
  }

  /** Whom keys are sealed to for a share: agents, and groups by the newest epoch that was recorded of them. */
  recipientsOf({ claims: { jti, audience } }: Pick<Share, 'claims'>): ShareRecipient[] {
    return audience.flatMap((one): ShareRecipient[] => {
      if (one.kind === 'agent')
        return isUsablePublicKey(one.id) ? [{ publicKey: one.id, label: { jti, epoch: undefined } }] : []
      const group = this.groupOf(one.id)
      return group === undefined ? [] : [{ publicKey: group.publicKey, label: { jti, epoch: group.epoch } }]
    })
  }

  /** Whether a box with that label was sealed to nobody who should not know what is written next. */
  isCurrent(label: BoxLabel, share: Share): boolean {
    if (!this.isInForce(share)) return false
    if (label.epoch === undefined) return true
    const groups = share.claims.audience.filter(({ kind }: Audience) => kind === 'group')
    return groups.some(({ id }) => equalBytes(this.groupOf(id)?.epoch ?? noBytes, label.epoch ?? noBytes))
  }

  /** Epochs (ids in hex) of a group by which its members open what is sealed to them: not one that a removed admin began, which nobody else of the group need know of. */
  epochsOf(group: Uint8Array): ReadonlySet<string> {
    return this.membership.groups.recordedOf(group).epochs
  }

  /** The newest epoch of a group that was recorded. */
  groupOf(group: Uint8Array): GroupDescriptor | undefined {
    return this.membership.groups.recordedOf(group).newest
  }
}

const noBytes = new Uint8Array(0)
