import type { Capability, LinkClaims } from '../capability/index.ts'
import { writeRevokeCapabilities } from './capability-writes.ts'
import type { KnownDescriptors } from './group-descriptor.ts'
import type { Ledger } from './ledger.ts'
import { OwnShares, type SharesGiven } from './own-shares.ts'
import { storedSecrets } from './secrets.ts'
import { openShared, type Share } from './share-book.ts'
import {
  type ShareOptions,
  type UnshareOptions,
  writeFollowingLink,
  writeShares,
  writeUnshare,
} from './share-writes.ts'
import { type Refusal, SharingView } from './sharing-view.ts'

interface SignalOption {
  readonly signal?: AbortSignal | undefined
}

/** What is given of a namespace's artifacts to whoever is no member: this agent gives and takes it back, and every member can list it. */
export class NamespaceSharing {
  readonly #ledger: Ledger
  readonly #descriptors: KnownDescriptors
  readonly #own: OwnShares

  constructor(ledger: Ledger, descriptors: KnownDescriptors) {
    this.#ledger = ledger
    this.#descriptors = descriptors
    this.#own = new OwnShares(ledger)
  }

  /**
   * Shares an artifact: each of the audience gets a capability of its own, so that taking it from one touches no other, and the keys of
   * its live versions. Who has the same already, from this agent, without an end and from the first version on, is given nothing anew
   * unless there is a message. Several thousand are written in batches of 200: what is durable stays if a later one fails.
   *
   * @throws NOT_FOUND; ACCESS_DENIED below writer; UNAVAILABLE for a group of which no descriptor is recorded; INVALID_ARGUMENT, TOO_LARGE
   */
  async share(options: ShareOptions): Promise<Share[]> {
    await this.#descriptors.writeDown()
    return await writeShares(this.#ledger, options)
  }

  /**
   * Ends every share of an artifact with those of the audience, whoever shared it. What they have they keep; the next version is written under
   * a key that they do not have.
   *
   * @throws NOT_FOUND when it is shared with none of them; ACCESS_DENIED when any of those shares is not for this agent to end
   */
  async unshare(options: UnshareOptions): Promise<Share[]> {
    return await writeUnshare(this.#ledger, options)
  }

  /** Records a link of this agent's that follows its artifact, so that its audience gets the keys of what comes. @throws as `share` */
  async recordLink(capability: Capability<LinkClaims>): Promise<Share> {
    return await writeFollowingLink(this.#ledger, capability)
  }

  /**
   * Ends capabilities by their `jti` (16 bytes). It has effect on those that this agent issued, and on those that were issued under a lower
   * role than its own; of others it says nothing. @throws ACCESS_DENIED when this agent may not write
   */
  async revokeCapabilities(jtis: readonly Uint8Array[]): Promise<void> {
    await writeRevokeCapabilities(this.#ledger, jtis)
  }

  /** What was given of an artifact, readable here, and why those that give nothing now do not. By jti. */
  async of(artifact: Uint8Array): Promise<{ share: Share; refusal: Refusal | undefined }[]> {
    const view = this.#view()
    return (await this.#ledger.parts.shares.of(artifact)).map((share) => ({ share, refusal: view.refusalOf(share) }))
  }

  /** Whether a share of this namespace gives anything now. */
  isInForce(share: Share): boolean {
    return this.#view().isInForce(share)
  }

  /** Every share that is in force and can be read here, by artifact. The first look opens them all: some 50 µs each. */
  async *all({ signal }: SignalOption = {}): AsyncGenerator<Share, void, undefined> {
    const view = this.#view()
    for await (const share of this.#ledger.parts.shares.all(signal)) if (view.isInForce(share)) yield share
  }

  /** What this agent shares and is in force. The first look opens it all, some 50 µs each; after that only what changed is read. */
  async own({ signal }: SignalOption = {}): Promise<SharesGiven> {
    return await this.#own.given(signal)
  }

  /** The envelope of a share, as its audience gets it; `undefined` for links, and when it cannot be read here. */
  async envelopeOf({ entry: hash }: Pick<Share, 'entry'>): Promise<Uint8Array | undefined> {
    const { parts } = this.#ledger
    const entry = await parts.log.unverified(hash)
    const shared = entry && (await openShared(entry, storedSecrets(parts)))
    return shared?.kind === 'share' ? shared.bytes : undefined
  }

  #view(): SharingView {
    const { parts, membership } = this.#ledger
    return SharingView.stored(parts, membership)
  }
}
