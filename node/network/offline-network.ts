import { ArtifactHubError } from '../../src/errors.ts'
import type { PeerStream } from '../../src/exchange/peer-network.ts'
import { formatDid } from '../../src/identity/index.ts'
import { unreachable } from './failures.ts'
import type { ConnectedPeer, Network, NetworkStatus, Reachability } from './network.ts'
import { Penalties } from './penalties.ts'

/** No network at all: nobody is there, and asking for somebody says so. Loads nothing of libp2p. */
export class OfflineNetwork implements Network {
  readonly mode = 'offline'
  readonly libp2p = undefined

  connected(): Uint8Array[] {
    return []
  }

  open(agent: Uint8Array): Promise<PeerStream> {
    return Promise.reject(offline(agent))
  }

  async openBulk(): Promise<undefined> {}

  handle(): () => void {
    return () => {}
  }

  onPeer(): () => void {
    return () => {}
  }

  hint(): void {}

  onHint(): () => void {
    return () => {}
  }

  addAddresses(): void {}

  addresses(): string[] {
    return []
  }

  penalise(): void {}

  peers(): Promise<ConnectedPeer[]> {
    return Promise.resolve([])
  }

  reachability(): Reachability {
    return { state: 'unknown' }
  }

  ping(agent: Uint8Array): Promise<number> {
    return Promise.reject(offline(agent))
  }

  provide(): Promise<void> {
    return Promise.reject(
      new ArtifactHubError('UNAVAILABLE', 'this node is offline', { details: { reason: 'offline' } }),
    )
  }

  async *findProviders(): AsyncGenerator<Uint8Array> {}

  onLearned(): () => void {
    return () => {}
  }

  keepRoomFor(): void {}

  status(): NetworkStatus {
    return {
      mode: 'offline',
      peerId: undefined,
      addresses: [],
      connections: 0,
      relays: [],
      refusedConnections: { host: 0, agent: 0, stranger: 0, penalised: 0 },
      misbehaviour: new Penalties(() => 0).counts(),
      refusedAgents: [],
    }
  }

  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

function offline(agent: Uint8Array): ArtifactHubError {
  return unreachable(formatDid(agent), 'offline', 'this node is offline')
}
