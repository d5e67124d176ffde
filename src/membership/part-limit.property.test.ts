import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bounds, type ChainFacts, isWithin } from './chain-limit.ts'
import { ChainLinks, type Link } from './chain-links.ts'
import { PartBounds } from './part-limit.ts'
import type { Position } from './statements.ts'
import { WholeBounds } from './whole-limit.ts'

/** A chain with branches: each entry goes on from one before it. */
function treeOf(parents: readonly number[]): Link[] {
  const links: Link[] = []
  for (const [at, draw] of parents.entries()) {
    // Mostly on from the newest.
    const before = draw % 4 > 0 ? links.at(-1) : links[draw % Math.max(1, at)]
    const isFirst = before === undefined || draw % 23 === 0
    links.push({
      hash: hashOf(at),
      seq: isFirst ? 0 : before.seq + 1,
      previous: isFirst ? undefined : before.hash,
    })
  }
  return links
}

/** No two begin alike. */
function hashOf(at: number): string {
  return [...at.toString(16).padStart(8, '0')].reverse().join('')
}

const trees = fc.array(fc.nat(1_000), { minLength: 2, maxLength: 14 }).map(treeOf)
const cases = trees.chain((all) => {
  const targets = fc.constantFrom(...all).map(({ seq, hash }): Position => ({ seq, hash }))
  return fc.record({
    all: fc.constant(all),
    cuts: fc.array(fc.oneof({ weight: 6, arbitrary: targets }, fc.constant(undefined)), { maxLength: 2 }),
    adopts: fc.array(targets, { maxLength: 3 }),
    held: fc.subarray([...all], { minLength: 1 }),
  })
})

const whole = ({ all, cuts, adopts }: { all: readonly Link[] } & Omit<ChainFacts, 'links'>): ChainFacts => ({
  cuts,
  adopts,
  links: ChainLinks.of(all),
})

const countingOf = (facts: ChainFacts, rule: (facts: ChainFacts) => Bounds, entries: readonly Link[]): string[] => {
  const { limit } = rule(facts)
  return entries.filter(({ seq, hash }) => isWithin(limit, seq, hash)).map(({ hash }) => hash)
}

describe('the limit of a chain for who holds a part', () => {
  it('is what it is for everybody when all is held', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const facts = whole(one)
        expect(countingOf(facts, PartBounds.of, one.all)).toEqual(countingOf(facts, WholeBounds.of, one.all))
        // As `Membership.forks` picks.
        const lowestFork = (rule: (facts: ChainFacts) => Bounds) =>
          [...rule(facts).forks.values()].flatMap((forks) =>
            forks.map(({ seq, lowest }) => `${seq} ${lowest}`).sort(),
          )[0]
        expect(lowestFork(PartBounds.of)).toEqual(lowestFork(WholeBounds.of))
      }),
      { numRuns: 5_000 },
    )
  })

  it('leaves nothing out that counts, but where another entry stands or a fork below is settled for none', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const counts = new Set(countingOf(whole(one), WholeBounds.of, one.all))
        const facts = { ...one, links: ChainLinks.of(one.held) }
        const found = new Set(countingOf(facts, PartBounds.of, one.held))
        const forks = [...PartBounds.of(facts).forks.values()].flat()
        const known = [...one.held, ...one.adopts, ...one.cuts.filter((cut) => cut !== undefined)]
        const isAlone = (entry: Link): boolean =>
          known.every(({ seq, hash }) => seq !== entry.seq || hash === entry.hash) &&
          (before(entry)?.every(isAlone) ?? true)
        const before = ({ previous }: Link) => one.held.filter(({ hash }) => hash === previous)
        for (const entry of one.held) {
          if (!counts.has(entry.hash) || found.has(entry.hash)) continue
          expect(isAlone(entry) && forks.every(({ seq }) => seq > entry.seq), entry.hash).toBe(false)
        }
      }),
      { numRuns: 5_000 },
    )
  })

  it('has nothing count where an adopt names another entry and no other does', () => {
    fc.assert(
      fc.property(cases, ({ adopts: [adopt], held }) => {
        fc.pre(adopt !== undefined)
        const found = countingOf(
          { cuts: [], adopts: [adopt as Position], links: ChainLinks.of(held) },
          PartBounds.of,
          held,
        )
        for (const { seq, hash } of held) if (seq === adopt?.seq) expect(found.includes(hash)).toBe(hash === adopt.hash)
      }),
    )
  })

  it.each(['one place', 'as many places'])(
    'is soon told where a thousand adopts name %s of a long chain',
    (where) => {
      const [first, ...others] = Array.from({ length: 20_000 }, (_, at) => at)
      const links = treeOf([first as number, ...others.map(() => 1)])
      const adopts = Array.from({ length: 1_000 }, (_, at) => ({
        seq: where === 'one place' ? 10 : 10 + at * 19,
        hash: hashOf(100_000 + (where === 'one place' ? 0 : at)),
      }))
      const counting = countingOf({ cuts: [], adopts, links: ChainLinks.of(links) }, PartBounds.of, links)
      // Below, a number says it all; what is named is not held, and in the way of all that stands above.
      expect(counting).toEqual(links.slice(0, 10).map(({ hash }) => hash))
    },
    15_000,
  )
})
