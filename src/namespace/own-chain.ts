import { concatBytes, equalBytes, toHex } from '../encoding/index.ts'
import type { AgentKey } from '../identity/index.ts'
import type { Entry } from '../log/index.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import type { Overlay } from '../storage/index.ts'
import type { Chains, Tip } from './chains.ts'
import { denied } from './denied.ts'
import type { FollowedArtifacts } from './followed.ts'
import { chainIdOf, type NamespaceKeys } from './tables.ts'

/** Where the next entry of this agent's chain will stand: what a body is bound to. */
export interface NextPlace {
  readonly namespace: Uint8Array
  readonly author: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
}

/** The chain that this agent writes on, and what its next entry follows. */
export interface Seat extends Omit<NextPlace, 'namespace' | 'seq'> {
  readonly chain: Uint8Array
  readonly tip: Tip | undefined
  /** Made under this membership: another may give another grant. */
  readonly membership: Membership
}

/** What an agent's own chain is found by. */
export interface OwnChainInit {
  readonly namespace: Uint8Array
  readonly keys: NamespaceKeys
  readonly chains: Chains
  readonly agent: AgentKey
  /** Of the node. */
  readonly nodeIncarnation: Uint8Array
  /** The one written under: another where the node's chain may not be gone on with. */
  readonly incarnation: Uint8Array
  readonly random: (length: number) => Uint8Array<ArrayBuffer>
  readonly partial: FollowedArtifacts | undefined
  readonly warn?: ((message: string, fields: Readonly<Record<string, unknown>>) => void) | undefined
}

/** A transaction as far as it has come. */
interface Surroundings {
  readonly membership: Membership
  tipsOf(chain: Uint8Array): readonly Tip[]
}

/** Finds the one chain that this agent may go on writing here, and begins another where that could fork it. */
export class OwnChain {
  readonly #init: OwnChainInit
  readonly #overlay: Overlay
  readonly #around: Surroundings
  #incarnation: Uint8Array
  #seat: Seat | undefined

  constructor(init: OwnChainInit, overlay: Overlay, around: Surroundings) {
    this.#init = init
    this.#overlay = overlay
    this.#around = around
    this.#incarnation = init.incarnation
  }

  /** The one written under now. */
  get incarnation(): Uint8Array {
    return this.#incarnation
  }

  /** @throws ACCESS_DENIED when this agent may not write */
  get seat(): Seat {
    const { membership } = this.#around
    if (this.#seat?.membership === membership) return this.#seat
    const { agent, chains } = this.#init
    const author = agent.publicKey
    const [grant] = this.#init.partial === undefined ? membership.grantsOf(author) : []
    if (grant === undefined || rankOf(grant.role) < 1) {
      throw denied(membership, author, 'write in this namespace')
    }
    for (;;) {
      const incarnation = this.#incarnation
      const chain = chainIdOf(author, grant.hash, incarnation)
      const tips = this.#around.tipsOf(chain)
      if (!chains.isBroken(chain) && tips.length <= 1) {
        this.#seat = { author, grant: grant.hash, incarnation, chain, tip: tips[0], membership }
        return this.#seat
      }
      // What its newest entry was may be known elsewhere: another one in its place, or after it, would be a fork.
      this.leave('its own chain ends in an entry that is damaged, or is forked')
    }
  }

  /** @throws ACCESS_DENIED when this agent may not write */
  get nextPlace(): NextPlace {
    const { author, grant, incarnation, tip } = this.seat
    return { namespace: this.#init.namespace, author, grant, incarnation, seq: tip === undefined ? 0 : tip.seq + 1 }
  }

  /** An entry was stored in the next place. */
  advance(tip: Tip): void {
    if (this.#seat !== undefined) this.#seat = { ...this.#seat, tip }
  }

  /** Begins a new chain with the next entry, and from then on. */
  leave(reason: string): void {
    this.drawIncarnation()
    const { warn, namespace } = this.#init
    warn?.('began a new chain in a namespace: run check', { namespace: toHex(namespace), reason })
  }

  /** As `leave`, where nothing went wrong. */
  drawIncarnation(): void {
    const { keys, nodeIncarnation, random } = this.#init
    this.#incarnation = random(nodeIncarnation.length)
    this.#seat = undefined
    this.#overlay.put(keys.key('incarnation'), concatBytes(nodeIncarnation, this.#incarnation))
  }

  /** Whether an entry's chain is the one that this agent writes on now. */
  has({ header }: Entry): boolean {
    return equalBytes(header.author, this.#init.agent.publicKey) && equalBytes(header.incarnation, this.#incarnation)
  }
}
