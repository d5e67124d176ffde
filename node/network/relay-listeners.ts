import type { Listener, PeerId, Transport } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

/** What is used of libp2p's transport manager. */
interface TransportManager {
  listen(addresses: Multiaddr[]): Promise<void>
  getListeners(): Listener[]
  getTransports(): Transport[]
}

/** What is used of libp2p's relay transport, which has no interface of its own. */
interface RelayTransport {
  readonly reservationStore: { hasReservation(relay: PeerId): boolean }
}

/**
 * Places at relays, through which others reach a node behind NAT. A listener is made once per relay and asked again when its
 * place is lost: libp2p would keep each that is made.
 */
export class RelayListeners {
  readonly #transports: TransportManager
  readonly #listeners = new Map<string, Listener>()

  constructor(transports: TransportManager) {
    this.#transports = transports
  }

  /** Whether this node has a place at a relay now. */
  reserved(relay: PeerId): boolean {
    return this.#transports
      .getTransports()
      .some(
        (transport) =>
          'reservationStore' in transport &&
          (transport as unknown as RelayTransport).reservationStore.hasReservation(relay),
      )
  }

  /** Asks a relay (`…/p2p/<relay>`), dialled if need be, for a place; `reserved` tells what came of it. Then libp2p renews it. */
  async reserve(relay: Multiaddr): Promise<void> {
    const address = relay.encapsulate('/p2p-circuit')
    const known = this.#listeners.get(address.toString())
    if (known !== undefined) return await known.listen(address)
    const before = new Set(this.#transports.getListeners())
    await this.#transports.listen([address])
    const made = this.#transports.getListeners().find((listener) => !before.has(listener))
    if (made !== undefined) this.#listeners.set(address.toString(), made)
  }
}
