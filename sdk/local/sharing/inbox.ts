import {
  type Capability,
  capabilityName,
  decodeEnvelope,
  type Envelope,
  type ShareClaims,
  timeOf,
} from '../../../src/capability/index.ts'
import { equalBytes } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import type { Delivery, KnownPeer, Receipt } from '../../../src/exchange/index.ts'
import { clockSkewMs, strangersSweepMs } from '../../../src/limits.ts'
import type { ListedShare } from './group-shares.ts'
import type { GroupRequest, Requests, ShareRequest } from './requests.ts'

/** What an inbox is made of. */
export interface InboxOptions {
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly requests: Requests
  /** Whether an agent has a name here: what it shares is taken without asking. */
  readonly isContact: (agent: Uint8Array) => boolean
  /** Whether this agent holds the capability of that name (`capabilityName`), or knows that it has ended. */
  readonly isHeld: (name: Uint8Array) => boolean
  /** Follows what envelopes are about, from now on; `full` of those for which there is no room. */
  readonly hold: (envelopes: readonly Envelope[], peers: readonly KnownPeer[]) => Promise<readonly ('taken' | 'full')[]>
  /** Puts envelopes where the members of a group find them; `undefined` when this agent is not in that group. */
  readonly depositAll: (group: Uint8Array, delivery: Delivery) => Promise<readonly Receipt[] | undefined>
  /** Takes a share of that name that nobody wants out of what the members of a group find, if this agent may say so for all of them. */
  readonly dropInGroup: (group: Uint8Array, name: Uint8Array) => Promise<void>
  /** Joins a group that an agent says this one is in. @throws ACCESS_DENIED, UNAVAILABLE */
  readonly joinGroup: (group: Uint8Array, from: Uint8Array, signal: AbortSignal | undefined) => Promise<void>
}

/** A request for a share, and what is in it. */
export interface OpenShareRequest extends ShareRequest {
  readonly content: Envelope
}

/** A request and what is in it. */
export type OpenRequest = OpenShareRequest | GroupRequest

/**
 * What others tell this agent that they share with it, and groups that strangers say it is in. Nothing of it is fetched, and nobody is dialled, before a contact or this agent itself
 * has vouched for whoever shares.
 */
export class Inbox {
  readonly #options: InboxOptions
  /** When what has expired was last looked for, milliseconds since 1970. */
  #sweptMs = Number.NEGATIVE_INFINITY

  constructor(options: InboxOptions) {
    this.#options = options
  }

  /** Takes envelopes that anyone may have made. */
  async receive(delivery: Delivery, from: Uint8Array, signal: AbortSignal): Promise<readonly Receipt[]> {
    const { group } = delivery
    const peers = this.#believed(delivery, from)
    if (group !== undefined) {
      const receipts = await this.#options.depositAll(group, { ...delivery, peers })
      return receipts ?? delivery.envelopes.map(() => 'refused')
    }
    const receipts: (Receipt | Envelope)[] = []
    for (const bytes of delivery.envelopes) {
      signal.throwIfAborted()
      receipts.push(await this.#take(bytes, peers))
    }
    // What is to be followed is remembered in one go.
    const wanted = receipts.filter((receipt) => typeof receipt === 'object')
    const held = (wanted.length === 0 ? [] : await this.#options.hold(wanted, peers)).values()
    return receipts.map((receipt) => (typeof receipt === 'object' ? (held.next().value ?? 'full') : receipt))
  }

  /** Whether a share waits here, or was dropped. */
  isKnown(name: Uint8Array): boolean {
    return this.#options.requests.isKnown(name)
  }

  /** Has a stranger's share wait that a member of a group wrote down, as far as there is room. */
  async keep({ capability, envelope, peers, author }: ListedShare): Promise<void> {
    const { requests, now } = this.#options
    const { claims } = capability
    const name = capabilityName(claims)
    if (!this.#isOpen(capability) || requests.isDropped(name)) return
    await this.#add({ name, sender: claims.issuer, envelope, peers, receivedMs: now(), by: author })
  }

  /** Has a request wait; what has expired makes room for it. */
  async #add(request: ShareRequest): Promise<'taken' | 'full'> {
    const { requests, now } = this.#options
    const receipt = await requests.add(request)
    if (receipt === 'taken' || now() - this.#sweptMs < strangersSweepMs) return receipt
    this.#sweptMs = now()
    for (const { name, envelope } of await requests.list())
      if (envelope !== undefined && !this.#isOpen(decodeEnvelope(envelope).capability)) await requests.remove(name)
    return await requests.add(request)
  }

  /** What waits, the oldest first. What has expired meanwhile is not in it. */
  async list(): Promise<OpenRequest[]> {
    const rows = await this.#options.requests.list()
    return rows.flatMap((row): OpenRequest[] => {
      if (row.group !== undefined) return [row]
      const content = decodeEnvelope(row.envelope)
      return this.#isOpen(content.capability) ? [{ ...row, content }] : []
    })
  }

  /**
   * @throws NOT_FOUND; EXPIRED when it came too late; TOO_LARGE when as many are followed as may be; of a group ACCESS_DENIED, UNAVAILABLE: it goes on
   *   waiting then
   */
  async accept(name: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { requests, hold, joinGroup } = this.#options
    const { envelope, group, sender, peers } = await requests.get(name)
    if (group !== undefined) await joinGroup(group, sender, signal)
    else {
      const content = decodeEnvelope(envelope)
      if (!this.#isOpen(content.capability)) throw new ArtifactHubError('EXPIRED', 'this share has expired')
      const [receipt] = await hold([content], peers)
      if (receipt === 'full')
        throw new ArtifactHubError('TOO_LARGE', 'this node follows as many shared artifacts as it may')
    }
    await requests.remove(name)
  }

  /** @throws NOT_FOUND */
  async drop(name: Uint8Array): Promise<void> {
    const { requests, dropInGroup } = this.#options
    const { envelope } = await requests.get(name)
    await requests.drop(name)
    const audience = envelope === undefined ? [] : decodeEnvelope(envelope).capability.claims.audience
    for (const { kind, id } of audience) if (kind === 'group') await dropInGroup(id, name)
  }

  /** Gives what is to be followed, for the contact who shares it is trusted with that. */
  async #take(bytes: Uint8Array, peers: readonly KnownPeer[]): Promise<Receipt | Envelope> {
    const { self, requests, isHeld, isContact } = this.#options
    const envelope = opened(bytes)
    if (envelope === undefined || !this.#isOpen(envelope.capability)) return 'refused'
    const { issuer, audience } = envelope.capability.claims
    const name = capabilityName(envelope.capability.claims)
    const isForUs = audience.some(({ kind, id }) => kind === 'agent' && equalBytes(id, self))
    if (!isForUs || equalBytes(issuer, self)) return 'refused'
    if (requests.isDropped(name) || isHeld(name)) return 'taken'
    if (!isContact(issuer))
      return await this.#add({ name, sender: issuer, envelope: bytes, peers, receivedMs: this.#options.now() })
    return envelope
  }

  /** Whom a delivery names is believed of contacts alone: of anyone else, that they have what they tell of. */
  #believed({ peers }: Delivery, from: Uint8Array): readonly KnownPeer[] {
    const own = { agent: from, addresses: [] }
    if (!this.#options.isContact(from)) return [own]
    return [own, ...peers.filter(({ agent }) => !equalBytes(agent, from) && !equalBytes(agent, this.#options.self))]
  }

  #isOpen({ claims }: Capability<ShareClaims>): boolean {
    return timeOf(claims, this.#options.now(), clockSkewMs) !== 'expired'
  }
}

/** What is in an envelope; `undefined` when it is none that this release can read. */
export function opened(bytes: Uint8Array): Envelope | undefined {
  try {
    return decodeEnvelope(bytes)
  } catch (error) {
    if (isHubError(error)) return undefined
    throw error
  }
}
