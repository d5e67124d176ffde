import { fromHex, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { isUsablePublicKey } from '../identity/index.ts'
import { type ChainFacts, type ChainLimit, everything, isWithin, nothing } from './chain-limit.ts'
import { ChainLinks } from './chain-links.ts'
import { compareClocks, type Epoch, Epochs, type Owed } from './epochs.ts'
import { GroupFacts } from './group-facts.ts'
import { HexMap } from './hex-map.ts'
import { type ChainBounds, LinkedChain } from './linked-chain.ts'
import type { ChainName, Ending, EntryPosition, Fork, Grant, Member, ShownEntries } from './members.ts'
import { isRevokedBy, type Revokers, revokersOf } from './revoked-capabilities.ts'
import { compareRoles, mayAuthor, type Role, rankOf } from './roles.ts'
import { ShownOfChain } from './shown-of-chain.ts'
import {
  Additions,
  type AdoptStatement,
  type AuthEntry,
  type ChainOfLinks,
  chainKey,
  type EntryPlace,
  type EntrySeat,
  type GrantStatement,
  linksKey,
  noStatements,
  type Place,
  type Position,
  prefixOf,
  type RevokeStatement,
  type Statements,
} from './statements.ts'

/** What came to be held. In any order, with or without what was given before. */
export interface MembershipChange {
  /** Auth entries. */
  readonly auth?: Iterable<AuthEntry>
  /**
   * Places of held entries (auth ones too) that matter beyond what they say: of a chain in which two entries are held at one
   * seq, every held entry from the lowest such seq up; and entries that an adopt names. Of whoever holds a part, of a chain with
   * an adopt every held entry from the one that it names up. `needsLink` tells of later ones.
   */
  readonly links?: Iterable<EntryPlace>
}

const unbounded = plainly(everything)
const empty = plainly(nothing)

/**
 * The members of a namespace and what counts of its entries, as the entries that are held say. An immutable value: the
 * same entries make the same one, in whatever order and portions they came. The rule is in this folder's README.
 *
 * Most is evaluated when first asked for: to ask for one chain or agent costs what was said of it, not the size of
 * the namespace.
 */
export class Membership {
  /** Hash of the genesis entry, 32 bytes. */
  readonly namespace: Uint8Array
  /** Raw Ed25519 public key, 32 bytes. */
  readonly owner: Uint8Array
  /**
   * Hashes (hex) of the grants whose chains may count otherwise than in the membership that this was made from;
   * `undefined` when any may.
   */
  readonly touched: ReadonlySet<string> | undefined
  readonly #genesis: AuthEntry
  readonly #statements: Statements
  readonly #id: string
  readonly #ownerName: string
  readonly #found: Effects
  /** By grant, then incarnation; chains that nothing bounds are not in here. */
  readonly #chains = new Map<string, Map<string, ChainBounds>>()
  readonly #epochs: Epochs
  /** By jti, of those that were ended and asked about. */
  readonly #revokers = new Map<string, Revokers>()
  /** What it is as a group, and what it records of groups. */
  readonly groups: GroupFacts
  #members: readonly Member[] | undefined

  /** Whether of chains some entries are held and others not. */
  readonly isPart: boolean

  private constructor(
    genesis: AuthEntry,
    statements: Statements,
    { touched, isPart, found }: { touched: ReadonlySet<string> | undefined; isPart: boolean; found: Effects },
  ) {
    this.isPart = isPart
    this.#found = found
    this.namespace = genesis.hash
    this.owner = genesis.header.author
    this.touched = touched
    this.#genesis = genesis
    this.#statements = statements
    this.#id = toHex(genesis.hash)
    this.#ownerName = toHex(genesis.header.author)
    this.#epochs = new Epochs(statements, {
      ownerPrefix: prefixOf(this.#id),
      counts: (entry) => this.#counts(entry),
      isLive: (grant) => this.#isLive(grant),
      isEffective: (grant) => this.#isEffective(grant),
      rankUnder: ({ grant }) => rankOf(this.#roleUnder(grant) ?? 'reader'),
    })
    this.groups = new GroupFacts(statements, {
      group: this.isGroup ? genesis.hash : undefined,
      counts: (entry) => this.#counts(entry),
      isLive: (grant) => this.#isLive(grant),
      isSaidAbove: (role, entry) => this.#isSaidAbove(role, entry),
      revokesOf: (grant) => this.#revokesOf(grant),
    })
  }

  /**
   * A namespace of which only the beginning is held.
   * @param options.isPart whether of chains some entries will be held and others not
   * @throws INVALID_ARGUMENT for another entry than a genesis
   */
  static of(genesis: AuthEntry, { isPart = false }: { readonly isPart?: boolean } = {}): Membership {
    if (genesis.auth.kind !== 'genesis') throw new ArtifactHubError('INVALID_ARGUMENT', 'that entry is not a genesis')
    return new Membership(genesis, noStatements(), { touched: undefined, isPart, found: new Effects() })
  }

  /** The membership with more entries held. What it was given before is not counted twice. */
  with({ auth = [], links = [] }: MembershipChange): Membership {
    const additions = new Additions(this.#statements)
    for (const entry of auth) if (this.#isOfNamespace(entry)) additions.say(entry)
    for (const entry of links) if (this.#isOfNamespace(entry)) additions.link(entry)
    const { touched, statements } = additions
    const isWide = [...touched].some((grant) => statements.grants.get(grant)[0]?.role === 'admin')
    return new Membership(this.#genesis, statements, {
      touched: isWide ? undefined : touched,
      isPart: this.isPart,
      found: isWide || !additions.isSilent ? new Effects() : this.#found,
    })
  }

  /**
   * Whether an entry that came to be held must be given as a link: an adopt names it, or its chain is known to be forked.
   * For whoever holds a part: or an adopt names another of its chain. An entry that shares its seq with a held one of its chain begins a fork, and must be given with that one and all above.
   */
  needsLink({ hash, header }: EntryPlace): boolean {
    if (this.#statements.adopted.has(toHex(hash))) return true
    const { author, grant, incarnation } = header
    if (grant === undefined) return false
    const name = namesOf({ author, grant, incarnation })
    if (this.#linksOf(name) !== undefined) return true
    return this.isPart && this.#statements.adopts.has(chainKey(name.grant, name.incarnation))
  }

  /** Whether a held entry counts: its author had, at that place in its chain, the right to say it. */
  counts(entry: EntrySeat): boolean {
    return this.#isOfNamespace(entry) && this.#counts(new HeldPlace(entry))
  }

  /** Which entries of a chain count, whatever their kinds. */
  limitOf(chain: ChainName): ChainLimit {
    return this.#chainOf(namesOf(chain)).bounds.limit
  }

  /**
   * Which entries of a chain every member should hold: those within its limit and, of each fork that bounds it, the two with the
   * lowest hashes. `undefined` when nothing bounds it. The same for whoever holds these, whatever else they hold.
   */
  shownOf(chain: ChainName): ShownEntries | undefined {
    const name = namesOf(chain)
    const found = this.#chainOf(name)
    if (found.bounds.limit.below === Number.POSITIVE_INFINITY) return undefined
    return new ShownOfChain(found, this.#linksOf(name)?.linked.links ?? ChainLinks.none)
  }

  /**
   * From which number up every held entry of a chain was given as a link: the lowest that two share, or for who holds a part that an adopt names.
   * Infinity without such.
   */
  linkedFrom(chain: ChainName): number {
    const name = namesOf(chain)
    const forked = this.#linksOf(name)?.linked.links.forkSeq ?? Number.POSITIVE_INFINITY
    const adopts = this.isPart ? this.#statements.adopts.get(chainKey(name.grant, name.incarnation)) : []
    return adopts.reduce((low, { agent, target }) => (agent === name.author ? Math.min(low, target.seq) : low), forked)
  }

  /** Whether a cut or an adopt with effect names the entry: whoever said so ranks above its author, and held it. */
  isNamed({ hash, header }: EntryPlace): boolean {
    const name = toHex(hash)
    return this.#namingOf(header).some(({ position }) => position?.seq === header.seq && position.hash === name)
  }

  /** What decides whether an entry of a chain with branches counts: the targets of adopts with effect, and the lowest cuts if it is not beyond them. */
  namedBeside({ header }: EntryPlace): readonly EntryPosition[] {
    const named = this.#namingOf(header)
    const lowest = Math.min(
      ...named.map(({ position, isAdopt }) => (isAdopt ? Number.POSITIVE_INFINITY : (position?.seq ?? -1))),
    )
    return named.flatMap(({ position, isAdopt }) => {
      const isDeciding = isAdopt || (position?.seq === lowest && header.seq <= lowest)
      return position !== undefined && isDeciding ? [{ seq: position.seq, hash: fromHex(position.hash) }] : []
    })
  }

  /** Hashes of the adopts that have effect on the chain of an entry. */
  adoptsOf({ header }: EntryPlace): readonly Uint8Array[] {
    return this.#namingOf(header).flatMap(({ by, isAdopt }) => (isAdopt ? [fromHex(by)] : []))
  }

  /** The revokes and adopts that have effect on the chain of an entry and name a place in it: their hashes, and the seq that each names. */
  namersOf({ header }: EntryPlace): readonly { readonly by: Uint8Array; readonly seq: number }[] {
    return this.#namingOf(header).flatMap(({ position, by }) =>
      position === undefined ? [] : [{ by: fromHex(by), seq: position.seq }],
    )
  }

  /** The agent's highest live role; `undefined` for an agent that is no member. */
  roleOf(agent: Uint8Array): Role | undefined {
    return this.grantsOf(agent)[0]?.role
  }

  /** The agent's live grants: the highest role first, among equals the newest. The owner's first is the genesis. */
  grantsOf(agent: Uint8Array): readonly Grant[] {
    const name = toHex(agent)
    const grants = this.#statements.grantsByAgent.get(name).filter((grant) => this.#isLive(grant))
    const listed = grants.map((grant) => publicGrant(grant, true)).sort(compareGrants)
    return name === this.#ownerName ? [this.#ownerGrant(), ...listed] : listed
  }

  /**
   * What ended the roles of an agent that has none any more: of each of its grants the earliest revoke, by clock, that has
   * effect. Empty for a member, and for an agent that never had a role.
   */
  endingsOf(agent: Uint8Array): readonly Ending[] {
    const name = toHex(agent)
    const grants = this.#statements.grantsByAgent.get(name).filter((grant) => this.#isEffective(grant))
    if (name === this.#ownerName || grants.some((grant) => this.#isLive(grant))) return []
    return grants.flatMap((grant) => {
      const [first] = [...this.#revokesOf(grant)].sort((a, b) =>
        compareClocks(a.clock, b.clock, a.entry.hash, b.entry.hash),
      )
      if (first === undefined) return []
      const { entry, clock } = first
      return [{ revoke: fromHex(entry.hash), author: fromHex(entry.author), role: grant.role, clock }]
    })
  }

  /** Every grant to the agent that has effect, ended ones too, in no order. */
  everGrantedTo(agent: Uint8Array): readonly Grant[] {
    const given = this.#statements.grantsByAgent.get(toHex(agent)).filter((grant) => this.#isEffective(grant))
    return given.map((grant) => publicGrant(grant, this.#isLive(grant)))
  }

  /** A grant that has effect, live or ended; `undefined` when it is not held or has none. */
  grantOf(hash: Uint8Array): Grant | undefined {
    const name = toHex(hash)
    if (name === this.#id) return this.#ownerGrant()
    const grant = this.#statements.grants.get(name)[0]
    return grant !== undefined && this.#isEffective(grant) ? publicGrant(grant, this.#isLive(grant)) : undefined
  }

  /** Whether the grant entry is held, with effect or without: what stands under it may be kept. */
  knowsGrant(hash: Uint8Array): boolean {
    const name = toHex(hash)
    return name === this.#id || this.#statements.grants.has(name)
  }

  /**
   * Why a capability gives nothing; `undefined` when its issuer may issue such and nobody who may has ended it. Its time and
   * signature are for others to look at.
   *
   * @param capability.grant hash of the grant that it was issued under; of the genesis, for the owner
   */
  refusalOf(capability: {
    readonly jti: Uint8Array
    readonly issuer: Uint8Array
    readonly grant: Uint8Array
  }): 'REVOKED' | 'ISSUER_REMOVED' | undefined {
    const under = this.grantOf(capability.grant)
    const issuer = toHex(capability.issuer)
    const right = { issuer, rank: this.#rankUnder(toHex(capability.grant)) }
    const revokers = this.#revokersOf(toHex(capability.jti))
    if (revokers !== undefined && isRevokedBy(revokers, right)) return 'REVOKED'
    const mayIssue = under?.live === true && rankOf(under.role) >= 1 && toHex(under.agent) === issuer
    return mayIssue ? undefined : 'ISSUER_REMOVED'
  }

  /** Whether an agent ended a capability in an entry that counts: every member hears of that one. */
  hasTakenBack(agent: Uint8Array, jti: Uint8Array): boolean {
    const author = toHex(agent)
    return this.#statements.revocations.get(toHex(jti)).some((entry) => entry.author === author && this.#counts(entry))
  }

  /** Hashes of held entries that end capabilities and stand on branches of a forked chain, whether or not these count, while its grant is live. */
  revocationsOnBranches(chain: ChainName): readonly Uint8Array[] {
    const name = namesOf(chain)
    const under = this.#statements.grants.get(name.grant)[0]
    if (under === undefined || !this.#isLive(under)) return []
    return [...(this.#linksOf(name)?.revocations.keys() ?? [])].map(fromHex)
  }

  /**
   * Hashes of the entries that say why a capability gives nothing any more, and of those that they stand on: whoever holds these
   * as well comes to the same answer. Empty for one that is good.
   */
  evidenceAgainst(capability: {
    readonly jti: Uint8Array
    readonly issuer: Uint8Array
    readonly grant: Uint8Array
  }): readonly Uint8Array[] {
    const refusal = this.refusalOf(capability)
    if (refusal === undefined) return []
    // With the genesis, for who holds nothing yet.
    const found = new Set([this.#id])
    const open = [toHex(capability.grant)]
    if (refusal === 'REVOKED') {
      const right = { issuer: toHex(capability.issuer), rank: this.#rankUnder(toHex(capability.grant)) }
      for (const entry of this.#statements.revocations.get(toHex(capability.jti))) {
        if (!isRevokedBy(revokersOf([entry], this.#standing), right)) continue
        found.add(entry.hash)
        open.push(entry.grant)
      }
    }
    // From a grant up to the owner: what gave it, and what took it away.
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      const grant = this.#statements.grants.get(name)[0]
      if (grant === undefined || found.has(name)) continue
      found.add(name)
      open.push(grant.entry.grant)
      for (const { entry } of this.#revokesOf(grant)) {
        found.add(entry.hash)
        open.push(entry.grant)
      }
    }
    return [...found].map(fromHex)
  }

  /** Every agent with a live grant, ascending by agent. */
  get members(): readonly Member[] {
    this.#members ??= [...new Set([this.#ownerName, ...this.#statements.grantsByAgent.keys()])]
      .sort()
      .map(fromHex)
      .flatMap((agent) => {
        const grants = this.grantsOf(agent)
        return grants[0] === undefined ? [] : [{ agent, role: grants[0].role, grants }]
      })
    return this.#members
  }

  /** The lowest fork of each chain that counts only up to it, ascending by grant and incarnation. The owner's chains never do. */
  get forks(): readonly Fork[] {
    const byGrant = [...this.#statements.links.values()].sort(
      (one, two) => compareText(one.grant, two.grant) || compareText(one.incarnation, two.incarnation),
    )
    return byGrant.flatMap(({ author, grant, incarnation }) => {
      if (this.#statements.grants.get(grant)[0]?.agent !== author) return []
      const [lowest] = [...this.#chainOf({ author, grant, incarnation }).bounds.forks.values()]
      const [fork] = [...(lowest ?? [])].sort((a, b) => compareText(a.lowest[0] ?? '', b.lowest[0] ?? ''))
      if (fork === undefined) return []
      const { seq } = fork
      const [one = '', two = ''] = fork.lowest
      const chain = { author: fromHex(author), grant: fromHex(grant), incarnation: fromHex(incarnation) }
      return [{ ...chain, seq, hashes: [fromHex(one), fromHex(two)] as const }]
    })
  }

  /** Of whoever holds a part, hashes of entries that wait for links to tell which of several at one number is on the branch that is named. */
  get unclear(): readonly Uint8Array[] {
    if (!this.isPart) return []
    const chains = [...this.#statements.links.values()]
    return chains.flatMap((chain) => [...this.#chainOf(chain).bounds.unclear].map(fromHex))
  }

  /** Epochs whose rotate counts, the one to write under first among those that are good and can be opened. */
  get epochs(): readonly Epoch[] {
    return this.#epochs.ordered
  }

  /** Whether a rotate that counts began the epoch of that id: others need not hold what does not count. */
  isEpoch(id: Uint8Array): boolean {
    return this.#epochs.isBegun(id)
  }

  /** Ids of the epochs that entries which count say an epoch, one of `epochs` or another, to be wrapped under: better ones of `epochs`. */
  epochsAbove(id: Uint8Array): readonly Uint8Array[] {
    return this.#epochs.above(id)
  }

  /** Hashes of the rotates that are held and bring the epoch of that id, whether or not they count. */
  rotatesOf(id: Uint8Array): readonly Uint8Array[] {
    return this.#epochs.rotatesOf(id)
  }

  /** Whether a chain is known to be forked, or part of one to be adopted. */
  get hasForks(): boolean {
    return this.#statements.links.size > 0
  }

  /** Whether anything was ever ended or forked: until then all that was said counts. */
  get hasBounds(): boolean {
    return !this.#statements.revokes.isEmpty || this.hasForks
  }

  /** Whether the epoch of that id excludes everyone who is known to be no member. */
  isGoodEpoch(id: Uint8Array): boolean {
    return this.#epochs.isGood(id)
  }

  /**
   * Members, replicas aside, to none of whose live grants the epoch's secret was sealed: by anyone, or by those of at least a rank.
   * What a writer sealed may be rubbish, and only the member whom it names could tell.
   */
  lacking(id: Uint8Array, rank = 0): readonly Member[] {
    const sealed = this.#epochs.sealedTo(id, rank)
    return this.members.filter(
      ({ role, grants }) => role !== 'replica' && !grants.some(({ hash }) => sealed.has(prefixOf(toHex(hash)))),
    )
  }

  /** What is owed to the members: a rotation, or boxes of the best good epoch. In a group the one that others know it by must be good, and none stand above it for them. */
  get owed(): Owed {
    const epoch = this.epochs.find(({ id }) => this.isGoodEpoch(id))?.id
    const shown = this.groups.epoch
    const isShownGood =
      !this.isGroup || (shown !== undefined && this.isGoodEpoch(shown.epoch) && this.groups.rival === undefined)
    const boxes = epoch === undefined ? [] : this.lacking(epoch)
    return { rotation: epoch === undefined || !isShownGood, epoch, boxes }
  }

  /** Whether a rotation that is owed is so only for what writers sealed, and to whom: but for that there were an epoch. */
  get isRotationForced(): boolean {
    const shown = this.groups.epoch
    const ids = !this.isGroup ? this.epochs.map(({ id }) => id) : shown === undefined ? [] : [shown.epoch]
    const isForced = this.owed.rotation && ids.some((id) => this.#epochs.wouldBeGood(id))
    // What an admin brought about by forking is bounded by how much is held of what does not count.
    return isForced && this.groups.rival === undefined
  }

  /** Whether it is a group's. */
  get isGroup(): boolean {
    return this.#genesis.auth.kind === 'genesis' && this.#genesis.auth.type === 'group'
  }

  #isOfNamespace({ hash, header }: EntrySeat): boolean {
    return Buffer.compare(header.namespace ?? hash, this.namespace) === 0
  }

  #ownerGrant(): Grant {
    const { hash, header } = this.#genesis
    return { hash, agent: header.author, role: 'owner', clock: header.clock, live: true, via: undefined }
  }

  #counts(entry: StandingPlace): boolean {
    if (entry.kind === 'genesis') return entry.hash === this.#id
    const role = this.#roleUnder(entry.grant)
    if (role === undefined || !mayAuthor(role, entry.kind)) return false
    const { limit } = this.#chainOf(entry).bounds
    return limit === everything || isWithin(limit, entry.seq, entry.hash)
  }

  /** The role that a grant names, with effect or without. */
  #roleUnder(grant: string): Role | undefined {
    return grant === this.#id ? 'owner' : this.#statements.grants.get(grant)[0]?.role
  }

  /** Whether the author of an entry ranks above `role` by the grant that it stands under, and the entry counts. */
  #isSaidAbove(role: Role, entry: Place): boolean {
    // Ranks first: so what is asked for in turn always ranks higher, and asking ends, whatever anybody wrote.
    const authority = this.#roleUnder(entry.grant)
    return authority !== undefined && rankOf(authority) > rankOf(role) && this.#counts(entry)
  }

  #rankUnder(grant: string): number | undefined {
    const role = this.#roleUnder(grant)
    return role && rankOf(role)
  }

  #revokersOf(jti: string): Revokers | undefined {
    if (!this.#statements.revocations.has(jti)) return undefined
    const revokers = this.#revokers.get(jti) ?? revokersOf(this.#statements.revocations.get(jti), this.#standing)
    this.#revokers.set(jti, revokers)
    return revokers
  }

  get #standing(): Parameters<typeof revokersOf>[1] {
    return { rankOf: ({ grant }) => this.#rankUnder(grant), counts: (entry) => this.#counts(entry) }
  }

  #isEffective({ entry, role, agent }: GrantStatement): boolean {
    let effective = this.#found.effective.get(entry.hash)
    if (effective === undefined) {
      // Nothing can be sealed to what is no key: as a member it would keep every epoch from beginning.
      effective = this.#isSaidAbove(role, entry) && isUsablePublicKey(fromHex(agent))
      this.#found.effective.set(entry.hash, effective)
    }
    return effective
  }

  #isLive(grant: GrantStatement): boolean {
    return this.#isEffective(grant) && this.#revokesOf(grant).length === 0
  }

  #revokesOf({ entry, agent, role }: GrantStatement): readonly RevokeStatement[] {
    let revokes = this.#found.revokes.get(entry.hash)
    if (revokes === undefined) {
      revokes = this.#statements.revokes
        .get(entry.hash)
        .filter((revoke) => revoke.agent === agent && this.#isSaidAbove(role, revoke.entry))
      this.#found.revokes.set(entry.hash, revokes)
    }
    return revokes
  }

  #chainOf(chain: ChainNames): ChainBounds {
    const { author, grant: name } = chain
    if (name === this.#id) return author === this.#ownerName ? unbounded : empty
    const grant = this.#statements.grants.get(name)[0]
    if (grant === undefined || grant.agent !== author || !this.#isEffective(grant)) return empty
    if (!this.hasForks && this.#revokesOf(grant).length === 0) return unbounded
    let chains = this.#chains.get(name)
    if (chains === undefined) {
      chains = new Map()
      this.#chains.set(name, chains)
    }
    const { incarnation } = chain
    let found = chains.get(incarnation)
    if (found === undefined) {
      const linked = this.#linksOf({ author, grant: name, incarnation })?.linked ?? LinkedChain.none
      found = linked.boundsBy(this.#saidOf(grant, incarnation), { isPart: this.isPart })
      chains.set(incarnation, found)
    }
    return found
  }

  #linksOf(chain: ChainNames): ChainOfLinks | undefined {
    return this.#statements.links.get(linksKey(chain))
  }

  /** The positions in the chain of an entry that cuts and adopts with effect name. */
  #namingOf({ grant: hash, incarnation }: EntryPlace['header']): readonly Naming[] {
    const grant = hash === undefined ? undefined : this.#statements.grants.get(toHex(hash))[0]
    if (grant === undefined) return []
    const chain = toHex(incarnation)
    return [
      ...this.#revokesOf(grant).map(({ cuts, entry: { hash: by } }) => ({
        position: cuts.get(chain),
        by,
        isAdopt: false,
      })),
      ...this.#adoptsOf(grant, chain).map(({ target, entry: { hash: by } }) => ({
        position: target,
        by,
        isAdopt: true,
      })),
    ]
  }

  #adoptsOf({ agent, role, entry }: GrantStatement, incarnation: string): readonly AdoptStatement[] {
    const chain = chainKey(entry.hash, incarnation)
    let adopts = this.#found.adopts.get(chain)
    if (adopts === undefined) {
      adopts = this.#statements.adopts
        .get(chain)
        .filter((adopt) => adopt.agent === agent && this.#isSaidAbove(role, adopt.entry))
      this.#found.adopts.set(chain, adopts)
    }
    return adopts
  }

  #saidOf(grant: GrantStatement, incarnation: string): Pick<ChainFacts, 'cuts' | 'adopts'> {
    return {
      cuts: this.#revokesOf(grant).map(({ cuts }) => cuts.get(incarnation)),
      adopts: this.#adoptsOf(grant, incarnation).map(({ target }) => target),
    }
  }
}

/** What was found to have effect: the same in all memberships between which nothing came that says otherwise. */
class Effects {
  readonly effective = new Map<string, boolean>()
  /** By grant. */
  readonly revokes = new Map<string, readonly RevokeStatement[]>()
  /** By chain. */
  readonly adopts = new Map<string, readonly AdoptStatement[]>()
}

function plainly(limit: ChainLimit): ChainBounds {
  const none = { forks: HexMap.empty<never>(), ends: HexMap.empty<number>(), unclear: [], settledUpTo: -1 }
  return { bounds: { ...none, limit, with: () => undefined }, awaited: -1, era: limit }
}

function compareText(one: string, two: string): number {
  return one < two ? -1 : one > two ? 1 : 0
}

/** A chain as statements name it, in hex. */
type ChainNames = Pick<Place, 'author' | 'grant' | 'incarnation'>

function namesOf({ author, grant, incarnation }: ChainName): ChainNames {
  return { author: toHex(author), grant: toHex(grant), incarnation: toHex(incarnation) }
}

/** A position that a revoke or an adopt names; a revoke may cut a chain before its beginning. */
interface Naming {
  readonly position: Position | undefined
  /** Hash of the entry that says so, in hex. */
  readonly by: string
  readonly isAdopt: boolean
}

/** What of an entry's place decides whether it counts. */
type StandingPlace = Pick<Place, 'hash' | 'kind' | 'author' | 'grant' | 'incarnation' | 'seq'>

/**
 * As `placeOf`, but of most entries incarnation and hash are never asked for. A class: what is made for each getter of an object literal lives with
 * old objects, and keeps the entry until these are collected.
 */
class HeldPlace implements StandingPlace {
  readonly kind: StandingPlace['kind']
  readonly author: string
  readonly grant: string
  readonly seq: number
  readonly #entry: EntrySeat

  constructor(entry: EntrySeat) {
    const { hash, header } = entry
    this.kind = header.kind
    this.author = toHex(header.author)
    this.grant = toHex(header.grant ?? hash)
    this.seq = header.seq
    this.#entry = entry
  }

  get incarnation(): string {
    return toHex(this.#entry.header.incarnation)
  }

  get hash(): string {
    return toHex(this.#entry.hash)
  }
}

function publicGrant(grant: GrantStatement, live: boolean): Grant {
  const { entry, agent, role, clock, via } = grant
  return {
    hash: fromHex(entry.hash),
    agent: fromHex(agent),
    role,
    clock,
    live,
    via: via === undefined ? undefined : fromHex(via),
  }
}

function compareGrants(one: Grant, two: Grant): number {
  return compareRoles(one.role, two.role) || compareClocks(two.clock, one.clock, two.hash, one.hash)
}
