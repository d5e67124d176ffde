import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Server, Socket } from 'node:net'
import type { Listener, Transport, Upgrader } from '@libp2p/interface'
import { webSockets } from '@libp2p/websockets'
import type { Multiaddr } from '@multiformats/multiaddr'
import { multiaddrToUri } from '@multiformats/multiaddr-to-uri'
// @ts-expect-error: it has no types of its own.
import { WebSocket as UntypedWebSocket } from 'ws'
import {
  handshakeMs,
  maxConnections,
  maxSilentConnections,
  maxWebSocketMessageBytes,
  maxWebSocketParts,
  streamWindowBytes,
} from '../../src/limits.ts'
import { afterWhatCame, type ConnectOptions } from './connect-limit.ts'
import type { Gate } from './gate.ts'
import { lookUpInTurn } from './name-lookups.ts'
import { SilentPlaces } from './silent-places.ts'

/** What is used of ws's WebSocket. */
interface AnyWebSocket extends NodeJS.EventEmitter {
  binaryType: string
  send(data: Uint8Array): void
  close(code?: number, reason?: string): void
  terminate(): void
  pause(): void
  resume(): void
  addEventListener(event: string, listener: unknown, options?: unknown): void
}

type WebSocketClass = new (...args: unknown[]) => AnyWebSocket

/** Of messages that come; ws's own bounds are 100 MiB and a quarter of a million parts. */
const bounds = {
  maxPayload: maxWebSocketMessageBytes,
  maxBufferedChunks: maxWebSocketParts,
  maxFragments: maxWebSocketParts,
  perMessageDeflate: false,
}

/** ws's WebSocket, of which anything that the other side sends harms only itself. */
class BoundWebSocket extends (UntypedWebSocket as WebSocketClass) {
  constructor(...args: unknown[]) {
    super(...args)
    // Frames that cannot be are told of as 'error', which nobody listens to would end the process; 'close' comes after it.
    this.on('error', () => {})
    // What the other side says at once waits for who listens.
    this.once('open', () => this.pause())
  }

  override addEventListener(event: string, listener: unknown, options?: unknown): void {
    super.addEventListener(event, listener, options)
    if (event === 'message') this.resume()
  }

  /** No longer messages than the other side takes: where one ends says nothing. */
  override send(data: Uint8Array): void {
    for (let at = 0; at < data.length; at += maxWebSocketMessageBytes)
      super.send(data.subarray(at, at + maxWebSocketMessageBytes))
  }

  /** libp2p asks for 1006 to have a connection cut at once, and no WebSocket lets itself be closed with that. */
  override close(code?: number, reason?: string): void {
    if (code === 1006) this.terminate()
    else super.close(code, reason)
  }
}

/** What is used of libp2p's WebSocket transport and of its listeners, which have no interface of their own. */
interface WebSocketTransport extends Transport {
  _connect(address: Multiaddr, options?: ConnectOptions): Promise<AnyWebSocket>
}

interface WebSocketListener extends Listener {
  readonly server: Server
  readonly wsServer: NodeJS.EventEmitter & { readonly options: object }
}

/**
 * libp2p's WebSockets with bounds on what a stranger can have held before the connection is libp2p's: messages of `maxWebSocketMessageBytes`, both ways,
 * and so many connections, of one address and in all, that are no WebSocket yet, each for `handshakeMs`, as one over TCP.
 */
export function boundedWebSockets<Components extends Parameters<ReturnType<typeof webSockets>>[0]>(
  gate: Gate,
): (components: Components) => Transport {
  return (components) => {
    const transport = webSockets({ maxBufferedAmount: streamWindowBytes })(components) as unknown as WebSocketTransport
    transport._connect = connect
    const createListener = transport.createListener.bind(transport)
    transport.createListener = (options) =>
      bounded(createListener({ ...options, upgrader: cutting(options.upgrader) }) as WebSocketListener, gate)
    return transport
  }
}

/** @throws what keeps it from opening */
async function connect(address: Multiaddr, { signal, onConnect }: ConnectOptions = {}): Promise<AnyWebSocket> {
  signal?.throwIfAborted()
  const finishRequest = (request: ClientRequest): void => {
    // Over TLS too this is TCP's.
    request.once('socket', (socket) => socket.once('connect', () => onConnect?.()))
    request.end()
  }
  const webSocket = new BoundWebSocket(multiaddrToUri(address), { ...bounds, finishRequest, lookup: lookUpInTurn })
  webSocket.binaryType = 'arraybuffer'
  try {
    await once(webSocket, 'open', { signal })
  } catch (error) {
    webSocket.terminate()
    throw error
  }
  return webSocket
}

/** An upgrader that cuts what it could not upgrade: libp2p closes it, and waits half a minute for the other side to do so too. */
function cutting(upgrader: Upgrader): Upgrader {
  const upgradeInbound: Upgrader['upgradeInbound'] = async (connection, options) => {
    try {
      await upgrader.upgradeInbound(connection, options)
    } catch (error) {
      connection.abort(error as Error)
      throw error
    }
  }
  return Object.assign(Object.create(upgrader) as Upgrader, { upgradeInbound })
}

function bounded(listener: WebSocketListener, gate: Gate): Listener {
  const { server, wsServer } = listener
  Object.assign(wsServer.options, bounds, { WebSocket: BoundWebSocket })
  const waiting = new SilentPlaces()
  const ends = new Map<Socket, () => void>()
  /** A place until it is a WebSocket, or closes. */
  const admit = (socket: Socket): boolean => {
    const leave = waiting.take(socket.remoteAddress ?? '')
    if (leave === undefined) return false
    const stop = afterWhatCame(handshakeMs, () => socket.destroy())
    const end = (): void => {
      stop()
      leave()
      ends.delete(socket)
    }
    ends.set(socket, end)
    socket.once('close', end)
    return true
  }
  wsServer.on('headers', (_, { socket }: IncomingMessage) => ends.get(socket)?.())
  // libp2p counts a connection from when it is a WebSocket on.
  server.maxConnections = maxConnections + maxSilentConnections
  const [take] = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    if (admit(socket)) take?.(socket)
    else {
      gate.turnAway()
      socket.destroy()
    }
  })
  const close = listener.close.bind(listener)
  listener.close = async () => {
    const closed = close()
    // libp2p's waits for them.
    for (const socket of ends.keys()) socket.destroy()
    await closed
  }
  return listener
}
