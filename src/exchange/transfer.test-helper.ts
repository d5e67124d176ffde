import {
  ManualScheduler,
  MemoryNetwork,
  type MemoryNetworkOptions,
  type MemoryPeer,
} from '../../test/support/memory-network.ts'
import { MemoryBlocks, seededBytes } from '../content/content.test-helper.ts'
import { type ContentEngine, type ContentRef, inThreadEngine, walkTree } from '../content/index.ts'
import { TreeBuilder } from '../content/tree.ts'
import { sha256, toHex } from '../encoding/index.ts'
import { leafOverheadBytes, minChunkBytes } from '../limits.ts'
import { type BlockServer, serveBlocks } from './blocks-server.ts'
import type { ServedNamespace } from './blocks-session.ts'
import { FrameReader, FrameWriter } from './frame-stream.ts'
import { type BlockRequest, blocksProtocol, decodeAskerFrame, encodeFrame, type ServerFrame } from './frames.ts'
import type { PeerStream } from './peer-network.ts'
import { Transfers } from './transfers.ts'

/** A content made for tests: leaves that look random, the tree over them, and what is in it. */
export interface TestContent {
  readonly root: ContentRef
  /** Blocks by digest in hex, nodes too. */
  readonly blocks: ReadonlyMap<string, Uint8Array<ArrayBuffer>>
  /** Digests of the leaves in order, in hex. */
  readonly leaves: readonly string[]
}

/** As many leaves as `kinds` has members; equal members are equal leaves. The last one is `lastBytes` long. */
export async function makeContent(kinds: readonly string[], lastBytes = 1000): Promise<TestContent> {
  const blocks = new Map<string, Uint8Array<ArrayBuffer>>()
  const made = new Map<string, Uint8Array>()
  const leaves: string[] = []
  const tree = new TreeBuilder(async ({ digest, bytes }) => {
    blocks.set(toHex(digest), new Uint8Array(bytes))
  })
  let storedBytes = 0
  for (const [index, kind] of kinds.entries()) {
    const length = index === kinds.length - 1 ? lastBytes : minChunkBytes + leafOverheadBytes
    const name = `${kind} ${length}`
    let digest = made.get(name)
    if (digest === undefined) {
      const bytes = seededBytes(name, length)
      digest = sha256(bytes)
      made.set(name, digest)
      blocks.set(toHex(digest), bytes)
    }
    leaves.push(toHex(digest))
    storedBytes += length
    await tree.add(digest, length)
  }
  const { digest, codec } = await tree.finish()
  return {
    root: { digest, codec, sizeBytes: storedBytes - leafOverheadBytes * kinds.length, storedBytes },
    blocks,
    leaves,
  }
}

/** A content of so many leaves, each of its own. */
export async function contentOf(leaves: number, seed = 'leaf'): Promise<TestContent> {
  return await makeContent(Array.from({ length: leaves }, (_, index) => `${seed} ${index}`))
}

export const namespace = sha256(Buffer.from('a namespace'))
export const artifact = namespace.slice(0, 20)

/** The agent of that name. */
export function agentOf(name: string): Uint8Array {
  return sha256(Buffer.from(`agent ${name}`))
}

/** What some nodes share. */
export class TestSwarm implements AsyncDisposable {
  readonly network: MemoryNetwork
  readonly scheduler = new ManualScheduler()
  readonly reader: MemoryPeer
  readonly transfers: Transfers
  readonly blocks = new MemoryBlocks()
  readonly providers: Uint8Array[] = []
  readonly servers: BlockServer[] = []
  /** Namespaces that a provider has besides: agent and namespace in hex. */
  readonly #others = new Map<string, ServedNamespace>()
  /** Agents that may read, in hex. Default: the reader. */
  readonly members = new Set<string>()
  /** Of the providers. */
  engine: Pick<ContentEngine, 'digest' | 'digestInPlace'> = inThreadEngine

  constructor(options?: MemoryNetworkOptions) {
    this.network = new MemoryNetwork(options)
    this.reader = this.network.join(agentOf('reader'))
    this.members.add(toHex(this.reader.agent))
    this.transfers = new Transfers({ network: this.reader, scheduler: this.scheduler, engine: inThreadEngine })
  }

  /** A peer that the reader knows as a provider, and that does not serve yet. */
  peer(name: string): MemoryPeer {
    const peer = this.network.join(agentOf(name))
    this.network.connect(peer, this.reader)
    this.providers.push(peer.agent)
    return peer
  }

  /** A peer that serves what is in `held` of a content. */
  provider(
    name: string,
    content: TestContent,
    held: ReadonlyMap<string, Uint8Array<ArrayBuffer>> = content.blocks,
    rootOf: (digest: Uint8Array) => ContentRef | undefined = (digest) =>
      toHex(digest) === toHex(content.root.digest) ? content.root : undefined,
  ): TestProvider {
    const peer = this.peer(name)
    const blocks = new MemoryBlocks()
    for (const [key, bytes] of held) blocks.blocks.set(key, bytes)
    const served: ServedNamespace = {
      blocks,
      roleOf: (agent) => (this.members.has(toHex(agent)) ? 'reader' : undefined),
      rootOf: (id, digest) => (toHex(id) === toHex(artifact) ? rootOf(digest) : undefined),
    }
    const server = serveBlocks({
      network: peer,
      scheduler: this.scheduler,
      engine: this.engine,
      self: peer.agent,
      lookup: (id) => (toHex(id) === toHex(namespace) ? served : this.#others.get(`${toHex(peer.agent)} ${toHex(id)}`)),
    })
    this.servers.push(server)
    return { peer, server, blocks }
  }

  /** A namespace that a provider has for everybody, that names a content, and that has no block of it. */
  namespaceOf({ peer }: TestProvider, id: Uint8Array, content: TestContent): void {
    this.#others.set(`${toHex(peer.agent)} ${toHex(id)}`, {
      blocks: new MemoryBlocks(),
      roleOf: () => 'owner',
      rootOf: () => content.root,
    })
  }

  open(content: TestContent, signal?: AbortSignal): ReturnType<Transfers['open']> {
    return this.transfers.open({
      namespace,
      artifact,
      root: content.root,
      blocks: this.blocks,
      providers: () => this.providers,
      signal,
    })
  }

  /** Lets 10 ms go by for every turn of the event loop until `work` is settled, and gives what it gives. */
  async during<T>(work: Promise<T>): Promise<T> {
    let isSettled = false
    const settle = (): void => {
      isSettled = true
    }
    work.then(settle, settle)
    while (!isSettled) {
      this.scheduler.advance(10)
      await nextTurn()
    }
    return await work
  }

  /** A peer that answers as `answer` likes; on bulk streams too, if there are to be any. */
  impostor(
    name: string,
    answer: (stream: AskedStream, signal: AbortSignal) => Promise<void>,
    options: { readonly bulk?: boolean } = {},
  ): MemoryPeer {
    const peer = this.peer(name)
    peer.handle(blocksProtocol, (stream, signal) => answer(new AskedStream(stream, signal), signal), options)
    return peer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transfers.close()
    for (const server of this.servers) await server.close()
  }
}

export interface TestProvider {
  readonly peer: MemoryPeer
  readonly server: BlockServer
  readonly blocks: MemoryBlocks
}

/** What of a content is not in a store, or not as it should be: digests in hex. */
export function wrongOf(content: TestContent, blocks: MemoryBlocks): string[] {
  return [...content.blocks]
    .filter(([key, bytes]) => Buffer.compare(blocks.blocks.get(key) ?? new Uint8Array(0), bytes) !== 0)
    .map(([key]) => key)
}

/** The digests of the leaves in order, in hex, read through `read`. */
export async function leavesThrough(
  content: TestContent,
  read: (digest: Uint8Array) => Promise<Uint8Array<ArrayBuffer> | undefined>,
): Promise<string[]> {
  const leaves: string[] = []
  for await (const block of walkTree({ root: content.root, blocks: { read } })) {
    if (block.kind === 'node') continue
    const bytes = await read(block.digest)
    if (bytes === undefined) throw new Error('a leaf is not here')
    leaves.push(toHex(sha256(bytes)))
  }
  return leaves
}

/** Waits until `condition` holds, looking again at every turn of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn()
}

/** Everything that is ready to run does. */
export async function nextTurn(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
}

/** A stream as a server sees it that keeps to no rules. */
export class AskedStream {
  readonly stream: PeerStream
  readonly #signal: AbortSignal
  readonly #reader: FrameReader
  readonly #writer: FrameWriter

  constructor(stream: PeerStream, signal: AbortSignal) {
    this.stream = stream
    this.#signal = signal
    this.#reader = new FrameReader(stream, 'asker')
    this.#writer = new FrameWriter(stream)
  }

  /** The next request; `undefined` when the other side has ended. Credit is passed over. */
  async request(): Promise<BlockRequest | undefined> {
    for (;;) {
      const raw = await this.#reader.next(this.#signal)
      if (raw === undefined) return undefined
      const frame = decodeAskerFrame(raw)
      if (frame.kind === 'request') return frame.request
    }
  }

  async send(...frames: readonly ServerFrame[]): Promise<void> {
    for (const frame of frames) await this.#writer.write(encodeFrame(frame), this.#signal)
  }

  /** Answers a request as an honest server does, but for the leaves, which `leaf` gives. */
  async answer(
    content: TestContent,
    request: BlockRequest,
    leaf: (index: number) => Uint8Array<ArrayBuffer> | undefined,
  ): Promise<void> {
    await this.send({ kind: 'accept' })
    if (request.nodes) await this.send({ kind: 'node', bytes: blockOf(content, toHex(content.root.digest)) })
    for (const { first, count } of request.runs) {
      for (let index = first; index < first + count; index++) {
        const bytes = leaf(index)
        if (bytes === undefined) await this.send({ kind: 'missing', run: { first: index, count: 1 } })
        else await this.send({ kind: 'leaf', index, bytes })
      }
    }
    await this.send({ kind: 'end' })
  }
}

/** A block of a content by its digest in hex. */
export function blockOf(content: TestContent, key: string): Uint8Array<ArrayBuffer> {
  return (content.blocks.get(key) as Uint8Array<ArrayBuffer>).slice()
}

/** A leaf of a content by its number. */
export function leafOf(content: TestContent, index: number): Uint8Array<ArrayBuffer> {
  return blockOf(content, content.leaves[index] as string)
}
