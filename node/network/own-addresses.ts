import type { Multiaddr } from '@multiformats/multiaddr'

/** What is used of libp2p's parts. */
interface Components {
  readonly transportManager: { getAddrs(): Multiaddr[] }
  readonly addressManager: {
    confirmObservedAddr(address: Multiaddr, options: { type: 'transport'; ttl: number }): void
  }
  readonly events: EventTarget
}

/** As good as for ever, milliseconds: an interface that goes takes its addresses along. */
const ttl = 100 * 365 * 24 * 3600_000

/**
 * The addresses that this machine listens on. libp2p itself tells of a public one only once some AutoNAT peer has dialled it, and outside of the
 * public network there is none: a machine that is on the internet with an address of its own could be found by nobody.
 */
export class OwnAddresses {
  readonly #components: Components
  readonly #isTold: boolean

  /** @param isTold whether others are told of them at once; else only where AutoNAT has found that they can be dialled */
  constructor(components: Components, isTold: boolean) {
    this.#components = components
    this.#isTold = isTold
    components.events.addEventListener('transport:listening', () => this.all())
  }

  /** Those of now: interfaces come and go. */
  all(): Multiaddr[] {
    const { transportManager, addressManager } = this.#components
    const all = transportManager.getAddrs()
    if (this.#isTold) for (const address of all) addressManager.confirmObservedAddr(address, { type: 'transport', ttl })
    return all
  }
}
