import type { Server, Socket } from 'node:net'
import type { GatewaySettings } from './gateway-options.ts'
import { clientName } from './user-limits.ts'

/** The share of all connections that one address may have, where addresses are clients. */
const clientShare = 0.75

/** Bounds the connections of a server, in all and of one client; behind a proxy all of them are the proxy's. */
export function boundConnections(
  server: Server,
  { maxConnections, trustProxy }: Pick<GatewaySettings, 'maxConnections' | 'trustProxy'>,
): { readonly count: number; destroyAll(): void } {
  const maxOfClient = trustProxy === false ? Math.max(1, Math.floor(maxConnections * clientShare)) : maxConnections
  const ofClient = new Map<string, number>()
  const sockets = new Set<Socket>()
  server.maxConnections = maxConnections
  server.on('connection', (socket: Socket) => {
    const client = clientName(socket.remoteAddress ?? '')
    const others = ofClient.get(client) ?? 0
    sockets.add(socket)
    ofClient.set(client, others + 1)
    socket.once('close', () => {
      sockets.delete(socket)
      const left = (ofClient.get(client) ?? 1) - 1
      if (left === 0) ofClient.delete(client)
      else ofClient.set(client, left)
    })
    if (others >= maxOfClient) socket.destroy()
  })
  return {
    get count() {
      return sockets.size
    },
    destroyAll() {
      for (const socket of sockets) socket.destroy()
    },
  }
}
