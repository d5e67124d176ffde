import { type Capability, capabilityName } from '../../../src/capability/index.ts'
import { toHex } from '../../../src/encoding/index.ts'
import type { Following, KnownPeer } from '../../../src/exchange/index.ts'
import {
  maxEndedFollows,
  maxFollowedNamespaces,
  maxFollowedNamespacesOfSender,
  maxFollows,
  maxFollowsOfSender,
} from '../../../src/limits.ts'
import type { FollowEnd } from './follow-rows.ts'

/** Something that is followed, or was and has ended. */
export interface FollowEntry {
  readonly capability: Capability
  readonly scope: 'artifact' | 'auth'
  readonly isKept: boolean
  readonly message: string | undefined
  readonly peers: readonly KnownPeer[]
  /** On whose word it is followed, if that is not whoever issued it: it counts as theirs. */
  readonly by?: Uint8Array | undefined
  ended: FollowEnd | undefined
  hasArrived: boolean
  /** The epoch of a group in which this agent was a member last, when the namespace knows a later one. */
  refusedEpoch?: Uint8Array | undefined
  /** Agents (hex) that might have told that it did not end, and could not be asked. */
  unheard?: readonly string[] | undefined
  /** Whether this agent was told that it gives nothing any more. */
  isOut: boolean
  /** When it was told last, milliseconds since 1970. */
  outMs?: number | undefined
  /** What the replicator was last told of it. */
  following: Following | undefined
}

/** Of what there is as much as may be. */
export type FollowBound = 'sender' | 'all' | 'namespaces of sender' | 'namespaces'

/** What is known of a namespace (hex). */
interface OfNamespace {
  readonly entries: Map<string, FollowEntry>
  readonly byJti: Map<string, Set<FollowEntry>>
  /** Who may have it, by agent in hex: the one named for longest first. */
  readonly peers: Map<string, KnownPeer>
}

/** Agents that are remembered for one namespace: members are known from its log. */
const maxPeersOfNamespace = 256

/** How much there is of a sender, of what is kept and has not ended. */
interface OfSender {
  count: number
  /** By namespace. */
  readonly namespaces: Map<string, number>
}

/** The capabilities that a node follows artifacts by, found by name, namespace, artifact and jti, and how many of whom there are. */
export class FollowBook {
  readonly #namespaces = new Map<string, OfNamespace>()
  readonly #byName = new Map<string, FollowEntry>()
  readonly #byArtifact = new Map<string, Set<FollowEntry>>()
  readonly #senders = new Map<string, OfSender>()
  /** By namespace, how many that are kept and have not ended. */
  readonly #kept = new Map<string, number>()
  /** In the order of their ends. */
  readonly #ended = new Set<FollowEntry>()
  #count = 0

  /** Names of namespaces (hex) of which something is, or was, followed. */
  get namespaces(): Iterable<string> {
    return this.#namespaces.keys()
  }

  /** How many are kept and have not ended. */
  get size(): number {
    return this.#count
  }

  get ended(): ReadonlySet<FollowEntry> {
    return this.#ended
  }

  /** Those that ended first of more than are remembered, and those that ended before a time (ms since 1970). */
  *endedBefore(ms: number): Generator<FollowEntry> {
    let over = this.#ended.size - maxEndedFollows
    for (const entry of this.#ended) if (over-- > 0 || (entry.ended?.atMs ?? 0) < ms) yield entry
  }

  all(): Iterable<FollowEntry> {
    return this.#byName.values()
  }

  /** By namespace (hex). */
  of(namespace: string): Iterable<FollowEntry> {
    return this.#namespaces.get(namespace)?.entries.values() ?? []
  }

  /** By namespace and jti (both hex): who else can sign that jti has a capability of another name. */
  withJti(namespace: string, jti: string): Iterable<FollowEntry> {
    return this.#namespaces.get(namespace)?.byJti.get(jti) ?? []
  }

  /** Who may have something of a namespace (hex), the one that was named last first. */
  peersOf(namespace: string): readonly KnownPeer[] {
    return [...(this.#namespaces.get(namespace)?.peers.values() ?? [])].reverse()
  }

  /** By artifact, 20 bytes. */
  about(artifact: Uint8Array): Iterable<FollowEntry> {
    return this.#byArtifact.get(toHex(artifact)) ?? []
  }

  /** By name: `capabilityName`. */
  get(name: Uint8Array): FollowEntry | undefined {
    return this.#byName.get(toHex(name))
  }

  /** Whether anything that is kept and has not ended counts as an agent's (hex). */
  isSender(agent: string): boolean {
    return this.#senders.has(agent)
  }

  /** Senders (hex) of whom, for want of room, no more is followed. */
  get fullSenders(): string[] {
    return [...this.#senders].flatMap(([sender, { count, namespaces }]) =>
      count >= maxFollowsOfSender || namespaces.size >= maxFollowedNamespacesOfSender ? [sender] : [],
    )
  }

  /** What there is too much of to follow one more, beside some that are about to be; `undefined` when there is room. */
  boundFor(one: Counted, beside: readonly Counted[]): FollowBound | undefined {
    const [name, namespace] = [senderOf(one), toHex(one.capability.claims.namespace)]
    const sender = this.#senders.get(name)
    const ofSender = beside.filter((other) => senderOf(other) === name)
    if (this.#count + beside.length >= maxFollows) return 'all'
    if ((sender?.count ?? 0) + ofSender.length >= maxFollowsOfSender) return 'sender'
    const spaces = namesBeside(sender?.namespaces, ofSender)
    if (!spaces.isOld(namespace) && spaces.count >= maxFollowedNamespacesOfSender) return 'namespaces of sender'
    const all = namesBeside(this.#kept, beside)
    return !all.isOld(namespace) && all.count >= maxFollowedNamespaces ? 'namespaces' : undefined
  }

  /** Puts one in, in the place of the one of that name. */
  add(entry: FollowEntry): void {
    const { claims } = entry.capability
    const name = toHex(capabilityName(claims))
    const before = this.#byName.get(name)
    if (before !== undefined) this.remove(before)
    const namespace = toHex(claims.namespace)
    const known = this.#namespaces.get(namespace) ?? { entries: new Map(), byJti: new Map(), peers: new Map() }
    this.#namespaces.set(namespace, known)
    for (const peer of entry.peers) {
      known.peers.delete(toHex(peer.agent))
      known.peers.set(toHex(peer.agent), peer)
    }
    for (const agent of known.peers.keys()) {
      if (known.peers.size <= maxPeersOfNamespace) break
      known.peers.delete(agent)
    }
    known.entries.set(name, entry)
    addTo(known.byJti, toHex(claims.jti), entry)
    this.#byName.set(name, entry)
    addTo(this.#byArtifact, toHex(claims.artifact), entry)
    if (entry.ended === undefined) this.#tally(entry, 1)
    else this.#ended.add(entry)
  }

  remove(entry: FollowEntry): void {
    const { claims } = entry.capability
    const name = toHex(capabilityName(claims))
    const namespace = toHex(claims.namespace)
    const known = this.#namespaces.get(namespace)
    known?.entries.delete(name)
    if (known !== undefined) removeFrom(known.byJti, toHex(claims.jti), entry)
    if (known?.entries.size === 0) this.#namespaces.delete(namespace)
    this.#byName.delete(name)
    removeFrom(this.#byArtifact, toHex(claims.artifact), entry)
    if (!this.#ended.delete(entry)) this.#tally(entry, -1)
  }

  /** It gives nothing any more. */
  end(entry: FollowEntry, ended: FollowEnd): void {
    if (entry.ended !== undefined) return
    entry.ended = ended
    this.#tally(entry, -1)
    this.#ended.add(entry)
  }

  #tally(entry: FollowEntry, step: 1 | -1): void {
    if (!entry.isKept) return
    this.#count += step
    const [name, namespace] = [senderOf(entry), toHex(entry.capability.claims.namespace)]
    const sender = this.#senders.get(name) ?? { count: 0, namespaces: new Map<string, number>() }
    this.#senders.set(name, sender)
    sender.count += step
    addCount(sender.namespaces, namespace, step)
    addCount(this.#kept, namespace, step)
    if (sender.count === 0) this.#senders.delete(name)
  }
}

/** Whether it is for members of a group. */
export function isForGroup({ capability }: FollowEntry): boolean {
  return capability.claims.audience.some(({ kind }) => kind === 'group')
}

/** What is counted of an entry. */
type Counted = Pick<FollowEntry, 'capability' | 'by'>

/** In hex, as whose something counts. */
function senderOf({ capability, by }: Counted): string {
  return toHex(by ?? capability.claims.issuer)
}

/** The namespaces that there are, with those of some more capabilities. */
function namesBeside(known: ReadonlyMap<string, number> | undefined, beside: readonly Counted[]) {
  const spaces = beside.map(({ capability: { claims } }) => toHex(claims.namespace))
  const names = new Set(spaces.filter((name) => known?.has(name) !== true))
  return {
    count: (known?.size ?? 0) + names.size,
    isOld: (name: string) => known?.has(name) === true || names.has(name),
  }
}

function addTo<T>(all: Map<string, Set<T>>, name: string, one: T): void {
  const some = all.get(name)
  if (some === undefined) all.set(name, new Set([one]))
  else some.add(one)
}

function removeFrom<T>(all: Map<string, Set<T>>, name: string, one: T): void {
  const some = all.get(name)
  some?.delete(one)
  if (some?.size === 0) all.delete(name)
}

function addCount(counts: Map<string, number>, name: string, step: number): void {
  const count = (counts.get(name) ?? 0) + step
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}
