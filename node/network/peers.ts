import type { Connection, Libp2p } from '@libp2p/interface'
import { formatDid } from '../../src/identity/index.ts'
import { agentOf } from './agent-peer.ts'
import type { Services } from './libp2p.ts'
import type { ConnectedPeer } from './network.ts'

/** Whether a connection goes through a relay. */
export function isRelayed({ remoteAddr }: Connection): boolean {
  return remoteAddr.getComponents().some(({ name }) => name === 'p2p-circuit')
}

/** All agents with a connection, one row each, with what they said of themselves. @throws the signal's reason */
export async function connectedPeers(
  libp2p: Libp2p<Services>,
  signal: AbortSignal | undefined,
): Promise<ConnectedPeer[]> {
  const rows = libp2p.getPeers().map(async (peer): Promise<ConnectedPeer[]> => {
    const agent = agentOf(peer)
    const connections = libp2p.getConnections(peer)
    const best = connections.find((connection) => !isRelayed(connection)) ?? connections[0]
    if (agent === undefined || best === undefined) return []
    const known = await libp2p.peerStore.get(peer, signal === undefined ? {} : { signal }).catch(() => undefined)
    return [
      {
        agent,
        did: formatDid(agent),
        addresses: connections.map(({ remoteAddr }) => remoteAddr.toString()),
        connection: isRelayed(best) ? 'relayed' : 'direct',
        encryption: best.encryption?.startsWith('/tls/') ? 'tls' : 'noise',
        latencyMs: best.rtt,
        since: new Date(Math.min(...connections.map(({ timeline }) => timeline.open))),
        protocols: known?.protocols ?? [],
      },
    ]
  })
  const peers = (await Promise.all(rows)).flat()
  signal?.throwIfAborted()
  return peers
}
