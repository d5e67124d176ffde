import { randomBytes } from 'node:crypto'
import { artifactIdOf, bytesText, concatBytes, equalBytes, sha256, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { AgentKey } from '../identity/index.ts'
import {
  decodeEntry,
  type Entry,
  encodeAuthBody,
  encodeEntry,
  type GrantedRole,
  type HeaderDraft,
  signEntry,
} from '../log/index.ts'
import type { HeldEntries, LogChange, Received, ReplicatedLog, StoredEntry, VectorRow } from './sync-log.ts'

/** An agent made from a number. */
export function agentOf(number: number): AgentKey {
  const seed = new Uint8Array(32)
  new DataView(seed.buffer).setUint32(0, number + 1)
  return new AgentKey(seed)
}

interface Held {
  readonly entry: Entry
  readonly chain: string
  /** Whether an entry held follows this one. */
  followed: boolean
}

/**
 * A log in memory that keeps to the rules of storing (form, signature, namespace, links, a grant that is held) and to the
 * simplest of membership: what the owner and admins grant counts, and nothing ends.
 */
export class MemoryLog implements ReplicatedLog, HeldEntries {
  readonly id: Uint8Array
  readonly held = this
  readonly agent: AgentKey
  /** Entries handed to `receive`, whatever became of them; and how often it was called. */
  readonly seen = { entries: 0, batches: 0, largestBatch: 0 }
  /** Whether an entry is stored only after the one before it; not so with who follows one artifact. */
  needsLinks = true
  /** Called before a batch is stored: a test can make it slow or fail. */
  beforeStore: (() => Promise<void>) | undefined
  readonly #held = new Map<string, Held>()
  readonly #chains = new Map<string, Held[]>()
  readonly #roles = new Map<string, { readonly role: string; readonly agent: Uint8Array; readonly grant: Uint8Array }>()
  readonly #listeners = new Set<(change: LogChange) => void>()
  #incarnation = new Uint8Array(16)
  #clock = 0
  #hash: Uint8Array | undefined

  private constructor(agent: AgentKey, id: Uint8Array) {
    this.agent = agent
    this.id = id
    this.newIncarnation()
  }

  static create(owner: AgentKey): MemoryLog {
    const draft: HeaderDraft = {
      kind: 'genesis',
      namespace: undefined,
      grant: undefined,
      incarnation: randomBytes(16),
      seq: 0,
      previous: undefined,
      heads: [],
      clock: { wallMs: 0, counter: 0 },
      keyId: undefined,
      data: undefined,
    }
    const { entry } = signEntry(owner, draft, {
      body: encodeAuthBody({ kind: 'genesis', type: 'namespace', nonce: randomBytes(16) }),
    })
    const log = new MemoryLog(owner, entry.hash)
    log.#incarnation = Uint8Array.from(draft.incarnation)
    log.#store(entry)
    return log
  }

  static join(agent: AgentKey, id: Uint8Array, genesis: Uint8Array): MemoryLog {
    const log = new MemoryLog(agent, id)
    log.#store(decodeEntry(genesis))
    return log
  }

  /** The same entries, of the same or another agent, that go their own way from here. A copy keeps its incarnation. */
  copy(agent = this.agent): MemoryLog {
    const log = new MemoryLog(agent, this.id)
    for (const { entry } of this.#held.values()) log.#store(entry)
    if (agent === this.agent) log.#incarnation = this.#incarnation
    return log
  }

  newIncarnation(): void {
    this.#incarnation = new Uint8Array(randomBytes(16))
  }

  get size(): number {
    return this.#held.size
  }

  /** Every entry's hash in hex, ascending. */
  get hashes(): string[] {
    return [...this.#held.keys()].sort()
  }

  grant(agent: AgentKey, role: GrantedRole): Uint8Array {
    const body = encodeAuthBody({ kind: 'grant', agent: agent.publicKey, role, sealed: false })
    const entry = this.#append({ kind: 'grant', keyId: undefined, data: undefined }, { body })
    this.#tell({ written: [encodeEntry(entry)], received: 0, authChanged: true })
    return entry.hash
  }

  /** A new artifact with content in the entry. */
  put(bodyBytes = 60, salt: Uint8Array = randomBytes(16)): Uint8Array {
    return this.putMany(1, bodyBytes, salt)[0] as Uint8Array
  }

  putMany(count: number, bodyBytes = 60, salt?: Uint8Array): Uint8Array[] {
    const hashes: Uint8Array[] = []
    const written: Uint8Array[] = []
    for (let made = 0; made < count; made++) {
      const leaf = randomBytes(31)
      const keyId = randomBytes(16)
      const root = { digest: sha256(leaf), codec: 0x55, inline: true, sizeBytes: 3, storedBytes: 31, keyId }
      const data = { artifactSalt: salt ?? randomBytes(16), parents: [], gen: 1, root, versions: [] }
      const entry = this.#append({ kind: 'put', keyId, data }, { body: randomBytes(bodyBytes), leaf })
      hashes.push(entry.hash)
      written.push(encodeEntry(entry))
    }
    this.#tell({ written, received: 0, authChanged: false })
    return hashes
  }

  /** Forgets body and leaf of an entry, as one that was received without. */
  strip(hash: Uint8Array): void {
    const held = this.#held.get(toHex(hash)) as Held
    this.#held.set(toHex(hash), { ...held, entry: { ...held.entry, body: undefined, leaf: undefined } })
  }

  #append(what: Pick<HeaderDraft, 'kind' | 'keyId' | 'data'>, sections: Parameters<typeof signEntry>[2]): Entry {
    const own = this.#roles.get(toHex(this.agent.publicKey))
    if (own === undefined) throw new Error('this agent has no role')
    const chain = chainOf(this.agent.publicKey, own.grant, this.#incarnation)
    const last = this.#chains.get(chain)?.at(-1)?.entry
    this.#clock += 1
    const draft: HeaderDraft = {
      ...what,
      namespace: this.id,
      grant: own.grant,
      incarnation: this.#incarnation,
      seq: last === undefined ? 0 : last.header.seq + 1,
      previous: last?.hash,
      heads: [],
      clock: { wallMs: this.#clock, counter: 0 },
    }
    const { entry } = signEntry(this.agent, draft, sections)
    this.#store(entry)
    return entry
  }

  #store(entry: Entry): void {
    const { header, hash } = entry
    const chain = chainOf(header.author, header.grant ?? hash, header.incarnation)
    const held: Held = { entry, chain, followed: false }
    this.#held.set(toHex(hash), held)
    const entries = this.#chains.get(chain)
    if (entries === undefined) this.#chains.set(chain, [held])
    else entries.push(held)
    const previous = header.previous && this.#held.get(toHex(header.previous))
    if (previous !== undefined) previous.followed = true
    if (entry.auth?.kind === 'genesis') {
      this.#roles.set(toHex(header.author), { role: 'owner', agent: header.author, grant: hash })
    }
    if (entry.auth?.kind === 'grant' && ['owner', 'admin'].includes(this.roleOf(header.author) ?? '')) {
      const { agent, role } = entry.auth
      if (!this.#roles.has(toHex(agent))) this.#roles.set(toHex(agent), { role, agent, grant: hash })
    }
    this.#hash = undefined
  }

  get vectorHash(): Uint8Array {
    this.#hash ??= sha256(
      ...[...this.vector()].map(({ chain, seq, hash }) => concatBytes(chain, Uint8Array.of(seq & 0xff), hash)),
    )
    return this.#hash
  }

  *vector(): Iterable<VectorRow> {
    for (const chain of [...this.#chains.keys()].sort()) {
      const tips = (this.#chains.get(chain) as Held[]).filter(({ followed }) => !followed)
      for (const { entry } of tips.sort((a, b) => Buffer.compare(a.entry.hash, b.entry.hash))) {
        yield { chain: Uint8Array.from(Buffer.from(chain, 'hex')), seq: entry.header.seq, hash: entry.hash }
      }
    }
  }

  async *entriesBeyond(theirs: Iterable<VectorRow>): AsyncIterable<Uint8Array> {
    const tips = new Map<string, VectorRow[]>()
    for (const row of theirs) tips.set(toHex(row.chain), [...(tips.get(toHex(row.chain)) ?? []), row])
    const rank = ([first]: Held[]): number => {
      const role = this.roleOf((first as Held).entry.header.author)
      return role === 'owner' ? 0 : role === 'admin' ? 1 : 2
    }
    const chains = [...this.#chains].sort(([, a], [, b]) => rank(a) - rank(b))
    for (const [chain, entries] of chains) {
      const lacking = new Map(entries.map(({ entry }) => [toHex(entry.hash), entry]))
      const highest = Math.max(...entries.map(({ entry }) => entry.header.seq))
      for (const { seq, hash } of tips.get(chain) ?? []) {
        let at = this.#held.get(toHex(hash))?.entry
        if (at === undefined && seq > highest) lacking.clear()
        for (; at !== undefined; at = at.header.previous && this.#held.get(toHex(at.header.previous))?.entry) {
          lacking.delete(toHex(at.hash))
        }
      }
      for (const entry of [...lacking.values()].sort((a, b) => a.header.seq - b.header.seq)) yield encodeEntry(entry)
    }
  }

  async receive(batch: readonly Uint8Array[], options: { signal?: AbortSignal | undefined } = {}): Promise<Received> {
    options.signal?.throwIfAborted()
    this.seen.entries += batch.length
    this.seen.batches += 1
    this.seen.largestBatch = Math.max(this.seen.largestBatch, batch.length)
    await new Promise<void>((resolve) => setImmediate(resolve))
    await this.beforeStore?.()
    options.signal?.throwIfAborted()
    const result = { stored: 0, known: 0, unlinked: [] as Uint8Array[], refused: [] as Received['refused'][number][] }
    let authChanged = false
    for (const bytes of batch) {
      try {
        const entry = decodeEntry(bytes)
        const held = this.#held.get(toHex(entry.hash))
        if (held !== undefined) {
          if (held.entry.body === undefined && entry.body !== undefined) {
            this.#held.set(toHex(entry.hash), { ...held, entry })
            result.stored += 1
          } else result.known += 1
          continue
        }
        const { namespace, previous, grant } = entry.header
        if (namespace === undefined || !equalBytes(namespace, this.id)) {
          result.refused.push({ hash: entry.hash, code: 'CORRUPT', why: 'of another namespace' })
        } else if (
          !this.#held.has(toHex(grant as Uint8Array)) ||
          (this.needsLinks && previous !== undefined && !this.#held.has(toHex(previous)))
        ) {
          result.unlinked.push(entry.hash)
        } else {
          this.#store(entry)
          result.stored += 1
          authChanged ||= entry.auth !== undefined
        }
      } catch (error) {
        if (!isHubError(error)) throw error
        result.refused.push({ hash: undefined, code: error.code, why: error.message })
      }
    }
    if (result.stored > 0) this.#tell({ written: [], received: result.stored, authChanged })
    return result
  }

  roleOf(agent: Uint8Array): string | undefined {
    return this.#roles.get(toHex(agent))?.role
  }

  async *claim(): AsyncIterable<Uint8Array> {
    const own = this.#roles.get(toHex(this.agent.publicKey))
    const bytes = own && (await this.bytes(own.grant))
    if (bytes !== undefined) yield bytes
  }

  provesRole(agent: Uint8Array, [bytes]: readonly Uint8Array[]): boolean {
    const { auth, header } = decodeEntry(bytes as Uint8Array)
    return auth?.kind === 'grant' && equalBytes(auth.agent, agent) && this.roleOf(header.author) === 'owner'
  }

  *memberAgents(): Iterable<Uint8Array> {
    for (const { agent } of this.#roles.values()) yield agent
  }

  async has(hash: Uint8Array): Promise<boolean> {
    return this.#held.has(toHex(hash))
  }

  async bytes(hash: Uint8Array): Promise<Uint8Array | undefined> {
    const held = this.#held.get(toHex(hash))
    return held === undefined ? undefined : encodeEntry(held.entry)
  }

  *incomplete(): Iterable<Uint8Array> {
    for (const { entry } of this.#held.values()) if (entry.body === undefined) yield entry.hash
  }

  async authIds(): Promise<{ ids: Uint8Array[]; hash: Uint8Array }> {
    const ids = (await Array.fromAsync(this.authEntries())).map(({ hash }) => hash.slice(0, 16)).sort(Buffer.compare)
    return { ids, hash: sha256(...ids) }
  }

  async *authEntries({ without }: { without?: ReadonlySet<string> } = {}): AsyncIterable<StoredEntry> {
    for (const { entry } of this.#held.values())
      if (entry.auth !== undefined && without?.has(bytesText(entry.hash.subarray(0, 16))) !== true)
        yield { hash: entry.hash, bytes: encodeEntry(entry) }
  }

  async *artifactEntries(artifact: Uint8Array): AsyncIterable<StoredEntry> {
    for (const { entry } of this.#held.values()) {
      const salt = entry.header.data?.artifactSalt
      if (salt !== undefined && equalBytes(artifactIdOf(this.id, salt), artifact))
        yield { hash: entry.hash, bytes: encodeEntry(entry) }
    }
  }

  subscribe(listener: (change: LogChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tell(change: LogChange): void {
    for (const listener of this.#listeners) listener(change)
  }
}

function chainOf(author: Uint8Array, grant: Uint8Array, incarnation: Uint8Array): string {
  return toHex(sha256(author, grant, incarnation).slice(0, 16))
}
