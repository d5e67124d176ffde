import type { ClockReading } from '../catalog/index.ts'
import { toHex } from '../encoding/index.ts'
import {
  type AuthBody,
  type Entry,
  type EntryHeader,
  type EntryKind,
  type GroupRole,
  grantPrefix,
  type SealingBody,
} from '../log/index.ts'
import { RecordedProof } from './descriptor.ts'
import { FactIndex } from './fact-index.ts'
import { HexMap } from './hex-map.ts'
import { LinkedChain } from './linked-chain.ts'
import type { Role } from './roles.ts'

/** What evaluation reads of a held entry: its name, and where it stands. Hashes and signature were checked. */
export type EntryPlace = Pick<Entry, 'hash' | 'header'>

/** Where an entry stands, as far as it takes to see whether it counts. */
export interface EntrySeat {
  readonly hash: Uint8Array
  readonly header: Pick<EntryHeader, 'namespace' | 'kind' | 'author' | 'grant' | 'incarnation' | 'seq'>
}

/** An auth entry whose hashes and signature were checked; an `Entry` with `auth` is one. */
export interface AuthEntry extends EntryPlace {
  readonly auth: AuthBody
  /** Its wraps say which epochs come after which. */
  readonly keys?: Entry['keys']
}

/** An entry as evaluation keeps it: bytes as lowercase hex, and nothing that would keep the received bytes in memory. */
export interface Place {
  readonly hash: string
  readonly kind: EntryKind
  readonly author: string
  /** The genesis itself has its own hash here. */
  readonly grant: string
  readonly incarnation: string
  readonly seq: number
  readonly previous: string | undefined
}

/** A grant entry, whether or not it has effect. */
export interface GrantStatement {
  readonly entry: Place
  readonly clock: ClockReading
  readonly agent: string
  readonly role: Role
  /** The group that the agent has the role through. */
  readonly via: string | undefined
}

/** What a revoke says of one of the grants that it names. */
export interface RevokeStatement {
  readonly entry: Place
  readonly clock: ClockReading
  readonly agent: string
  /** By incarnation. */
  readonly cuts: ReadonlyMap<string, Position>
}

/** An adopt. */
export interface AdoptStatement {
  readonly entry: Place
  readonly agent: string
  readonly target: Position
}

/** An entry that seals an epoch secret to grants: a rotate, a keys, or a grant (to itself). */
export interface SealingStatement {
  readonly entry: Place
  readonly clock: ClockReading
  /** As `SealingBody.to`. */
  readonly to: readonly Uint8Array[]
  /** Ids of the epochs that it wraps under this one. */
  readonly wraps: readonly string[]
  /** Of a rotate in a group. */
  readonly group: GroupEpoch | undefined
}

/** What a group's epoch is known by outside it. */
interface GroupEpoch {
  /** Raw Ed25519 public key of the epoch's pair, 32 bytes. */
  readonly publicKey: Uint8Array
  readonly number: number
}

/** An entry that records a group's descriptor. */
export interface DescriptorStatement {
  readonly entry: Place
  readonly clock: ClockReading
  readonly role: GroupRole | undefined
  /** Hashes of entries that its author had seen and names. */
  readonly names: readonly string[]
  readonly proof: RecordedProof
}

/** A position in a chain, on one branch. */
export interface Position {
  readonly seq: number
  readonly hash: string
}

/** Everything that was said, by what it is said of. Immutable: `with` gives another. */
export interface Statements {
  /** By hash, entries that are in here. */
  readonly known: FactIndex<true>
  /** By hash of the grant entry: one. */
  readonly grants: FactIndex<GrantStatement>
  readonly grantsByAgent: FactIndex<GrantStatement>
  /** By `grantPrefix`. */
  readonly grantsByPrefix: FactIndex<GrantStatement>
  /** By grant. */
  readonly revokes: FactIndex<RevokeStatement>
  /** By chain. */
  readonly adopts: FactIndex<AdoptStatement>
  /** Hashes that adopts name. */
  readonly adopted: FactIndex<true>
  /** By id of the epoch. */
  readonly sealings: FactIndex<SealingStatement>
  /** By id of a capability (hex), the entries that end it. */
  readonly revocations: FactIndex<Place>
  /** By group. */
  readonly descriptors: FactIndex<DescriptorStatement>
  /** By `linksKey`: entries of forked chains, and those that adopts name. */
  readonly links: HexMap<ChainOfLinks>
}

/** Links, and whose they are: anyone can write entries that name another's grant. */
export interface ChainOfLinks extends Pick<Place, 'author' | 'grant' | 'incarnation'> {
  readonly linked: LinkedChain
  /** By hash, those that end capabilities. */
  readonly revocations: HexMap<true>
}

/** How a chain is named in the indexes. */
export function chainKey(grant: string, incarnation: string): string {
  return grant + incarnation
}

/** How a chain is named among `links`: what differs most comes first. */
export function linksKey({ author, grant, incarnation }: Pick<Place, 'author' | 'grant' | 'incarnation'>): string {
  return incarnation + grant + author
}

/** Nothing was said. */
export function noStatements(): Statements {
  return {
    known: FactIndex.empty(),
    grants: FactIndex.empty(),
    grantsByAgent: FactIndex.empty(),
    grantsByPrefix: FactIndex.empty(),
    revokes: FactIndex.empty(),
    adopts: FactIndex.empty(),
    adopted: FactIndex.empty(),
    sealings: FactIndex.empty(),
    revocations: FactIndex.empty(),
    descriptors: FactIndex.empty(),
    links: HexMap.empty(),
  }
}

/** What is new among entries, in the form that the indexes take. */
export class Additions {
  readonly #statements: Statements
  readonly #known = new Set<string>()
  readonly #grants: [string, GrantStatement][] = []
  readonly #revokes: [string, RevokeStatement][] = []
  readonly #adopts: [string, AdoptStatement][] = []
  readonly #sealings: [string, SealingStatement][] = []
  readonly #revocations: [string, Place][] = []
  readonly #descriptors: [string, DescriptorStatement][] = []
  #links: HexMap<ChainOfLinks>
  /** Grants whose chains what was added may bear upon. */
  readonly touched = new Set<string>()

  constructor(statements: Statements) {
    this.#statements = statements
    this.#links = statements.links
  }

  /** Takes in what an auth entry says, once. */
  say({ hash, header, auth, keys }: AuthEntry): void {
    const entry = placeOf({ hash, header })
    if (this.#known.has(entry.hash) || this.#statements.known.has(entry.hash)) return
    this.#known.add(entry.hash)
    const { clock } = header
    const keyId = header.keyId === undefined ? undefined : toHex(header.keyId)
    const wraps = (keys?.wraps ?? []).map((wrap) => toHex(wrap.keyId))
    switch (auth.kind) {
      case 'genesis':
        break
      case 'grant':
        this.#grants.push([
          entry.hash,
          { entry, clock, agent: toHex(auth.agent), role: auth.role, via: auth.via && toHex(auth.via) },
        ])
        this.touched.add(entry.hash)
        if (keyId !== undefined) {
          this.#sealings.push([keyId, { entry, clock, to: [grantPrefix(hash).slice()], wraps, group: undefined }])
        }
        break
      case 'revoke': {
        const agent = toHex(auth.agent)
        for (const grant of auth.grants.map(toHex)) {
          const cuts = auth.cuts.filter((cut) => toHex(cut.grant) === grant)
          const byIncarnation = cuts.map((cut) => [toHex(cut.incarnation), positionOf(cut)] as const)
          this.#revokes.push([grant, { entry, clock, agent, cuts: new Map(byIncarnation) }])
          this.touched.add(grant)
        }
        break
      }
      case 'adopt': {
        const chain = chainKey(toHex(auth.grant), toHex(auth.incarnation))
        this.#adopts.push([chain, { entry, agent: toHex(auth.agent), target: positionOf(auth) }])
        this.touched.add(toHex(auth.grant))
        break
      }
      case 'rotate':
      case 'keys':
        if (keyId === undefined) break
        this.#sealings.push([
          keyId,
          { entry, clock, to: auth.to.map((prefix) => prefix.slice()), wraps, group: groupEpochOf(auth) },
        ])
        break
      case 'revoke-capability':
        for (const jti of auth.jtis) this.#revocations.push([toHex(jti), entry])
        break
      case 'descriptor': {
        const proof = new RecordedProof(auth.group, auth.proof)
        this.#descriptors.push([
          toHex(auth.group),
          { entry, clock, role: auth.role, names: header.heads.map(toHex), proof },
        ])
        break
      }
    }
  }

  /** Takes in where an entry stands, once. */
  link(held: EntryPlace): void {
    const { author, grant, incarnation, kind, ...link } = placeOf(held)
    const key = linksKey({ author, grant, incarnation })
    const before = this.#links.get(key)
    const linked = (before?.linked ?? LinkedChain.none).with(link)
    if (linked === before?.linked) return
    const { revocations: others = HexMap.empty<true>(), ...name } = before ?? { author, grant, incarnation }
    const revocations = kind === 'revoke-capability' ? others.with(link.hash, true) : others
    this.#links = this.#links.with(key, { ...name, linked, revocations })
    this.touched.add(grant)
  }

  /** Whether nothing was added that may change what others have effect, but by way of entries that count. */
  get isSilent(): boolean {
    return this.#grants.length + this.#revokes.length + this.#adopts.length === 0
  }

  /** The statements with what was added. */
  get statements(): Statements {
    const {
      known,
      grants,
      grantsByAgent,
      grantsByPrefix,
      revokes,
      adopts,
      adopted,
      sealings,
      descriptors,
      revocations,
    } = this.#statements
    const all = this.#grants.map(([, grant]) => grant)
    return {
      known: known.with(marks(this.#known)),
      grants: grants.with(this.#grants),
      grantsByAgent: grantsByAgent.with(all.map((grant) => [grant.agent, grant])),
      grantsByPrefix: grantsByPrefix.with(all.map((grant) => [prefixOf(grant.entry.hash), grant])),
      revokes: revokes.with(this.#revokes),
      adopts: adopts.with(this.#adopts),
      adopted: adopted.with(this.#adopts.map(([, { target }]) => [target.hash, true])),
      sealings: sealings.with(this.#sealings),
      revocations: revocations.with(this.#revocations),
      descriptors: descriptors.with(this.#descriptors),
      links: this.#links,
    }
  }
}

/** Copied, so that the entry that it came in need not stay in memory. */
function groupEpochOf({ publicKey, number }: SealingBody): GroupEpoch | undefined {
  return publicKey === undefined || number === undefined ? undefined : { publicKey: publicKey.slice(), number }
}

/** The first 8 bytes of a hash, both in hex. */
export function prefixOf(hash: string): string {
  return hash.slice(0, 16)
}

/** An entry's place in the form that evaluation keeps. */
function placeOf({ hash, header }: EntryPlace): Place {
  const name = toHex(hash)
  return {
    hash: name,
    kind: header.kind,
    author: toHex(header.author),
    grant: header.grant === undefined ? name : toHex(header.grant),
    incarnation: toHex(header.incarnation),
    seq: header.seq,
    previous: header.previous === undefined ? undefined : toHex(header.previous),
  }
}

function positionOf({ seq, hash }: { readonly seq: number; readonly hash: Uint8Array }): Position {
  return { seq, hash: toHex(hash) }
}

function marks(names: ReadonlySet<string>): [string, true][] {
  return [...names].map((name) => [name, true])
}
