import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ChainFacts, isWithin, limitOfChain } from './chain-limit.ts'
import { limitOfPart } from './part-limit.ts'
import type { Place, Position } from './statements.ts'

/** A chain with branches: each entry goes on from one before it. */
function treeOf(parents: readonly number[]): Place[] {
  const places: Place[] = []
  for (const [at, draw] of parents.entries()) {
    // Mostly on from the newest.
    const before = draw % 4 > 0 ? places.at(-1) : places[draw % Math.max(1, at)]
    const isFirst = before === undefined || draw % 23 === 0
    places.push({
      hash: `h${at}`,
      kind: 'put',
      author: 'a',
      grant: 'g',
      incarnation: 'i',
      seq: isFirst ? 0 : before.seq + 1,
      previous: isFirst ? undefined : before.hash,
    })
  }
  return places
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

const whole = ({ all, cuts, adopts }: { all: readonly Place[] } & Omit<ChainFacts, 'links'>): ChainFacts => ({
  cuts,
  adopts,
  links: all,
})

const countingOf = (facts: ChainFacts, rule: typeof limitOfPart, entries: readonly Place[]): string[] => {
  const { limit } = rule(facts)
  return entries.filter(({ seq, hash }) => isWithin(limit, seq, hash)).map(({ hash }) => hash)
}

describe('the limit of a chain for who holds a part', () => {
  it('is what it is for everybody when all is held', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const facts = whole(one)
        expect(countingOf(facts, limitOfPart, one.all)).toEqual(countingOf(facts, limitOfChain, one.all))
        // As `Membership.forks` picks.
        const lowestFork = (rule: typeof limitOfPart) =>
          rule(facts)
            .forks.map(({ seq, entries }) => `${seq} ${entries.map(({ hash }) => hash).sort()}`)
            .sort()[0]
        expect(lowestFork(limitOfPart)).toEqual(lowestFork(limitOfChain))
      }),
      { numRuns: 5_000 },
    )
  })

  it('leaves nothing out that counts, but where another entry stands or a fork below is settled for none', () => {
    fc.assert(
      fc.property(cases, (one) => {
        const counts = new Set(countingOf(whole(one), limitOfChain, one.all))
        const facts = { ...one, links: one.held }
        const found = new Set(countingOf(facts, limitOfPart, one.held))
        const { forks } = limitOfPart(facts)
        const known = [...one.held, ...one.adopts, ...one.cuts.filter((cut) => cut !== undefined)]
        const isAlone = (entry: Place): boolean =>
          known.every(({ seq, hash }) => seq !== entry.seq || hash === entry.hash) &&
          (before(entry)?.every(isAlone) ?? true)
        const before = ({ previous }: Place) => one.held.filter(({ hash }) => hash === previous)
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
        const found = countingOf({ cuts: [], adopts: [adopt as Position], links: held }, limitOfPart, held)
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
        hash: `x${where === 'one place' ? 0 : at}`,
      }))
      const counting = countingOf({ cuts: [], adopts, links }, limitOfPart, links)
      // Below, a number says it all; what is named is not held, and in the way of all that stands above.
      expect(counting).toEqual(links.slice(0, 10).map(({ hash }) => hash))
    },
    15_000,
  )
})
