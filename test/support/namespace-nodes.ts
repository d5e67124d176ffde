import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { type IngestedContent, ingestContent, inThreadEngine, sealInline } from '../../src/content/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import {
  Namespace,
  type NamespaceEnvironment,
  Quota,
  type Received,
  type StoredContent,
  writeDelete,
  writeFirstVersion,
  writeNextVersion,
} from '../../src/namespace/index.ts'
import type { ArtifactKey } from '../../src/sharing/index.ts'
import type { BlockWriter, NamespaceBlocks } from '../../src/storage/index.ts'
import { MemoryKeyValueStore } from './memory-key-value.ts'

/** Where content is, and its plaintext's SHA-256. */
type MadeContent = Pick<IngestedContent, 'sha256' | 'digest' | 'codec' | 'sizeBytes' | 'storedBytes'>

/** The blocks of a namespace in a map. */
export class MemoryBlocks implements NamespaceBlocks {
  readonly held = new Map<string, Uint8Array<ArrayBuffer>>()

  async read(digest: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.held.get(toHex(digest))?.slice()
  }

  async readInto(digest: Uint8Array, into: Uint8Array): Promise<number | undefined> {
    const bytes = this.held.get(toHex(digest))
    if (bytes !== undefined) into.set(bytes)
    return bytes?.length
  }

  async has(digests: readonly Uint8Array[]): Promise<boolean[]> {
    return digests.map((digest) => this.held.has(toHex(digest)))
  }

  openWriter(): BlockWriter {
    return {
      find: async (digest) => this.held.has(toHex(digest)),
      put: async (digest, bytes) => {
        const stored = !this.held.has(toHex(digest))
        this.held.set(toHex(digest), new Uint8Array(Buffer.concat(bytes instanceof Uint8Array ? [bytes] : [...bytes])))
        return { stored }
      },
      sync: async () => {},
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }
  }
}

/** Where the machines of a test have their time from; each has a clock of its own that may be wrong. */
export class TestTime {
  nowMs = 1_790_000_000_000

  /** A reading, each a millisecond later. */
  next = (): number => this.nowMs++
}

/** One agent on one machine in memory, and what it does in one namespace. */
export class NamespaceNode {
  readonly env: NamespaceEnvironment
  readonly store: MemoryKeyValueStore
  readonly blocks: MemoryBlocks
  readonly agent: AgentKey
  #namespace: Namespace | undefined

  /**
   * @param seed tells one agent from another, and decides all that it draws
   * @param copyOf another machine of the same agent, whose store is copied as it is, incarnation included
   */
  constructor(
    seed: number,
    time: TestTime,
    options: { copyOf?: NamespaceNode; skewMs?: number; agent?: AgentKey } = {},
  ) {
    const { copyOf, skewMs = 0, agent } = options
    this.agent = agent ?? new AgentKey(Uint8Array.from({ length: 32 }, (_, at) => (seed + at) & 0xff))
    this.store = copyOf === undefined ? new MemoryKeyValueStore() : copyOf.store.copy()
    this.blocks = new MemoryBlocks()
    for (const [name, bytes] of copyOf?.blocks.held ?? []) this.blocks.held.set(name, bytes)
    const random = numbers(seed * 7_919 + (copyOf === undefined ? 1 : 2))
    this.env = {
      store: this.store,
      packs: async () => this.blocks,
      agent: this.agent,
      incarnation: copyOf?.env.incarnation ?? bytesOf(random, 16),
      clock: new HybridClock(() => time.next() + skewMs),
      random: (length) => bytesOf(random, length),
    }
  }

  get ns(): Namespace {
    if (this.#namespace === undefined) throw new Error('this node has not opened its namespace')
    return this.#namespace
  }

  get id(): Uint8Array {
    return this.agent.publicKey
  }

  async create(options: { isGroup?: boolean } = {}): Promise<this> {
    this.#namespace = await Namespace.create(this.env, () => [], options)
    return this
  }

  async join(from: NamespaceNode): Promise<this> {
    await this.joinFrom(from.ns.id, (await from.ns.held.bytes(from.ns.id)) as Uint8Array)
    return this
  }

  /** Makes the namespace of that id from its genesis entry. */
  async joinFrom(id: Uint8Array, genesis: Uint8Array): Promise<Namespace> {
    this.#namespace = await Namespace.join(this.env, id, genesis, () => [])
    return this.#namespace
  }

  /** Opens the namespace of that id anew from the store. */
  async open(id: Uint8Array = this.ns.id): Promise<this> {
    await this.#namespace?.close()
    this.#namespace = await Namespace.open(this.env, id)
    return this
  }

  /** Writes a snippet; gives the artifact. */
  async write(text: string, name = text): Promise<Uint8Array> {
    const { ns } = this
    const salt = this.env.random(16)
    const artifact = ns.artifactOf(salt)
    const key = ns.artifactKeys.fresh(artifact)
    await writeFirstVersion(ns, {
      handle: { artifact, salt, key },
      wrap: undefined,
      isNew: true,
      state: { name, contentType: 'text/plain', metadata: {} },
      content: sealed(text, key),
      quota: this.#quota,
      reservation: undefined,
      also: [],
    })
    return artifact
  }

  /** Writes content that goes to blocks. */
  async writeLarge(content: Uint8Array, name: string): Promise<Uint8Array> {
    return await this.writeRoot(name, (keys) => this.#store(content, keys))
  }

  /** Writes an artifact of whatever `make` says its content is. */
  async writeRoot(
    name: string,
    make: (keys: ArtifactKey['content']) => Promise<MadeContent> | MadeContent,
  ): Promise<Uint8Array> {
    const { ns } = this
    const salt = this.env.random(16)
    const artifact = ns.artifactOf(salt)
    const key = ns.artifactKeys.fresh(artifact)
    const { sha256, digest, codec, sizeBytes, storedBytes } = await make(key.content)
    await writeFirstVersion(ns, {
      handle: { artifact, salt, key },
      wrap: undefined,
      isNew: true,
      state: { name, contentType: 'application/octet-stream', metadata: {} },
      content: {
        root: { digest, codec, inline: false, sizeBytes, storedBytes, keyId: key.id },
        sha256,
        leaf: undefined,
      },
      quota: this.#quota,
      reservation: undefined,
      also: [],
    })
    return artifact
  }

  async #store(content: Uint8Array, keys: ArtifactKey['content']): Promise<MadeContent> {
    const { ns } = this
    await using writer = ns.blocks.openWriter()
    return await ingestContent({
      source: {
        read: async (into, position) => {
          const part = content.subarray(position, position + into.length)
          into.set(part)
          return part.length
        },
      },
      keys,
      engine: inThreadEngine,
      blocks: writer,
      maxBytes: 1e9,
      signal: new AbortController().signal,
    })
  }

  /** Writes the next version of an artifact, with other text or with the content that it has. */
  async update(artifact: Uint8Array, text: string | undefined, name = text): Promise<void> {
    const { ns } = this
    const current = await ns.catalog.get(artifact)
    if (current === undefined) throw new Error('there is no such artifact')
    const handle = await ns.artifactKeys.handleOf(current)
    await writeNextVersion(ns, {
      handle,
      expectedVersion: undefined,
      restore: undefined,
      next: ({ state }) => ({
        state: { ...state, name: name ?? state.name },
        content: text === undefined ? undefined : sealed(text, handle.key),
      }),
      quota: this.#quota,
      reservation: undefined,
      also: [],
    })
  }

  async delete(artifact: Uint8Array): Promise<void> {
    const entry = await this.ns.held.entry(((await this.ns.catalog.get(artifact)) as { entry: Uint8Array }).entry)
    await writeDelete(this.ns, { artifact, salt: entry?.header.data?.artifactSalt as Uint8Array })
  }

  /** The text of an artifact's version; the current one without `version`. */
  async read(artifact: Uint8Array, version?: number | string): Promise<string | undefined> {
    const record = await this.ns.catalog.get(artifact, version)
    if (record === undefined) return undefined
    const key = await this.ns.artifactKeys.open(artifact, record.root.keyId)
    const leaf = await this.ns.blocks.read(record.root.digest)
    if (leaf === undefined) return undefined
    return Buffer.from(await inThreadEngine.open(leaf, record.root.digest, key.content.encryption)).toString()
  }

  /** Names of what is listed, in order. */
  async names(): Promise<string[]> {
    const { items } = await this.ns.catalog.list({ limit: 1_000 })
    return items.map(({ state }) => state.name).sort()
  }

  /** Takes over all that another node has and this one lacks; in two rounds where forks need it. */
  async pull(from: NamespaceNode): Promise<Received> {
    const sum = { stored: 0, known: 0, unlinked: [] as Uint8Array[], refused: [] as Received['refused'][number][] }
    const entries = await Array.fromAsync(from.ns.held.entriesBeyond(this.ns.held.vector()))
    for (let at = 0; at < entries.length; at += 50) {
      const { stored, known, unlinked, refused } = await this.ns.receive(entries.slice(at, at + 50))
      sum.stored += stored
      sum.known += known
      sum.unlinked.push(...unlinked)
      sum.refused.push(...refused)
    }
    return sum
  }

  get #quota(): Quota {
    return new Quota('enterprise', () => this.ns.totals.leafBytes)
  }
}

/** Has all nodes exchange what they hold until nothing moves. */
export async function converge(...nodes: readonly NamespaceNode[]): Promise<void> {
  for (let moved = 1; moved > 0; ) {
    moved = 0
    for (const to of nodes) for (const from of nodes) if (to !== from) moved += (await to.pull(from)).stored
  }
}

function sealed(text: string, key: { id: Uint8Array; content: Parameters<typeof sealInline>[1] }): StoredContent {
  const { leaf, sha256, ...root } = sealInline(Buffer.from(text), key.content)
  return { root: { ...root, inline: true, keyId: key.id }, sha256, leaf }
}

function bytesOf(random: () => number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => Math.floor(random() * 256))
}
