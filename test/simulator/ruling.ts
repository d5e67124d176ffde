import type { ShareClaims } from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import type { AuthBody, Entry, EntryKind } from '../../src/log/index.ts'
import type { Role } from '../../src/membership/index.ts'

const ranks: Readonly<Record<Role, number>> = { owner: 3, admin: 2, writer: 1, reader: 0, replica: 0 }
const roles = ['admin', 'writer', 'reader', 'replica'] as const
const written: readonly EntryKind[] = ['put', 'delete', 'drop', 'keys', 'share', 'revoke-capability', 'descriptor']
const ruled: readonly EntryKind[] = ['grant', 'revoke', 'adopt', 'rotate']

type Body<Kind extends AuthBody['kind']> = Extract<AuthBody, { kind: Kind }>
interface Said<Kind extends AuthBody['kind']> {
  readonly entry: Entry
  readonly body: Body<Kind>
}

interface Position {
  readonly seq: number
  readonly hash: Uint8Array
}

/**
 * Which entries count, worked out anew from the rule in `src/membership/README.md` over all entries at once: rank by rank from the owner
 * down, each chain as a tree. Shares nothing with the code that it is held against.
 */
export class Ruling {
  readonly #id: Uint8Array
  readonly #counting = new Set<string>()
  readonly #owner: string
  readonly #liveRoles = new Map<string, Role[]>()
  readonly #liveGrants = new Map<string, { readonly agent: string; readonly role: Role }>()
  readonly #endedGrants = new Set<string>()
  readonly #revocations: readonly Said<'revoke-capability'>[]
  readonly #roleOfGrant: ReadonlyMap<string, Role>

  constructor(id: Uint8Array, entries: readonly Entry[]) {
    this.#id = id
    const genesis = entries.find(({ hash }) => equalBytes(hash, id))
    if (genesis === undefined) throw new Error('there is no genesis')
    this.#owner = toHex(genesis.header.author)
    this.#counting.add(toHex(id))
    const grants = saidOf(entries, 'grant')
    const revokes = saidOf(entries, 'revoke')
    const adopts = saidOf(entries, 'adopt')
    this.#revocations = saidOf(entries, 'revoke-capability')
    for (const entry of entries) {
      if (this.#isOwners(entry)) this.#counting.add(toHex(entry.hash))
    }
    const roleOfGrant = new Map(grants.map(({ entry, body }) => [toHex(entry.hash), body.role]))
    this.#roleOfGrant = new Map<string, Role>([[toHex(id), 'owner'], ...roleOfGrant])
    this.#liveGrants.set(toHex(id), { agent: this.#owner, role: 'owner' })
    /** Whether somebody above a role said it, and it counts. */
    const isSaidAbove = (entry: Entry, role: Role): boolean => {
      const { grant } = entry.header
      const by: Role | undefined =
        grant === undefined ? undefined : equalBytes(grant, id) ? 'owner' : roleOfGrant.get(toHex(grant))
      return by !== undefined && ranks[by] > ranks[role] && this.#counting.has(toHex(entry.hash))
    }
    // Ranks from the top: what bears upon one is decided when its turn comes.
    for (const rank of [2, 1, 0]) {
      for (const grant of grants) {
        const { role } = grant.body
        if (ranks[role] !== rank || !isSaidAbove(grant.entry, role)) continue
        const isNamed = (hash: Uint8Array) => equalBytes(hash, grant.entry.hash)
        const ends = revokes.filter(
          ({ entry, body }) =>
            equalBytes(body.agent, grant.body.agent) && body.grants.some(isNamed) && isSaidAbove(entry, role),
        )
        const saves = adopts.filter(
          ({ entry, body }) =>
            equalBytes(body.agent, grant.body.agent) && isNamed(body.grant) && isSaidAbove(entry, role),
        )
        this.#judgeChains(grant, ends, saves, entries)
        const agent = toHex(grant.body.agent)
        if (ends.length > 0) {
          this.#endedGrants.add(toHex(grant.entry.hash))
          continue
        }
        this.#liveRoles.set(agent, [...(this.#liveRoles.get(agent) ?? []), role])
        this.#liveGrants.set(toHex(grant.entry.hash), { agent, role })
      }
    }
  }

  counts({ hash }: Entry): boolean {
    return this.#counting.has(toHex(hash))
  }

  /** Whether a rotate of a group holds for who is outside of it: it counts, and the grant by which it was written has not ended since. */
  holds(rotate: Entry): boolean {
    return this.counts(rotate) && this.#liveGrants.has(toHex(rotate.header.grant ?? this.#id))
  }

  roleOf(agent: Uint8Array): Role | undefined {
    if (toHex(agent) === this.#owner) return 'owner'
    const held = this.#liveRoles.get(toHex(agent)) ?? []
    return roles.find((role) => held.includes(role))
  }

  /** Whether a share was not taken back: its issuer's grant is there, and neither the issuer nor anybody above that grant's role revoked it. */
  isGiven({ issuer, grant, jti }: Pick<ShareClaims, 'issuer' | 'grant' | 'jti'>): boolean {
    const under = this.#liveGrants.get(toHex(grant))
    if (under === undefined || under.agent !== toHex(issuer) || ranks[under.role] < 1) return false
    return !this.#revocations.some(({ entry, body }) => {
      if (!body.jtis.some((one) => equalBytes(one, jti))) return false
      const by = this.#roleOfGrant.get(toHex(entry.header.grant ?? this.#id))
      const isAbove = by !== undefined && ranks[by] > ranks[under.role] && this.counts(entry)
      return isAbove || equalBytes(entry.header.author, issuer)
    })
  }

  /** Whether a grant (hash in hex) of a role that reads came to nothing without being ended. */
  isVoid(grant: string): boolean {
    return !this.#liveGrants.has(grant) && !this.#endedGrants.has(grant) && this.#roleOfGrant.get(grant) !== 'replica'
  }

  #isOwners({ header }: Entry): boolean {
    return header.grant !== undefined && equalBytes(header.grant, this.#id) && toHex(header.author) === this.#owner
  }

  #judgeChains(
    { entry: { hash: grant }, body: { agent, role } }: Said<'grant'>,
    ends: readonly Said<'revoke'>[],
    saves: readonly Said<'adopt'>[],
    entries: readonly Entry[],
  ): void {
    const chains = Map.groupBy(
      entries.filter(
        ({ header }) =>
          header.grant !== undefined && equalBytes(header.grant, grant) && equalBytes(header.author, agent),
      ),
      ({ header }) => toHex(header.incarnation),
    )
    const allowed = role === 'admin' ? [...written, ...ruled] : role === 'writer' ? written : []
    for (const [incarnation, chain] of chains) {
      const cuts = ends.map(({ body }) =>
        body.cuts.find((cut) => equalBytes(cut.grant, grant) && toHex(cut.incarnation) === incarnation),
      )
      const adopted = saves.filter(({ body }) => toHex(body.incarnation) === incarnation).map(({ body }) => body)
      for (const entry of countingOf(chain, cuts, adopted)) {
        if (allowed.includes(entry.header.kind)) this.#counting.add(toHex(entry.hash))
      }
    }
  }
}

/** The entries of one chain that count, of whatever kind. */
function countingOf(
  chain: readonly Entry[],
  cuts: readonly (Position | undefined)[],
  adopted: readonly Position[],
): Iterable<Entry> {
  const byHash = new Map(chain.map((entry) => [toHex(entry.hash), entry]))
  const held = ({ seq, hash }: Position): Entry | undefined => {
    const entry = byHash.get(toHex(hash))
    return entry?.header.seq === seq ? entry : undefined
  }
  const pathTo = (entry: Entry | undefined): Entry[] => {
    const path: Entry[] = []
    for (let at = entry; at !== undefined; at = at.header.previous && byHash.get(toHex(at.header.previous)))
      path.push(at)
    return path
  }
  const counting = new Set(adopted.flatMap((adopt) => pathTo(held(adopt))))
  const lowest = Math.min(Number.POSITIVE_INFINITY, ...cuts.map((cut) => cut?.seq ?? -1))
  const lowestCuts = cuts.filter((cut) => cut !== undefined && cut.seq === lowest) as Position[]
  for (const cut of lowestCuts) for (const entry of pathTo(held(cut))) counting.add(entry)
  const isOpenEnded = cuts.length === 0 || lowestCuts.some((cut) => held(cut) === undefined)
  if (!isOpenEnded) return counting
  const named = [...adopted, ...cuts.filter((cut) => cut !== undefined)]
  const settled = new Set(named.flatMap((place) => pathTo(held(place))))
  const after = Map.groupBy(chain, ({ header }) => (header.previous === undefined ? '' : toHex(header.previous)))
  const open = ['']
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const next = after.get(at) ?? []
    for (const entry of next) {
      // A cut that is not held leaves no room for another entry in its own place.
      if (entry.header.seq >= lowest || (next.length > 1 && !settled.has(entry))) continue
      counting.add(entry)
      open.push(toHex(entry.hash))
    }
  }
  return counting
}

function saidOf<Kind extends AuthBody['kind']>(entries: readonly Entry[], kind: Kind): Said<Kind>[] {
  return entries.flatMap((entry) => (entry.auth?.kind === kind ? [{ entry, body: entry.auth as Body<Kind> }] : []))
}
