import type { OnReadOpts, Socket, SocketConstructorOpts } from 'node:net'
import { type ConnectionOptions, connect, TLSSocket } from 'node:tls'
import type { MultiaddrConnection, PrivateKey } from '@libp2p/interface'
import { verifyPeerCertificate } from '@libp2p/tls/utils'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { OpenCount } from '../../src/exchange/open-count.ts'
import {
  bulkCertificateMs,
  bulkHandshakeMs,
  bulkRetryMs,
  bulkWorthBytes,
  maxBulkStreams,
  maxPendingBulkStreams,
  maxPendingBulkStreamsPerHost,
  maxRememberedAgents,
} from '../../src/limits.ts'
import { agentOf, peerIdOf } from './agent-peer.ts'
import { BulkStream } from './bulk-stream.ts'
import { type Certificate, makeCertificate } from './certificate.ts'
import { type Gate, hostOf } from './gate.ts'
import { lookUpInTurn } from './name-lookups.ts'
import { endThrough, handshake, joinSmallWrites, libp2pTls } from './tls-on-socket.ts'
import type { OnStreamEnd } from './transport-stream.ts'

/** The first byte of whoever listens: it takes the stream. Before it nobody knows, for TLS 1.3 is through for who dials first. */
const taken = Buffer.of(1)
/** What TLS decrypts at once. */
const recordBytes = 16 * 1024

/** Where a node listens on TCP. */
export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Serves a stream that somebody opened; `begin` makes it, and tells its argument of the end. */
export type ServeBulk = (begin: (onEnd: OnStreamEnd) => BulkStream) => void

interface BulkStreamsInit {
  readonly privateKey: PrivateKey
  readonly gate: Gate
  readonly monotonic: () => number
}

/**
 * Streams that have a connection to themselves, beside libp2p's: TLS 1.3 from the first byte, on the port where libp2p listens. Certificates and
 * their checks are libp2p's TLS (https://github.com/libp2p/specs/blob/master/tls/tls.md), so each side knows the other's agent; ALPN names the
 * protocol. In libp2p's streams bytes pass a multiplexer and several layers of events, 16 KiB at a time: three times the work.
 */
export class BulkStreams implements Disposable {
  readonly #init: BulkStreamsInit
  /** By protocol. */
  readonly #served = new Map<string, ServeBulk>()
  readonly #streams = new Set<BulkStream>()
  readonly #handshaking = new Set<TLSSocket>()
  /** By address, handshakes that others began. */
  readonly #accepting = new OpenCount()
  /** Agents (hex) to whom none could be opened, and until when they are not tried. */
  readonly #without = new Map<string, number>()
  #certificate: Promise<Certificate> | undefined
  #certificateUntil = 0
  #isClosed = false

  constructor(init: BulkStreamsInit) {
    this.#init = init
  }

  /** Streams that are open, both ways. */
  get size(): number {
    return this.#streams.size
  }

  /** Takes streams of a protocol that others open. */
  handle(protocol: string, serve: ServeBulk): void {
    this.#served.set(protocol, serve)
  }

  /** Takes them no more. */
  unhandle(protocol: string): void {
    this.#served.delete(protocol)
  }

  /**
   * Takes over an inbound connection that begins with TLS; what was read of it is back in the socket.
   *
   * @throws when it becomes no stream; the connection is cut then
   */
  async accept(connection: MultiaddrConnection, socket: Socket): Promise<void> {
    const { gate } = this.#init
    const host = hostOf(connection.remoteAddr) ?? ''
    let protocol: string | undefined
    let done = (): void => {}
    try {
      const isFull =
        this.#accepting.total >= maxPendingBulkStreams || this.#accepting.of(host) >= maxPendingBulkStreamsPerHost
      if (this.#isClosed || this.#served.size === 0 || isFull) throw new Error('no bulk streams are taken')
      done = this.#accepting.add(host)
      const certificate = await this.#own()
      if (socket.destroyed) throw new Error('the connection was closed before its handshake')
      socket.allowHalfOpen = true
      const secure = new TLSSocket(socket, {
        ...certificate,
        ...libp2pTls,
        isServer: true,
        ALPNCallback: ({ protocols }) => {
          protocol = protocols.find((name) => this.#served.has(name))
          return protocol
        },
      })
      endThrough(secure, socket)
      const agent = await this.#shake(secure, undefined, AbortSignal.timeout(bulkHandshakeMs))
      const serve = protocol === undefined ? undefined : this.#served.get(protocol)
      if (serve === undefined) throw new Error('no protocol that is served')
      if (this.#streams.size >= maxBulkStreams || gate.denyBulk(peerIdOf(agent), connection))
        throw new Error('one stream too many')
      secure.write(taken)
      serve((onEnd) => {
        const stream = this.#track(secure, agent, onEnd)
        secure.on('data', (bytes) => {
          if (!stream.received(bytes)) secure.pause()
        })
        return stream
      })
    } catch (error) {
      socket.destroy()
      throw error
    } finally {
      done()
    }
  }

  /**
   * Opens a stream to an agent that listens at one of these; `undefined` when it works at none of them, and for a while then or after one that was
   * cut before it was worth its handshake.
   * @throws the signal's reason
   */
  async open(
    agent: Uint8Array,
    protocol: string,
    places: readonly HostPort[],
    signal: AbortSignal,
  ): Promise<BulkStream | undefined> {
    const key = toHex(agent)
    if (places.length === 0 || this.#isClosed || (this.#without.get(key) ?? 0) > this.#init.monotonic())
      return undefined
    this.#without.delete(key)
    for (const place of places) {
      try {
        return await this.#connect(agent, protocol, place, signal)
      } catch {
        signal.throwIfAborted()
      }
    }
    this.#avoid(key)
    return undefined
  }

  #avoid(key: string): void {
    if (this.#without.size >= maxRememberedAgents) this.#without.delete(this.#without.keys().next().value as string)
    this.#without.set(key, this.#init.monotonic() + bulkRetryMs)
  }

  async #connect(
    agent: Uint8Array,
    protocol: string,
    { host, port }: HostPort,
    signal: AbortSignal,
  ): Promise<BulkStream> {
    const certificate = await this.#own()
    signal.throwIfAborted()
    let stream: BulkStream | undefined
    const early: Uint8Array[] = []
    let came = 0
    const onread: OnReadOpts = {
      // One piece of memory for all that comes: fresh one for each 16 KiB has the collector run all the time.
      buffer: new Uint8Array(recordBytes),
      callback: (length, buffer) => {
        const bytes = buffer.subarray(0, length)
        came += length
        if (stream !== undefined) return stream.received(bytes)
        early.push(new Uint8Array(bytes))
        return false
      },
    }
    const options: ConnectionOptions & Pick<SocketConstructorOpts, 'allowHalfOpen' | 'onread'> = {
      ...certificate,
      ...libp2pTls,
      host,
      port,
      lookup: lookUpInTurn,
      allowHalfOpen: true,
      ALPNProtocols: [protocol],
      onread,
    }
    const secure = connect(options)
    try {
      secure.setNoDelay()
      const bounded = AbortSignal.any([signal, AbortSignal.timeout(bulkHandshakeMs)])
      const shown = await this.#shake(secure, agent, bounded)
      if (!equalBytes(shown, agent) || secure.alpnProtocol !== protocol) throw new Error('somebody else is there')
      if (this.#init.gate.denyAgent(peerIdOf(agent))) throw new Error('refused for misbehaviour')
      stream = this.#track(secure, agent, (cut) => {
        const isTheirs = stream?.isRemoteEnded === true || (isHubError(cut) && cut.details.reason === 'connection-lost')
        if (cut !== undefined && isTheirs && came < bulkWorthBytes) this.#avoid(toHex(agent))
      })
      for (const bytes of early) stream.received(bytes)
      secure.resume()
      const first = new Uint8Array(1)
      if ((await stream.readInto(first, { signal: bounded })) === 0 || first[0] !== taken[0])
        throw new Error('not taken')
      return stream
    } catch (error) {
      secure.destroy()
      throw error
    }
  }

  /** @returns whose the other side is. @throws when it is nobody's, not the one expected, or it takes too long */
  async #shake(secure: TLSSocket, expected: Uint8Array | undefined, signal: AbortSignal): Promise<Uint8Array> {
    this.#handshaking.add(secure)
    try {
      await handshake(secure, signal)
      const { raw } = secure.getPeerCertificate()
      if (raw === undefined) throw new Error('the other side showed no certificate')
      const peer = await verifyPeerCertificate(raw, expected === undefined ? undefined : peerIdOf(expected))
      const agent = agentOf(peer)
      signal.throwIfAborted()
      if (agent === undefined || this.#isClosed || secure.destroyed) throw new Error('no agent')
      joinSmallWrites(secure)
      secure.setKeepAlive(true, 30_000)
      return agent
    } finally {
      this.#handshaking.delete(secure)
    }
  }

  #track(secure: TLSSocket, agent: Uint8Array, onEnd: OnStreamEnd): BulkStream {
    const stream = new BulkStream(secure, agent, (cut) => {
      this.#streams.delete(stream)
      onEnd(cut)
    })
    this.#streams.add(stream)
    return stream
  }

  /**
   * One for many streams: making it takes some milliseconds. It says whose it is and since when it is valid, and the clock may have been wrong then.
   */
  #own(): Promise<Certificate> {
    const now = this.#init.monotonic()
    if (this.#certificate === undefined || now >= this.#certificateUntil) {
      this.#certificate = makeCertificate(this.#init.privateKey)
      this.#certificateUntil = now + bulkCertificateMs
    }
    return this.#certificate
  }

  /** Cuts the streams with an agent. */
  cut(agent: Uint8Array, reason: Error): void {
    for (const stream of [...this.#streams]) if (equalBytes(stream.agent, agent)) stream.abort(reason)
  }

  /** Cuts all of them; no more are taken or opened. Idempotent. */
  close(reason: Error): void {
    this.#isClosed = true
    for (const secure of this.#handshaking) secure.destroy()
    for (const stream of [...this.#streams]) stream.abort(reason)
  }

  [Symbol.dispose](): void {
    this.close(new Error('closed'))
  }
}
