import type { Libp2p, PeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { ArtifactHubError } from '../../src/errors.ts'
import { keepConnectedMs, openTimeoutMs } from '../../src/limits.ts'
import type { Logger } from '../logger.ts'
import type { Services } from './libp2p.ts'

interface KeepConnectedInit {
  readonly libp2p: Libp2p<Services>
  readonly bootstrap: readonly NamedPeer[]
  readonly relays: readonly NamedPeer[]
  readonly random: (length: number) => Uint8Array
  readonly logger: Logger | undefined
}

/** A node that the operator named by an address ending in its peer id. */
export interface NamedPeer {
  readonly address: Multiaddr
  readonly peer: PeerId
}

/** @throws INVALID_ARGUMENT unless the text is a multiaddr that ends in a peer id */
export function namedPeer(text: string, what: string): NamedPeer {
  try {
    const address = multiaddr(text)
    const last = address.getComponents().at(-1)
    if (last?.name === 'p2p' && last.value !== undefined) return { address, peer: peerIdFromString(last.value) }
  } catch {
    // Said below.
  }
  throw new ArtifactHubError('INVALID_ARGUMENT', `${what}: ${text} is no address that ends in /p2p/<peer id>`)
}

/**
 * Stays connected to bootstrap nodes and relays, with a place at each relay: looks at once and every half minute or so, so a node
 * that starts without a network joins when there is one.
 */
export class KeepConnected {
  readonly #init: KeepConnectedInit
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(init: KeepConnectedInit) {
    this.#init = init
  }

  /** Begins without waiting for anybody. */
  start(): void {
    if (this.#init.bootstrap.length + this.#init.relays.length > 0) this.#look()
  }

  /** Resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#looking
  }

  #look(): void {
    this.#looking = this.#connectAll().then(() => {
      if (this.#stop.signal.aborted) return
      const jitter = (this.#init.random(1)[0] ?? 0) / 256
      this.#timer = setTimeout(() => this.#look(), keepConnectedMs * (0.75 + jitter / 2))
      this.#timer.unref()
    })
  }

  async #connectAll(): Promise<void> {
    const { bootstrap, relays, logger } = this.#init
    const tried = (named: NamedPeer, reserve: boolean) =>
      this.#connect(named, reserve).catch((error: Error) => {
        if (!this.#stop.signal.aborted)
          logger?.debug('not connected yet', { address: named.address.toString(), error: error.message })
      })
    await Promise.all([...bootstrap.map((named) => tried(named, false)), ...relays.map((named) => tried(named, true))])
  }

  async #connect({ address, peer }: NamedPeer, reserve: boolean): Promise<void> {
    const { libp2p } = this.#init
    if (peer.equals(libp2p.peerId)) return
    if (libp2p.getConnections(peer).length === 0) {
      await libp2p.dial(address, {
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(openTimeoutMs)]),
      })
    }
    const { relays } = libp2p.services
    if (reserve && !relays.reserved(peer)) await relays.reserve(address)
  }
}
