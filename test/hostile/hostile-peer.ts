import { type Network, startNetwork } from '../../node/network/index.ts'
import { walkTree } from '../../src/content/index.ts'
import { formatArtifactId, toHex } from '../../src/encoding/index.ts'
import { blocksProtocol } from '../../src/exchange/frames.ts'
import { joinNamespace, runSync, type SyncOutcome } from '../../src/exchange/index.ts'
import { encodeSyncMessage, type SyncMessage } from '../../src/exchange/sync-codec.ts'
import { syncProtocol } from '../../src/exchange/sync-run.ts'
import { RawStream } from '../../src/exchange/sync-world.test-helper.ts'
import { AskedStream, type TestContent } from '../../src/exchange/transfer.test-helper.ts'
import { formatDid, parseDid } from '../../src/identity/index.ts'
import { NamespaceNode, TestTime } from '../support/namespace-nodes.ts'

/** The machine's own time. */
export const scheduler = {
  now: Date.now,
  setTimer(delayMs: number, work: () => void) {
    const timer = setTimeout(work, delayMs)
    return () => clearTimeout(timer)
  },
}

/** What answers streams for blocks as it likes. */
export type BlocksAnswer = (stream: AskedStream, content: TestContent, signal: AbortSignal) => Promise<void>

/**
 * An agent with our own libp2p and our own log, and none of what keeps a node honest: nothing answers on it but what a test says, and
 * it sends any bytes to the one node that it is connected to.
 */
export class HostilePeer implements AsyncDisposable {
  readonly log: NamespaceNode
  readonly network: Network
  readonly did: string
  /** The node that it is after, 32 bytes. */
  readonly victim: Uint8Array
  readonly #stop = new AbortController()

  private constructor(log: NamespaceNode, network: Network, victim: Uint8Array) {
    this.log = log
    this.network = network
    this.victim = victim
    this.did = formatDid(log.agent.publicKey)
  }

  /** @param seed tells one from another */
  static async start(seed: number, victim: { did: string; addresses: readonly string[] }): Promise<HostilePeer> {
    const log = new NamespaceNode(seed, new TestTime())
    const network = await startNetwork({
      agent: log.agent,
      mode: 'lan',
      listen: ['/ip4/127.0.0.1/tcp/0'],
      now: Date.now,
      monotonic: () => performance.now(),
      random: log.env.random,
    })
    const agent = parseDid(victim.did)
    network.addAddresses(agent, victim.addresses)
    return new HostilePeer(log, network, agent)
  }

  /** Takes the log over from the victim, as any member does. */
  async join(id: Uint8Array): Promise<void> {
    const providers = [{ agent: this.victim, addresses: [] }]
    const create = (genesis: Uint8Array) => this.log.joinFrom(id, genesis)
    await joinNamespace({ network: this.network, scheduler, self: this.log.id, id, providers, create })
  }

  /** An honest round. */
  async sync(): Promise<SyncOutcome> {
    return await runSync({ network: this.network, scheduler, log: this.log.ns, agent: this.victim })
  }

  async openSync(): Promise<RawStream> {
    return new RawStream(await this.network.open(this.victim, syncProtocol))
  }

  /** Sends messages without end until the other side has enough of it; gives how many. */
  async sendForever(stream: RawStream, message: SyncMessage): Promise<number> {
    const bytes = encodeSyncMessage(message)
    for (let sent = 0; ; sent++) {
      try {
        await stream.bytes(bytes)
      } catch {
        return sent
      }
    }
  }

  /** Writes an artifact, says so, and answers whoever asks for its blocks as `answer` does. */
  async offer(name: string, write: () => Promise<Uint8Array>, answer: BlocksAnswer): Promise<string> {
    const artifact = await write()
    const record = await this.log.ns.catalog.get(artifact)
    if (record === undefined) throw new Error(`${name} was not written`)
    const blocks = this.log.blocks.held
    const leaves: string[] = []
    if (blocks.has(toHex(record.root.digest)) && name !== 'bomb') {
      for await (const block of walkTree({ root: record.root, blocks: this.log.blocks })) {
        if (block.kind === 'leaf') leaves.push(toHex(block.digest))
      }
    }
    const content: TestContent = { root: record.root, blocks, leaves }
    this.network.handle(blocksProtocol, async (stream, signal) => {
      const ends = AbortSignal.any([signal, this.#stop.signal])
      await answer(new AskedStream(stream, ends), content, ends)
    })
    await this.sync()
    return formatArtifactId(artifact)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the test is over'))
    await this.network.close()
  }
}

/** Reads a stream until it is ended or cut; gives how it went and how many bytes came. */
export async function drained(raw: RawStream): Promise<{ end: 'ended' | 'cut'; bytes: number }> {
  let bytes = 0
  try {
    for (;;) {
      const part = await raw.stream.read()
      if (part === undefined) return { end: 'ended', bytes }
      bytes += part.length
    }
  } catch {
    return { end: 'cut', bytes }
  }
}
