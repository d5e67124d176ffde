import type { Socket } from 'node:net'
import type { Listener, MultiaddrConnection, StreamMessageEvent, Transport, Upgrader } from '@libp2p/interface'
import { handshakeMs } from '../../src/limits.ts'
import type { BulkStreams } from './bulk-streams.ts'
import { afterWhatCame } from './connect-limit.ts'
import { type Gate, hostOf } from './gate.ts'
import { SilentPlaces } from './silent-places.ts'
import { socketOf } from './tls-on-socket.ts'

/** What TLS begins with: a handshake record (RFC 8446, 5.1). libp2p begins with a varint length of another value. */
const tlsHandshake = 0x16

/**
 * libp2p's TCP whose listeners look at the first byte of each connection: one that begins with TLS is a bulk stream's, all others are
 * libp2p's. Who says nothing for `handshakeMs` is cut, and while too many are waited for, in all or of an address, the rest is libp2p's unseen.
 */
export function withBulkStreams<Components>(
  tcp: (components: Components) => Transport,
  bulk: BulkStreams,
  gate: Gate,
): (components: Components) => Transport {
  return (components) => {
    const transport = tcp(components)
    const createListener = transport.createListener.bind(transport)
    transport.createListener = (options): Listener =>
      createListener({ ...options, upgrader: looking(options.upgrader, bulk, gate) })
    return transport
  }
}

function looking(upgrader: Upgrader, bulk: BulkStreams, gate: Gate): Upgrader {
  const waiting = new SilentPlaces()
  const upgradeInbound: Upgrader['upgradeInbound'] = async (connection, options) => {
    const socket = socketOf(connection)
    const leave = socket && waiting.take(hostOf(connection.remoteAddr) ?? '')
    if (socket === undefined || leave === undefined) {
      await upgrader.upgradeInbound(connection, options)
      return
    }
    const isBulk = await beginsWithTls(connection, socket).finally(leave)
    if (!isBulk) await upgrader.upgradeInbound(connection, options)
    else if (gate.denyBulkHost(connection)) throw new Error('too many from that address')
    else await bulk.accept(connection, socket)
  }
  return Object.assign(Object.create(upgrader) as Upgrader, { upgradeInbound })
}

/**
 * Looks at what comes first, and puts it back: into the socket if it is TLS, else into libp2p's connection.
 *
 * @throws when nothing comes
 */
function beginsWithTls(connection: MultiaddrConnection, socket: Socket): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      stopTimer()
      connection.removeEventListener('message', look)
      connection.removeEventListener('close', closed)
    }
    const look = ({ data }: StreamMessageEvent): void => {
      stop()
      const bytes = data.subarray()
      if (bytes[0] === tlsHandshake) {
        socket.pause()
        socket.setTimeout(0)
        socket.removeAllListeners('data')
        socket.unshift(bytes)
        resolve(true)
      } else {
        connection.unshift(bytes)
        resolve(false)
      }
    }
    const closed = (): void => {
      stop()
      reject(new Error('said nothing'))
    }
    const stopTimer = afterWhatCame(handshakeMs, () => connection.abort(new Error('said nothing')))
    connection.addEventListener('message', look)
    connection.addEventListener('close', closed)
  })
}
