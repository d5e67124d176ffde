import { sha256, toHex } from '../encoding/index.ts'
import type { AuthBody, EntryHeader, EntryKind, KeySection } from '../log/index.ts'
import { type AuthEntry, type ChainName, Membership } from './index.ts'

/** An entry that nobody signed: evaluation comes after that. */
export interface TestEntry {
  readonly hash: Uint8Array
  readonly header: EntryHeader
  readonly auth: AuthBody | undefined
  readonly keys: KeySection | undefined
}

/** 32 bytes that stand for an agent's public key. */
export const agentNamed = (name: string) => sha256(Buffer.from(`agent ${name}`))
/** 16 bytes. */
export const incarnationNamed = (name: string) => sha256(Buffer.from(`incarnation ${name}`)).slice(0, 16)

/** What to append: by default a put after the chain's newest entry. */
export interface Append {
  readonly author: Uint8Array
  /** The grant entry it stands under; the genesis for the owner. */
  readonly under: TestEntry
  readonly inc?: string
  /** `null` begins the chain, beside what is there. */
  readonly after?: TestEntry | null
  readonly kind?: EntryKind
  readonly auth?: AuthBody
  readonly keyId?: Uint8Array
  readonly keys?: KeySection
  readonly wallMs?: number
}

/** Writes entries of a namespace as its members, honest or not, might. */
export class History {
  readonly owner = agentNamed('owner')
  readonly genesis: TestEntry
  readonly entries: TestEntry[] = []
  readonly #tips = new Map<string, TestEntry>()

  constructor() {
    this.genesis = this.#add({
      author: this.owner,
      kind: 'genesis',
      auth: { kind: 'genesis', type: 'namespace', nonce: new Uint8Array(16) },
    })
  }

  append({ under, ...rest }: Append): TestEntry {
    return this.#add({ ...rest, under })
  }

  grant(agent: Uint8Array, role: Extract<AuthBody, { kind: 'grant' }>['role'], by?: Partial<Append>): TestEntry {
    const sealed = by?.keyId !== undefined
    return this.say({ kind: 'grant', agent, role, sealed }, by)
  }

  /** Says something as the owner, or as somebody else. */
  say(auth: AuthBody, by: Partial<Append> = {}): TestEntry {
    return this.append({ author: this.owner, under: this.genesis, auth, kind: auth.kind, ...by })
  }

  /** Ends grants of one agent, with a cut at each of the entries. */
  revoke(grants: readonly TestEntry[], cuts: readonly TestEntry[], by?: Partial<Append>): TestEntry {
    const [first] = grants
    if (first?.auth?.kind !== 'grant') throw new Error('only grants are revoked')
    return this.say(
      {
        kind: 'revoke',
        agent: first.auth.agent,
        grants: grants.map(({ hash }) => hash),
        cuts: cuts.map(({ hash, header }) => ({
          grant: header.grant as Uint8Array,
          incarnation: header.incarnation,
          seq: header.seq,
          hash,
        })),
      },
      by,
    )
  }

  adopt({ hash, header }: TestEntry, by?: Partial<Append>): TestEntry {
    const { author: agent, grant, incarnation, seq } = header
    return this.say({ kind: 'adopt', agent, grant: grant as Uint8Array, incarnation, seq, hash }, by)
  }

  /** Puts one after the other. */
  puts(count: number, append: Append): TestEntry[] {
    const made: TestEntry[] = []
    for (let at = 0; at < count; at++)
      made.push(this.append(at === 0 ? append : { ...append, after: made[at - 1] as TestEntry }))
    return made
  }

  #add({
    author,
    under,
    inc = 'a',
    after,
    kind = 'put',
    auth,
    keyId,
    keys,
    wallMs,
  }: Partial<Append> & { author: Uint8Array }): TestEntry {
    const incarnation = incarnationNamed(inc)
    const chain = toHex(author) + toHex(under?.hash ?? new Uint8Array()) + inc
    const tip =
      this.#tips.get(chain) ?? (under !== undefined && under === this.genesis && inc === 'a' ? this.genesis : undefined)
    const previous = after === null ? undefined : (after ?? tip)
    const counter = this.entries.length
    const isData = kind === 'put' || kind === 'delete' || kind === 'drop' || kind === 'share'
    const header: EntryHeader = {
      kind,
      namespace: under === undefined ? undefined : this.genesis.hash,
      author,
      grant: under?.hash,
      incarnation,
      seq: previous === undefined ? 0 : previous.header.seq + 1,
      previous: previous?.hash,
      heads: [],
      clock: { wallMs: wallMs ?? 1_000 + counter, counter },
      keysHash: undefined,
      bodyHash: undefined,
      keyId,
      data: isData
        ? { artifactSalt: new Uint8Array(16), parents: [], gen: 1, root: undefined, versions: [] }
        : undefined,
    }
    const hash = sha256(Buffer.from(`entry ${counter}`))
    const entry: TestEntry = { hash, header, auth, keys }
    this.entries.push(entry)
    this.#tips.set(chain, entry)
    return entry
  }
}

/** Holds entries as a node does that receives them in batches, and tells a membership of them what it must be told. */
export class Holder {
  membership: Membership
  readonly #isPart: boolean
  readonly #held = new Map<string, TestEntry>()
  readonly #chains = new Map<string, TestEntry[]>()

  /** @param isPart whether of chains some entries will be held and others not */
  constructor(genesis: TestEntry, isPart = false) {
    this.#isPart = isPart
    this.membership = Membership.of(genesis as AuthEntry, { isPart })
    this.#hold(genesis)
  }

  receive(batch: readonly TestEntry[]): Membership {
    for (const entry of batch) this.#hold(entry)
    const withAuth = this.membership.with({
      auth: batch.filter((entry): entry is TestEntry & AuthEntry => entry.auth !== undefined),
    })
    const links: TestEntry[] = []
    for (const entry of batch) {
      const besides = this.#chainOf(entry)
      const { seq } = entry.header
      const isFork = besides.some(({ hash, header }) => header.seq === seq && toHex(hash) !== toHex(entry.hash))
      if (isFork) links.push(...besides.filter(({ header }) => header.seq >= seq))
      else if (withAuth.needsLink(entry)) links.push(entry)
      if (entry.auth?.kind !== 'adopt') continue
      const target = this.#held.get(toHex(entry.auth.hash))
      if (target !== undefined) links.push(target)
      if (!this.#isPart) continue
      const { agent: author, grant, incarnation, seq: from } = entry.auth
      const chain = this.#chainOf({ hash: entry.hash, header: { author, grant, incarnation } })
      links.push(...chain.filter(({ header }) => header.seq >= from))
    }
    this.membership = withAuth.with({ links })
    return this.membership
  }

  #hold(entry: TestEntry): void {
    if (this.#held.has(toHex(entry.hash))) return
    this.#held.set(toHex(entry.hash), entry)
    this.#chainOf(entry).push(entry)
  }

  #chainOf({
    hash,
    header,
  }: {
    hash: Uint8Array
    header: Omit<ChainName, 'grant'> & { readonly grant: Uint8Array | undefined }
  }): TestEntry[] {
    const name = [header.author, header.grant ?? hash, header.incarnation].map(toHex).join()
    const chain = this.#chains.get(name) ?? []
    this.#chains.set(name, chain)
    return chain
  }
}

/** The membership of a node that holds these. */
export function membershipOf(history: History, entries: readonly TestEntry[] = history.entries): Membership {
  return new Holder(history.genesis).receive(entries)
}
