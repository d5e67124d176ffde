/**
 * One ordered, reliable stream of bytes to an agent that has proven its key. Whoever has it ends it on every path:
 * `close` when both sides are through, `abort` otherwise.
 */
export interface PeerStream {
  /** Raw Ed25519 public key of the agent at the other end, 32 bytes. */
  readonly agent: Uint8Array
  /**
   * Hands bytes over. Resolves when more may be sent: that is the backpressure.
   * @throws UNAVAILABLE when the stream ended; the signal's reason
   */
  write(bytes: Uint8Array, options?: { signal?: AbortSignal | undefined }): Promise<void>
  /**
   * The next bytes, however the network cut them; `undefined` when the other side has ended its half. Nothing is read from
   * the network ahead of these calls beyond a fixed window. The bytes are the caller's: when they fill their buffer, it is too.
   * @throws UNAVAILABLE when the stream was cut; the signal's reason
   */
  read(options?: { signal?: AbortSignal | undefined }): Promise<Uint8Array | undefined>
  /**
   * The next bytes, put into `bytes` (not empty) from its start: as many as fit, fewer when the other side has ended its half, the stream was cut or the
   * signal was aborted after some had come; 0 when the other side has ended. Only on streams that can do it without another copy. `bytes` is not
   * touched any more once this is settled.
   * @throws as `read`
   */
  readInto?(bytes: Uint8Array, options?: { signal?: AbortSignal | undefined }): Promise<number>
  /** Bytes that have come so far, those too that nobody has read yet. Only with `readInto`, which may wait for many. */
  readonly receivedBytes?: number
  /** Ends this half after what was written; the other side reads `undefined`. Idempotent. */
  closeWrite(): Promise<void>
  /** Ends both halves once this one is through. Idempotent. */
  close(): Promise<void>
  /** Cuts the stream at once. Idempotent. */
  abort(reason: Error): void
}

/** Answers one stream that another agent opened. The stream is closed when it resolves and cut when it rejects. */
export type StreamHandler = (stream: PeerStream, signal: AbortSignal) => Promise<void>

/** What a peer did that it should not: counted by kind, and held against it. */
export type Misbehaviour = 'bad-block' | 'bad-entry' | 'bad-frame' | 'flood' | 'too-slow' | 'false-claim'

/** The other agents' nodes, as the core sees them: libp2p in a node, a simulation in tests. */
export interface PeerNetwork {
  /** Agents (32 bytes) with a connection now. */
  connected(): readonly Uint8Array[]
  /**
   * Opens a stream to an agent, dialling it when there is no connection and an address is known.
   * @throws UNAVAILABLE (`details.reason` says why: unknown address, refused, timed out, protocol not spoken); the signal's reason
   */
  open(agent: Uint8Array, protocol: string, options?: { signal?: AbortSignal | undefined }): Promise<PeerStream>
  /**
   * Opens a bulk stream: one on a connection of its own, whose bytes pass through nothing but TLS. It costs a handshake and is for much data.
   * `undefined` where there can be none (no direct TCP connection, a private network, an agent that does not serve it so): then `open` does.
   * @throws the signal's reason, and nothing else
   */
  openBulk(
    agent: Uint8Array,
    protocol: string,
    options?: { signal?: AbortSignal | undefined },
  ): Promise<PeerStream | undefined>
  /** Serves a protocol until the returned function is called; with `bulk` on bulk streams too. */
  handle(protocol: string, handler: StreamHandler, options?: { readonly bulk?: boolean }): () => void
  /** Told of connections made and lost until the returned function is called. */
  onPeer(listener: (agent: Uint8Array, connected: boolean) => void): () => void
  /** Tells connected agents that listen to `topic`, at best; no more than 64 KiB. Nobody passes it on. */
  hint(topic: string, payload: Uint8Array): void
  /** Hears hints on a topic, each from the connected agent that tells it, until the returned function is called. */
  onHint(topic: string, listener: (payload: Uint8Array, from: Uint8Array) => void): () => void
  /** Remembers where an agent may be dialled: multiaddr texts, from a ticket or a contact. */
  addAddresses(agent: Uint8Array, addresses: readonly string[]): void
  /** Where this node may be dialled now. */
  addresses(): readonly string[]
  /** Holds misbehaviour against a peer; enough of it ends the connection for a while. */
  penalise(agent: Uint8Array, misbehaviour: Misbehaviour): void
}
