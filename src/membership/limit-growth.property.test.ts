import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bounds, type ChainFacts, changedBetween } from './chain-limit.ts'
import { ChainLinks, type Link } from './chain-links.ts'
import { LinkedChain } from './linked-chain.ts'
import { PartBounds } from './part-limit.ts'
import { WholeBounds } from './whole-limit.ts'

const hashOf = (at: number) => [...at.toString(16).padStart(4, '0')].reverse().join('')

/** A chain with branches: each entry goes on from one before it, now and then from one that stands elsewhere than it says. */
function treeOf(draws: readonly number[]): Link[] {
  const links: Link[] = []
  for (const [at, draw] of draws.entries()) {
    const before = draw % 3 > 0 ? links.at(-1) : links[draw % Math.max(1, at)]
    if (before === undefined || draw % 23 === 0) links.push({ hash: hashOf(at), seq: 0, previous: undefined })
    else links.push({ hash: hashOf(at), seq: before.seq + (draw % 29 === 0 ? 3 : 1), previous: before.hash })
  }
  return links
}

const cases = fc
  .array(fc.nat(1_000), { minLength: 2, maxLength: 18 })
  .map(treeOf)
  .chain((all) => {
    // Some name what is nowhere, or stands elsewhere.
    const target = fc
      .record({ at: fc.nat(all.length), shift: fc.integer({ min: -12, max: 1 }) })
      .map(({ at, shift }) => {
        const { seq, hash } = all[at] ?? { seq: 3, hash: hashOf(999) }
        return { seq: Math.max(0, seq + Math.max(0, shift)), hash }
      })
    return fc.record({
      all: fc.constant(all),
      cuts: fc.array(fc.oneof({ weight: 6, arbitrary: target }, fc.constant(undefined)), { maxLength: 2 }),
      adopts: fc.array(target, { maxLength: 3 }),
      /** Mostly as they were written. */
      order: fc.array(fc.nat(40), { minLength: all.length, maxLength: all.length }),
      lateFrom: fc.nat(all.length),
      asked: fc.array(fc.boolean(), { minLength: all.length, maxLength: all.length }),
    })
  })

/** All that is asked of bounds. */
function answersOf({ limit, forks, ends, unclear }: Bounds) {
  return {
    below: limit.below,
    beyond: [...limit.beyond],
    forks: [...forks.values()].map((same) => same.map(({ seq, lowest }) => `${seq} ${lowest}`).sort()),
    ends: [...ends],
    unclear: [...unclear],
  }
}

describe.each([
  { isPart: false, rule: WholeBounds },
  { isPart: true, rule: PartBounds },
])('the limit of a chain to which links come one by one, of whoever holds a part: $isPart', ({ isPart, rule }) => {
  it('is what it is made anew, in whatever order they come', () => {
    const seen = { extended: 0, dropped: 0, lowered: 0, forked: 0 }
    fc.assert(
      fc.property(cases, ({ all, cuts, adopts, order, lateFrom, asked }) => {
        const [early, late] = [all.slice(0, lateFrom), all.slice(lateFrom)]
        const at = new Map(late.map((link, place) => [link, order[place] as number]))
        const arrivals = [...early, ...late.sort((one, two) => (at.get(one) ?? 0) - (at.get(two) ?? 0))]
        let chain = LinkedChain.none
        let links = ChainLinks.none
        for (const [place, link] of arrivals.entries()) {
          const before = chain.boundsBy({ cuts, adopts }, { isPart }).bounds
          const frozen = answersOf(before)
          const grown = before.with(links.with(link), link)
          chain = chain.with(link)
          links = links.with(link)
          const facts: ChainFacts = { cuts, adopts, links }
          const anew = rule.of(facts)
          if (grown !== undefined) {
            expect(answersOf(grown)).toEqual(answersOf(anew))
            const gone = [...before.limit.beyond.keys()].filter((hash) => !grown.limit.beyond.has(hash))
            seen.extended += 1
            if (gone.length > 0) seen.dropped += 1
            if (grown.limit.below < before.limit.below) seen.lowered += 1
            if (grown.forks.size > before.forks.size) seen.forked += 1
            const came = [...grown.limit.beyond.keys()].filter((hash) => !before.limit.beyond.has(hash))
            expect([...changedBetween(before.limit, grown.limit)].sort()).toEqual([...gone, ...came].sort())
          }
          expect(answersOf(before)).toEqual(frozen)
          if (asked[place])
            expect(answersOf(chain.boundsBy({ cuts, adopts }, { isPart }).bounds)).toEqual(answersOf(anew))
        }
      }),
      { numRuns: Number(process.env.LIMIT_RUNS ?? 2_000) },
    )
    expect(Math.min(seen.extended, seen.dropped, seen.forked)).toBeGreaterThan(3)
    if (isPart) expect(seen.lowered).toBeGreaterThan(3)
  }, 3_000_000)
})

describe.each([
  { isPart: false, rule: WholeBounds },
  { isPart: true, rule: PartBounds },
])('the limit of a long chain with branches, of whoever holds a part: $isPart', ({ isPart, rule }) => {
  const chainAfter = (before: Link, count: number, from: number): Link[] => {
    const links: Link[] = []
    for (let at = 0; at < count; at++) {
      const { seq, hash } = links.at(-1) ?? before
      links.push({ hash: hashOf(from + at), seq: seq + 1, previous: hash })
    }
    return links
  }
  const first = { hash: hashOf(0), seq: 0, previous: undefined }
  const trunk = [first, ...chainAfter(first, 999, 1)]
  const fork = { ...(trunk[1] as Link), hash: hashOf(2_000) }
  const top = trunk.at(-1) as Link
  const beside = ({ seq, previous }: Link, at: number): Link => ({ hash: hashOf(at), seq, previous })
  const on = chainAfter(top, 100, 3_000)
  const other = chainAfter(fork, 100, 4_000)

  it.each([
    { what: 'go on from the branch that counts', settled: true, come: on },
    {
      what: 'go on from two branches by turns',
      settled: true,
      come: on.flatMap((one, at) => [one, other[at] as Link]),
    },
    { what: 'all stand at one place', settled: true, come: on.map((_, at) => beside(on[0] as Link, 5_000 + at)) },
    {
      what: 'begin a branch each, the highest first',
      settled: true,
      come: on.map((_, at) => beside(trunk[900 - at] as Link, 5_000 + at)),
    },
    { what: 'go on where nobody has said which branch counts', settled: false, come: [...on, ...other] },
    { what: 'begin the chain', settled: false, come: on.map((_, at) => beside(first, 5_000 + at)).slice(1) },
  ])('is not made anew for entries that $what', ({ settled, come, what }) => {
    const adopts = settled ? [{ seq: top.seq, hash: top.hash }] : []
    // Which begins a branch below all others is the first only.
    const isLower = what.startsWith('begin the chain')
    const held = [...trunk, fork, ...(isLower ? [beside(first, 5_000)] : [])]
    let chain = held.reduce((one, link) => one.with(link), LinkedChain.none)
    const { era, ...start } = chain.boundsBy({ cuts: [], adopts }, { isPart })
    let { bounds } = start
    for (const link of come) {
      const { limit } = bounds
      chain = chain.with(link)
      const found = chain.boundsBy({ cuts: [], adopts }, { isPart })
      expect(found.era, `${link.seq} ${link.hash}`).toBe(era)
      // So little is looked at by whoever asks what changed.
      expect([...changedBetween(limit, found.bounds.limit)].length).toBeLessThanOrEqual(1)
      bounds = found.bounds
    }
    const links = ChainLinks.of([...held, ...come])
    expect(answersOf(bounds)).toEqual(answersOf(rule.of({ cuts: [], adopts, links })))
  })
})
