import type { CircuitRelayService } from '@libp2p/circuit-relay-v2'
import type { Libp2p, PeerId } from '@libp2p/interface'
import { maxStrangerReservations } from '../../src/limits.ts'

/**
 * Who has a place at this node where it is a relay: whoever is connected, and strangers no more than leaves room for others. libp2p by
 * itself keeps each for two hours, so that whoever connects once under many keys would have them all.
 */
export class RelayPlaces {
  readonly #strangers = new Set<string>()
  #isConnected: (peer: PeerId) => boolean = () => true

  /** Whether there is a place for an agent that asks for one, or for longer. */
  mayReserve(peer: PeerId, isStranger: boolean): boolean {
    const name = peer.toString()
    // Of whom is gone already it would never be told that it leaves.
    if (!this.#isConnected(peer)) return false
    if (!isStranger) {
      this.#strangers.delete(name)
      return true
    }
    if (this.#strangers.size >= maxStrangerReservations && !this.#strangers.has(name)) return false
    this.#strangers.add(name)
    return true
  }

  /** Has places end with the last connection of whom they are. */
  follow(libp2p: Libp2p, { reservations }: Pick<CircuitRelayService, 'reservations'>): void {
    this.#isConnected = (peer) => libp2p.getConnections(peer).length > 0
    libp2p.addEventListener('peer:disconnect', ({ detail: peer }) => {
      this.#strangers.delete(peer.toString())
      // Or it would end the next one of the same agent.
      reservations.get(peer)?.signal.clear()
      reservations.delete(peer)
    })
  }
}
