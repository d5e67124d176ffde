import type { Place, Position } from './statements.ts'

/** Which entries of a chain count. */
export interface ChainLimit {
  /** Every held entry with a lower seq counts. Infinity: all. */
  readonly below: number
  /** Entries at or above `below` that count, by hash in hex, with their seq. */
  readonly beyond: ReadonlyMap<string, number>
}

/** A chain of which nothing counts. */
export const nothing: ChainLimit = { below: 0, beyond: new Map() }
/** A chain of which everything counts. */
export const everything: ChainLimit = { below: Number.POSITIVE_INFINITY, beyond: new Map() }

/** Whether the entry of that seq and hash (hex) counts. */
export function isWithin(limit: ChainLimit, seq: number, hash: string): boolean {
  return seq < limit.below || limit.beyond.get(hash) === seq
}

/** Whether the same entries count by both. */
export function sameLimit(one: ChainLimit, two: ChainLimit): boolean {
  if (one === two) return true
  if (one.below !== two.below || one.beyond.size !== two.beyond.size) return false
  for (const [hash, seq] of one.beyond) if (two.beyond.get(hash) !== seq) return false
  return true
}

/** What was said of a chain by those who may. */
export interface ChainFacts {
  /** For each counting revoke of the chain's grant, its cut for this incarnation; `undefined` when it lists none. */
  readonly cuts: readonly (Position | undefined)[]
  /** Targets of counting adopts. */
  readonly adopts: readonly Position[]
  /** If the chain is forked, every held entry from the lowest fork up; besides, targets of adopts that are held, and for who holds a part all above. */
  readonly links: readonly Place[]
}

/** Entries that follow one entry; several are a fork. */
export interface Siblings {
  readonly seq: number
  readonly entries: readonly Place[]
}

/** The limit of a chain, and the forks that bound it. */
export interface Bounds {
  readonly limit: ChainLimit
  readonly forks: readonly Siblings[]
  /** Of whoever holds a part, entries that wait for links to tell which of several is on the branch that is named. */
  readonly unclear?: readonly Place[]
}

/** The limit of a chain, and the forks that bound it: the README of this folder gives the rule. */
export function limitOfChain(facts: ChainFacts, rule = limitAndForks): Bounds & { readonly awaited: number } {
  return { ...rule(facts), awaited: awaitedIn(facts) }
}

/** The highest seq of an entry that would move the limit and is not held, as far as the links tell; -1 without one. */
function awaitedIn({ cuts, adopts, links }: ChainFacts): number {
  const held = new Set(links.map(({ hash }) => hash))
  const isForked = lowestForkSeq(links) < Number.POSITIVE_INFINITY
  const named = [...adopts, ...(isForked ? cuts.filter((cut) => cut !== undefined) : [])]
  return named.reduce((most, { seq, hash }) => (held.has(hash) ? most : Math.max(most, seq)), -1)
}

/** The lowest seq of a cut, -1 for one that does not list the incarnation and infinity without any, and the cuts there. */
export function lowestOf(cuts: ChainFacts['cuts']): { readonly lowest: number; readonly lowestCuts: Position[] } {
  const lowest = cuts.reduce((low, cut) => Math.min(low, cut?.seq ?? -1), Number.POSITIVE_INFINITY)
  return { lowest, lowestCuts: cuts.filter((cut) => cut !== undefined && cut.seq === lowest) as Position[] }
}

/** Up to where every entry counts: below the fork there is one path, so a seq says it all. */
export function countedBelow(of: {
  readonly adopted: readonly Position[]
  readonly lowest: number
  readonly forkSeq: number
}): number {
  const { adopted, lowest, forkSeq } = of
  const adoptedBelow = adopted.reduce((most, { seq }) => Math.max(most, Math.min(seq + 1, forkSeq)), 0)
  return Math.max(0, adoptedBelow, Math.min(lowest, forkSeq))
}

function limitAndForks({ cuts, adopts, links }: ChainFacts): Bounds {
  const { lowest, lowestCuts } = lowestOf(cuts)
  const byHash = new Map(links.map((link) => [link.hash, link]))
  const isHeld = ({ seq, hash }: Position) => byHash.get(hash)?.seq === seq
  const adopted = adopts.filter(isHeld)
  const forkSeq = lowestForkSeq(links)

  const below = countedBelow({ adopted, lowest, forkSeq })
  if (below === Number.POSITIVE_INFINITY) return { limit: everything, forks: [] }
  const beyond = new Map<string, number>()
  const count = ({ seq, hash }: Position) => {
    if (seq >= below) beyond.set(hash, seq)
  }
  // An entry that stands where a cut does and is another one is not on the cut's path, whether or not the cut's entry is held.
  if (lowest < forkSeq) for (const cut of lowestCuts) count(cut)
  if (forkSeq === Number.POSITIVE_INFINITY) return { limit: { below, beyond }, forks: [] }

  const pathsTo = (ends: readonly Position[]) => {
    const path = new Map<string, Place>()
    for (const end of ends) {
      let at = isHeld(end) ? byHash.get(end.hash) : undefined
      while (at !== undefined && at.seq >= forkSeq && !path.has(at.hash)) {
        path.set(at.hash, at)
        at = at.previous === undefined ? undefined : byHash.get(at.previous)
      }
    }
    return path
  }
  for (const link of pathsTo(adopted).values()) count(link)
  if (lowest < forkSeq) return { limit: { below, beyond }, forks: [] }
  for (const link of pathsTo(lowestCuts).values()) count(link)
  if (lowestCuts.length > 0 && lowestCuts.every(isHeld)) return { limit: { below, beyond }, forks: [] }

  const settled = pathsTo([...adopted, ...cuts.filter((cut) => cut !== undefined)])
  const { counting, forks } = followSettled(links, { forkSeq, lowest, isSettled: (link) => settled.has(link.hash) })
  for (const link of counting) count(link)
  return { limit: { below, beyond }, forks }
}

/** Walks up from the lowest fork, through forks that are settled, to below `lowest`. */
function followSettled(
  links: readonly Place[],
  { forkSeq, lowest, isSettled }: { forkSeq: number; lowest: number; isSettled: (link: Place) => boolean },
): { counting: Place[]; forks: Siblings[] } {
  const following = new Map<string | undefined, Place[]>()
  for (const link of links) {
    if (link.seq < forkSeq) continue
    const siblings = following.get(link.previous)
    if (siblings === undefined) following.set(link.previous, [link])
    else siblings.push(link)
  }
  const counting: Place[] = []
  const forks: Siblings[] = []
  const root = links.find(({ seq }) => seq === forkSeq)
  const left: (string | undefined)[] = [root?.previous]
  while (left.length > 0) {
    const entries = following.get(left.pop()) ?? []
    const seq = entries[0]?.seq ?? lowest
    if (seq >= lowest) continue
    const goOn = entries.length === 1 ? entries : entries.filter(isSettled)
    if (goOn.length === 0) forks.push({ seq, entries })
    counting.push(...goOn)
    left.push(...goOn.map(({ hash }) => hash))
  }
  return { counting, forks }
}

function lowestForkSeq(links: readonly Place[]): number {
  const seen = new Map<number, string>()
  let lowest = Number.POSITIVE_INFINITY
  for (const { seq, hash } of links) {
    const other = seen.get(seq)
    if (other === undefined) seen.set(seq, hash)
    else if (other !== hash) lowest = Math.min(lowest, seq)
  }
  return lowest
}
