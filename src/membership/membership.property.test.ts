import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex } from '../encoding/index.ts'
import type { AuthBody, EntryKind } from '../log/index.ts'
import { agentNamed, History, Holder, incarnationNamed, membershipOf, type TestEntry } from './history.test-helper.ts'
import type { Membership, Role } from './index.ts'

const sameBytes = (one: Uint8Array | undefined, two: Uint8Array | undefined) =>
  (one === undefined ? '' : toHex(one)) === (two === undefined ? '' : toHex(two))

/**
 * The rule of the README written down a second time, with no index, no memory of what it found and no thought for cost:
 * every question goes through all entries again.
 */
class Definition {
  readonly #held: readonly TestEntry[]
  readonly #genesis: TestEntry

  constructor(genesis: TestEntry, held: readonly TestEntry[]) {
    this.#genesis = genesis
    this.#held = held
  }

  counts(entry: TestEntry): boolean {
    const { kind, author, grant } = entry.header
    if (kind === 'genesis') return entry === this.#genesis
    if (sameBytes(grant, this.#genesis.hash)) return sameBytes(author, this.#genesis.header.author)
    const given = this.#grant(grant)
    if (given === undefined || !sameBytes(given.body.agent, author) || !this.hasEffect(given.entry)) return false
    const { role } = given.body
    const writes: EntryKind[] = ['put', 'delete', 'drop', 'keys']
    const rules: EntryKind[] = ['grant', 'revoke', 'adopt', 'rotate']
    const allowed = role === 'admin' ? [...writes, ...rules] : role === 'writer' ? writes : []
    return allowed.includes(kind) && (this.#isAdopted(entry) || this.#isNotCut(entry))
  }

  roleOf(agent: Uint8Array): Role | undefined {
    if (sameBytes(agent, this.#genesis.header.author)) return 'owner'
    const roles = this.#held.flatMap((entry) =>
      entry.auth?.kind === 'grant' && sameBytes(entry.auth.agent, agent) && this.isLive(entry) ? [entry.auth.role] : [],
    )
    return (['admin', 'writer', 'reader', 'replica'] as const).find((role) => roles.includes(role))
  }

  isLive(grant: TestEntry): boolean {
    return this.hasEffect(grant) && this.#revokesOf(grant).length === 0
  }

  /** A grant, revoke or adopt that counts, by somebody of a higher rank than what it gives or bears upon. */
  hasEffect(entry: TestEntry, upon = entry): boolean {
    const { header } = entry
    const subject = upon.auth
    if (subject?.kind !== 'grant') return false
    const ranks: Record<Role, number> = { owner: 3, admin: 2, writer: 1, reader: 0, replica: 0 }
    const authority = sameBytes(header.grant, this.#genesis.hash) ? 'owner' : this.#grant(header.grant)?.body.role
    if (authority === undefined || ranks[authority] <= ranks[subject.role]) return false
    return this.counts(entry)
  }

  /** The lowest entries of each group of siblings for none of which a fork is settled, chain by chain. */
  openForks(): { chain: string; seq: number; hashes: string[] }[] {
    const found = new Map<string, { chain: string; seq: number; hashes: string[] }>()
    for (const entry of this.#held) {
      const siblings = this.#siblings(entry)
      const given = this.#grant(entry.header.grant)
      if (siblings.length < 2 || given === undefined || !this.hasEffect(given.entry)) continue
      if (!sameBytes(given.body.agent, entry.header.author)) continue
      const cuts = this.#cutsOf(entry)
      const lowest = Math.min(...cuts.map((cut) => cut?.seq ?? -1), Number.POSITIVE_INFINITY)
      const lowestCuts = cuts.filter((cut) => cut !== undefined && cut.seq === lowest)
      const isBoundByHeld =
        lowestCuts.length > 0 && lowestCuts.every((cut) => cut !== undefined && this.#target(entry, cut) !== undefined)
      if (entry.header.seq >= lowest || isBoundByHeld || siblings.some((sibling) => this.#isSettled(sibling))) continue
      const before = this.#previous(entry)
      if (before !== undefined && !this.#path(before).every((step) => this.#isUnforkedOrSettled(step))) continue
      const hashes = siblings
        .map(({ hash }) => toHex(hash))
        .sort()
        .slice(0, 2)
      const chain = chainOf(entry)
      const other = found.get(chain)
      const { seq } = entry.header
      const isLower =
        other === undefined || seq < other.seq || (seq === other.seq && String(hashes[0]) < String(other.hashes[0]))
      if (isLower) found.set(chain, { chain, seq, hashes })
    }
    return [...found.values()].sort((one, two) => (one.chain < two.chain ? -1 : 1))
  }

  #isAdopted(entry: TestEntry): boolean {
    return this.#adoptsOf(entry).some((adopt) => {
      const target = this.#target(entry, adopt)
      return target !== undefined && this.#path(target).includes(entry)
    })
  }

  #isNotCut(entry: TestEntry): boolean {
    const cuts = this.#cutsOf(entry)
    const isSettledAllTheWay = () => this.#path(entry).every((step) => this.#isUnforkedOrSettled(step))
    if (cuts.length === 0) return isSettledAllTheWay()
    const lowest = Math.min(...cuts.map((cut) => cut?.seq ?? -1))
    if (entry.header.seq > lowest) return false
    return cuts.some((cut) => {
      if (cut === undefined || cut.seq !== lowest) return false
      const target = this.#target(entry, cut)
      if (target !== undefined) return this.#path(target).includes(entry)
      return entry.header.seq < lowest && isSettledAllTheWay()
    })
  }

  #isUnforkedOrSettled(entry: TestEntry): boolean {
    return this.#siblings(entry).length === 1 || this.#isSettled(entry)
  }

  #isSettled(entry: TestEntry): boolean {
    return [...this.#adoptsOf(entry), ...this.#cutsOf(entry)].some((place) => {
      const target = place === undefined ? undefined : this.#target(entry, place)
      return target !== undefined && this.#path(target).includes(entry)
    })
  }

  #revokesOf(grant: TestEntry): Extract<AuthBody, { kind: 'revoke' }>[] {
    return this.#held.flatMap((entry) => {
      const { auth } = entry
      if (auth?.kind !== 'revoke' || grant.auth?.kind !== 'grant') return []
      const names = sameBytes(auth.agent, grant.auth.agent) && auth.grants.some((hash) => sameBytes(hash, grant.hash))
      return names && this.hasEffect(entry, grant) ? [auth] : []
    })
  }

  /** One for each revoke of the entry's grant. */
  #cutsOf({ header }: TestEntry) {
    const grant = this.#grant(header.grant)?.entry
    if (grant === undefined) return []
    return this.#revokesOf(grant).map(({ cuts }) =>
      cuts.find((cut) => sameBytes(cut.grant, grant.hash) && sameBytes(cut.incarnation, header.incarnation)),
    )
  }

  #adoptsOf({ header }: TestEntry): Extract<AuthBody, { kind: 'adopt' }>[] {
    const grant = this.#grant(header.grant)
    return this.#held.flatMap((entry) => {
      const { auth } = entry
      if (auth?.kind !== 'adopt' || grant === undefined) return []
      const names =
        sameBytes(auth.grant, grant.entry.hash) &&
        sameBytes(auth.incarnation, header.incarnation) &&
        sameBytes(auth.agent, grant.body.agent)
      return names && this.hasEffect(entry, grant.entry) ? [auth] : []
    })
  }

  /** The held entry that a cut or adopt names, if it stands in the chain of `entry` and where they say. */
  #target(entry: TestEntry, { seq, hash }: { seq: number; hash: Uint8Array }): TestEntry | undefined {
    return this.#held.find(
      (other) => sameBytes(other.hash, hash) && other.header.seq === seq && chainOf(other) === chainOf(entry),
    )
  }

  /** The entry and its ancestors. */
  #path(entry: TestEntry): TestEntry[] {
    const before = this.#previous(entry)
    return before === undefined ? [entry] : [entry, ...this.#path(before)]
  }

  #previous({ header }: TestEntry): TestEntry | undefined {
    return header.previous === undefined ? undefined : this.#held.find(({ hash }) => sameBytes(hash, header.previous))
  }

  #siblings(entry: TestEntry): TestEntry[] {
    const { seq, previous } = entry.header
    return this.#held.filter(
      ({ header, ...other }) =>
        header.seq === seq && sameBytes(header.previous, previous) && chainOf({ header, ...other }) === chainOf(entry),
    )
  }

  #grant(hash: Uint8Array | undefined) {
    const entry = this.#held.find((held) => held.auth?.kind === 'grant' && sameBytes(held.hash, hash))
    return entry?.auth?.kind === 'grant' ? { entry, body: entry.auth } : undefined
  }
}

function chainOf({ hash, header }: TestEntry): string {
  return [header.grant ?? hash, header.incarnation, header.author].map(toHex).join()
}

/** What is written, as numbers that pick among what there is; so histories shrink well. */
const step = fc.record({
  act: fc.constantFrom('put', 'put', 'put', 'grant', 'grant', 'revoke', 'adopt', 'keys', 'rotate'),
  grant: fc.nat(30),
  foreign: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0),
  inc: fc.constantFrom('a', 'a', 'b'),
  fork: fc.integer({ min: 0, max: 3 }).map((draw) => draw === 0),
  after: fc.nat(30),
  agent: fc.nat(3),
  role: fc.constantFrom('admin', 'admin', 'writer', 'writer', 'reader', 'replica'),
  targets: fc.array(fc.nat(60), { maxLength: 4 }),
  bogus: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
const steps = fc.array(step, { minLength: 1, maxLength: 30, size: 'max' })

const agents = ['ann', 'bob', 'eve', 'max'].map(agentNamed)

function historyOf(written: readonly Step[], isAllowed: (act: string) => boolean = () => true): History {
  const history = new History()
  for (const one of written) if (isAllowed(one.act)) take(history, one)
  return history
}

function take(history: History, one: Step): void {
  const pick = <T>(from: readonly T[], draw: number): T | undefined =>
    from.length === 0 ? undefined : from[draw % from.length]
  const grants = history.entries.filter(({ auth }) => auth?.kind === 'grant')
  const under = pick([history.genesis, ...grants], one.grant) as TestEntry
  const holder = under.auth?.kind === 'grant' ? under.auth.agent : history.owner
  const author = one.foreign ? (agents[one.agent] as Uint8Array) : holder
  const inc = under === history.genesis ? 'a' : one.inc
  const chain = history.entries.filter(
    ({ hash, header }) =>
      sameBytes(header.author, author) &&
      sameBytes(header.grant ?? hash, under.hash) &&
      sameBytes(header.incarnation, incarnationNamed(inc)),
  )
  const after = one.fork ? (pick(chain, one.after) ?? null) : undefined
  const by = { author, under, inc, ...(after === undefined ? {} : { after }) }
  const others = history.entries.filter(
    ({ header }) => header.grant !== undefined && !sameBytes(header.grant, history.genesis.hash),
  )
  switch (one.act) {
    case 'grant':
      history.grant(agents[one.agent] as Uint8Array, one.role as 'writer', by)
      return
    case 'revoke': {
      const named = grants.filter(({ auth }) => auth?.kind === 'grant' && sameBytes(auth.agent, agents[one.agent]))
      if (named.length === 0) return
      const cuts = new Map<string, TestEntry>()
      for (const target of one.targets) {
        const cut = pick(
          others.filter(({ header }) => named.some(({ hash }) => sameBytes(hash, header.grant))),
          target,
        )
        if (cut !== undefined) cuts.set(chainOf(cut).slice(0, 97), one.bogus ? displaced(cut) : cut)
      }
      history.revoke(named.slice(0, 2), [...cuts.values()], by)
      return
    }
    case 'adopt': {
      const target = pick(others, one.targets[0] ?? 0)
      if (target !== undefined) history.adopt(one.bogus ? displaced(target) : target, by)
      return
    }
    default:
      history.append({ ...by, kind: one.act as EntryKind })
  }
}

/** The entry as if it stood one further on. */
function displaced(entry: TestEntry): TestEntry {
  return { ...entry, header: { ...entry.header, seq: entry.header.seq + 1 } }
}

/** Those of a history that a node may hold: with every entry those before it in its chain. */
function heldOf(history: History, leftOut: readonly number[]): TestEntry[] {
  const missing = new Set(
    leftOut.map((at) => history.entries[at % history.entries.length]).filter((entry) => entry !== history.genesis),
  )
  const held = new Map<string, TestEntry>()
  for (const entry of history.entries) {
    const { previous } = entry.header
    if (!missing.has(entry) && (previous === undefined || held.has(toHex(previous)))) held.set(toHex(entry.hash), entry)
  }
  return [...held.values()]
}

/** Everything that a membership answers, in a form that can be compared. */
function answers(membership: Membership, entries: readonly TestEntry[]) {
  return {
    counting: entries
      .filter((entry) => membership.counts(entry))
      .map(({ hash }) => toHex(hash))
      .sort(),
    members: membership.members,
    forks: membership.forks,
    epochs: membership.epochs.map((epoch) => ({ ...epoch, good: membership.isGoodEpoch(epoch.id) })),
    owed: membership.owed,
  }
}

const subset = fc.array(fc.nat(60), { maxLength: 8 })
const rankUnder = (history: History, { header }: TestEntry) => {
  if (header.grant === undefined || sameBytes(header.grant, history.genesis.hash)) return 3
  const auth = history.entries.find(({ hash }) => sameBytes(hash, header.grant))?.auth
  return auth?.kind !== 'grant' ? 0 : { admin: 2, writer: 1, reader: 0, replica: 0 }[auth.role]
}

describe('membership of random histories', () => {
  it('is what the definition says', () => {
    const seen = { voided: 0, forked: 0, adopted: 0 }
    fc.assert(
      fc.property(steps, subset, (written, leftOut) => {
        const history = historyOf(written)
        const held = heldOf(history, leftOut)
        const membership = membershipOf(history, held)
        const definition = new Definition(history.genesis, held)
        for (const entry of held) {
          const counting = definition.counts(entry)
          expect(membership.counts(entry), `entry ${history.entries.indexOf(entry)}`).toBe(counting)
          if (!counting) seen.voided += 1
          if (entry.auth?.kind !== 'grant') continue
          const grant = membership.grantOf(entry.hash)
          expect(grant !== undefined).toBe(definition.hasEffect(entry))
          expect(grant?.live === true).toBe(definition.isLive(entry))
        }
        for (const agent of [...agents, history.owner]) expect(membership.roleOf(agent)).toBe(definition.roleOf(agent))
        const forks = membership.forks.map(({ author, grant, incarnation, seq, hashes }) => ({
          chain: [grant, incarnation, author].map(toHex).join(),
          seq,
          hashes: hashes.map(toHex),
        }))
        expect(forks).toEqual(definition.openForks())
        if (forks.length > 0) seen.forked += 1
        if (held.some((entry) => entry.auth?.kind === 'adopt' && definition.counts(entry))) seen.adopted += 1
      }),
      { numRuns: 600 },
    )
    // The histories are worth comparing only if all of this happens in them.
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(3)
  })

  it.each([false, true])(
    'is the same for every order and every grouping of arrivals, with entries that come twice, of whoever holds a part: %s',
    (isPart) => {
      fc.assert(
        fc.property(steps, subset, fc.infiniteStream(fc.nat(1_000_000)), (written, leftOut, draws) => {
          const history = historyOf(written)
          const missing = new Set(isPart ? leftOut : [])
          const held = history.entries.filter((entry, at) => entry === history.genesis || !missing.has(at))
          const draw = () => draws.next().value as number
          const shuffled = [...held, ...held.filter(() => draw() % 4 === 0)]
            .map((entry) => ({ entry, at: draw() }))
            .sort((one, two) => one.at - two.at)
            .map(({ entry }) => entry)
          const holder = new Holder(history.genesis, isPart)
          while (shuffled.length > 0) {
            holder.receive(shuffled.splice(0, 1 + (draw() % 5)))
            // What is asked for on the way must leave nothing behind.
            if (draw() % 2 === 0) answers(holder.membership, history.entries)
          }
          const atOnce = new Holder(history.genesis, isPart).receive(held)
          expect(answers(holder.membership, held)).toEqual(answers(atOnce, held))
        }),
        { numRuns: 300 },
      )
    },
  )

  it('never lets a chain change what chains of its rank or above mean', () => {
    fc.assert(
      fc.property(steps, fc.nat(60), (written, draw) => {
        const history = historyOf(written)
        const chosen = history.entries[draw % history.entries.length] as TestEntry
        const rank = rankUnder(history, chosen)
        fc.pre(rank < 3)
        const others = history.entries.filter((entry) => chainOf(entry) !== chainOf(chosen))
        const [without, whole] = [membershipOf(history, others), membershipOf(history)]
        for (const entry of others) {
          if (rankUnder(history, entry) >= rank) expect(whole.counts(entry)).toBe(without.counts(entry))
        }
      }),
      { numRuns: 300 },
    )
  })

  it('never lets a chain that the owner ended gain entries beyond the cut by later arrivals, but for adopts', () => {
    fc.assert(
      fc.property(steps, subset, (written, leftOut) => {
        const history = historyOf(written, (act) => act !== 'adopt')
        const ofOwner = ({ header, auth }: TestEntry) =>
          auth?.kind === 'revoke' &&
          sameBytes(header.grant, history.genesis.hash) &&
          sameBytes(header.author, history.owner)
        const whole = membershipOf(history)
        // Two may name two branches at one place: both count up to there.
        const named = new Set(
          history.entries
            .filter(ofOwner)
            .flatMap(({ auth }) => (auth?.kind === 'revoke' ? auth.cuts.map(({ hash }) => toHex(hash)) : [])),
        )
        for (const { auth } of heldOf(history, leftOut).filter(ofOwner)) {
          if (auth?.kind !== 'revoke') continue
          for (const entry of history.entries) {
            const { grant, incarnation, seq } = entry.header
            const isEnded = auth.grants.some((hash) => sameBytes(hash, grant))
            const given = history.entries.find(({ hash }) => sameBytes(hash, grant))?.auth
            if (!isEnded || given?.kind !== 'grant' || !sameBytes(given.agent, auth.agent) || !whole.counts(entry))
              continue
            const cut = auth.cuts.find((one) => sameBytes(one.grant, grant) && sameBytes(one.incarnation, incarnation))
            expect(seq).toBeLessThanOrEqual(cut?.seq ?? -1)
            if (seq === cut?.seq) expect(named).toContain(toHex(entry.hash))
          }
        }
      }),
      { numRuns: 300 },
    )
  })
})
