import { Socket } from 'node:net'
import { connect, TLSSocket, type TLSSocketOptions } from 'node:tls'
import {
  type ConnectionEncrypter,
  type MessageStream,
  type SecureConnectionOptions,
  type SecuredConnection,
  type StreamMessageEvent,
  type StreamMuxerFactory,
  serviceCapabilities,
} from '@libp2p/interface'
import { type TLSComponents, tls } from '@libp2p/tls'
import { toMessageStream, toNodeDuplex, verifyPeerCertificate } from '@libp2p/tls/utils'
import { makeCertificate } from './certificate.ts'

/** TLS as libp2p has it. */
export const libp2pTls = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  requestCert: true,
  // Certificates are self-signed; whose they are is checked once they are here.
  rejectUnauthorized: false,
} as const satisfies TLSSocketOptions

/** Writes up to this many bytes are joined. */
const joinedBytes = 4 * 1024

/**
 * libp2p's TLS (https://github.com/libp2p/specs/blob/master/tls/tls.md), on the wire what @libp2p/tls does, whose certificates and checks
 * these are (`certificate.ts`: but for one date). But over TCP `node:tls` gets the system's own socket: @libp2p/tls puts a stream between the two, and every encrypted
 * byte passes through JavaScript. So it does here for connections that are no plain socket (relayed, WebSocket, in a private network).
 */
export function tlsOnSocket(): (components: TLSComponents) => ConnectionEncrypter {
  return (components) => new TlsOnSocket(components)
}

class TlsOnSocket implements ConnectionEncrypter {
  readonly [Symbol.toStringTag] = 'artifact-hub/tls-on-socket'
  readonly [serviceCapabilities] = ['@libp2p/connection-encryption']
  readonly protocol: string
  readonly #components: TLSComponents

  constructor(components: TLSComponents) {
    this.#components = components
    this.protocol = tls()(components).protocol
  }

  async secureInbound(connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    return await this.#secure(connection, true, options)
  }

  async secureOutbound(connection: MessageStream, options: SecureConnectionOptions = {}): Promise<SecuredConnection> {
    return await this.#secure(connection, false, options)
  }

  async #secure(
    connection: MessageStream,
    isServer: boolean,
    options: SecureConnectionOptions,
  ): Promise<SecuredConnection> {
    const socket = socketOf(connection)
    const takeOver = socket && holdBack(connection, socket)
    const { upgrader, privateKey } = this.#components
    const certificate = await makeCertificate(privateKey, options)
    const muxers = options.skipStreamMuxerNegotiation === true ? new Map() : upgrader.getStreamMuxers()
    let streamMuxer: StreamMuxerFactory | undefined
    const settings: TLSSocketOptions = {
      ...certificate,
      ...libp2pTls,
      isServer,
      ALPNProtocols: [...muxers.keys(), 'libp2p'],
      ALPNCallback: ({ protocols }) => {
        const chosen = protocols.find((protocol) => muxers.has(protocol)) ?? 'libp2p'
        streamMuxer = muxers.get(chosen)
        return protocols.includes(chosen) ? chosen : undefined
      },
    }
    if (socket?.destroyed === true) throw new Error('the connection was closed before its handshake')
    takeOver?.()
    const under = socket ?? (toNodeDuplex(connection) as Socket)
    const secure = isServer ? new TLSSocket(under, settings) : connect({ socket: under, ...settings })
    if (socket !== undefined) endThrough(secure, socket)
    else under.on('error', (error) => secure.destroy(error))
    try {
      await handshake(secure, options.signal)
      const { raw } = secure.getPeerCertificate()
      if (raw === undefined) throw new Error('the other side showed no certificate')
      const remotePeer = await verifyPeerCertificate(raw, options.remotePeer, connection.log)
      options.signal?.throwIfAborted()
      if (!isServer) streamMuxer = muxers.get(secure.alpnProtocol || '')
      if (socket !== undefined) joinSmallWrites(secure)
      return { remotePeer, connection: toMessageStream(connection, secure), ...(streamMuxer && { streamMuxer }) }
    } catch (error) {
      secure.destroy()
      connection.abort(error as Error)
      throw error
    }
  }
}

/** The socket under a connection of @libp2p/tcp, which keeps it to itself; `undefined` for all else. */
export function socketOf(connection: MessageStream): Socket | undefined {
  const { socket } = connection as { socket?: unknown }
  return socket instanceof Socket && !(socket instanceof TLSSocket) && !socket.destroyed ? socket : undefined
}

/** Stops reading from a socket. @returns what gives back to it the bytes that the connection has already taken: its own no more */
function holdBack(connection: MessageStream, socket: Socket): () => void {
  const taken: Uint8Array[] = []
  const take = ({ data }: StreamMessageEvent): void => {
    for (const part of data instanceof Uint8Array ? [data] : data) taken.push(part)
  }
  connection.addEventListener('message', take)
  socket.pause()
  return () => {
    connection.removeEventListener('message', take)
    socket.removeAllListeners('data')
    if (taken.length > 0) socket.unshift(Buffer.concat(taken))
  }
}

/**
 * Has libp2p, which ends the socket under TLS as it did before, end TLS, which then ends the socket. The other way round Node 24
 * crashes: it lets go of what OpenSSL may be in the middle of.
 */
export function endThrough(secure: TLSSocket, socket: Socket): void {
  const destroy = socket.destroy.bind(socket)
  socket.destroy = () => {
    // TLS calls this again, then with itself destroyed.
    if (secure.destroyed) return destroy()
    secure.destroy()
    return socket
  }
  socket.resetAndDestroy = () => socket.destroy()
  socket.destroySoon = () => secure.destroySoon()
}

/**
 * What is written in one turn goes out together as long as it is little: yamux writes each frame's header by itself, which would be a
 * record of TLS and a call of the system of its own.
 */
export function joinSmallWrites(secure: TLSSocket): void {
  const write = secure.write.bind(secure)
  const flush = (): void => secure.uncork()
  secure.write = (bytes: Uint8Array | string, ...rest: []) => {
    // Joining a long one would copy it.
    if (bytes.length > joinedBytes) flush()
    else if (secure.writableCorked === 0) {
      secure.cork()
      process.nextTick(flush)
    }
    return write(bytes, ...rest)
  }
}

/** Resolves when both sides are through. @throws what `node:tls` says, the signal's reason */
export function handshake(secure: TLSSocket, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void secure.destroy(signal?.reason as Error)
    // Stays: an error that nobody listens to would end the process.
    secure.on('error', reject)
    secure.once('close', () => reject(new Error('the connection was closed during the handshake')))
    secure.once('secure', () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted === true) stop()
  })
}
