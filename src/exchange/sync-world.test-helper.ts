import {
  ManualScheduler,
  MemoryNetwork,
  type MemoryNetworkOptions,
  type MemoryPeer,
} from '../../test/support/memory-network.ts'
import { equalBytes } from '../encoding/index.ts'
import { agentOf, MemoryLog } from './memory-log.test-helper.ts'
import type { PeerStream } from './peer-network.ts'
import type { SyncServiceOptions } from './served-stream.ts'
import { decodeSyncMessage, encodeSyncMessage, type SyncMessage } from './sync-codec.ts'
import { runSync, type SyncOutcome, type SyncRunOptions, syncProtocol } from './sync-run.ts'
import { SyncService } from './sync-serve.ts'

export const [owner, ann, bob, eve] = [0, 1, 2, 3].map(agentOf) as [
  ReturnType<typeof agentOf>,
  ReturnType<typeof agentOf>,
  ReturnType<typeof agentOf>,
  ReturnType<typeof agentOf>,
]

/** A log on a network, served to others. */
export interface SyncNode {
  readonly peer: MemoryPeer
  readonly log: MemoryLog
  readonly service: SyncService
}

/** Nodes that are all connected with each other. */
export class SyncWorld {
  readonly network: MemoryNetwork
  readonly scheduler = new ManualScheduler()
  readonly nodes: SyncNode[] = []

  constructor(options: MemoryNetworkOptions = {}) {
    this.network = new MemoryNetwork(options)
  }

  /** A peer without a log: a stranger, or one who does as it likes. */
  peer(agent = eve): MemoryPeer {
    const peer = this.network.join(agent.publicKey)
    for (const node of this.nodes) this.network.connect(peer, node.peer)
    return peer
  }

  add(log: MemoryLog, more: Partial<Omit<SyncServiceOptions, 'self'>> = {}): SyncNode {
    const peer = this.peer(log.agent)
    const lookup = (id: Uint8Array): MemoryLog | undefined => (equalBytes(id, log.id) ? log : undefined)
    const service = new SyncService({
      network: peer,
      scheduler: this.scheduler,
      self: log.agent.publicKey,
      lookup,
      ...more,
    })
    const node = { peer, log, service }
    this.nodes.push(node)
    return node
  }

  sync(from: SyncNode, to: { readonly log: MemoryLog }, more: Partial<SyncRunOptions> = {}): Promise<SyncOutcome> {
    const { scheduler } = this
    return runSync({ network: from.peer, scheduler, log: from.log, agent: to.log.agent.publicKey, ...more })
  }
}

/** A log of the owner, who made Ann and Bob writers, and theirs as they joined. */
export function threeMembers(): [MemoryLog, MemoryLog, MemoryLog] {
  const log = MemoryLog.create(owner)
  log.grant(ann, 'writer')
  log.grant(bob, 'writer')
  const copies: [MemoryLog, MemoryLog] = [log.copy(ann), log.copy(bob)]
  return [log, ...copies]
}

/** Sync frames by hand, for peers that do as they like. */
export class RawStream {
  readonly stream: PeerStream
  #buffered = Buffer.alloc(0)

  constructor(stream: PeerStream) {
    this.stream = stream
  }

  static async open(from: MemoryPeer, to: Uint8Array): Promise<RawStream> {
    return new RawStream(await from.open(to, syncProtocol))
  }

  async send(message: SyncMessage): Promise<void> {
    await this.bytes(encodeSyncMessage(message))
  }

  /** A frame of any bytes. */
  async bytes(payload: Uint8Array, length = payload.length): Promise<void> {
    const header = Buffer.alloc(4)
    header.writeUInt32BE(length)
    await this.stream.write(Buffer.concat([header, payload]))
  }

  /** The next message; `undefined` when the other side has ended. */
  async receive(): Promise<SyncMessage | undefined> {
    for (;;) {
      const length = this.#buffered.length < 4 ? undefined : this.#buffered.readUInt32BE()
      if (length !== undefined && this.#buffered.length >= 4 + length) {
        const payload = this.#buffered.subarray(4, 4 + length)
        this.#buffered = this.#buffered.subarray(4 + length)
        return decodeSyncMessage(payload)
      }
      const bytes = await this.stream.read()
      if (bytes === undefined) return undefined
      this.#buffered = Buffer.concat([this.#buffered, bytes])
    }
  }
}
