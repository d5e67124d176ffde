import fc from 'fast-check'
import { expect, test } from 'vitest'
import { maxRememberedAgents, penaltyHalfLifeMs, refusalMs } from '../../src/limits.ts'
import { Penalties } from './penalties.ts'

const agent = Uint8Array.of(1)

function setUp() {
  const clock = { now: 0 }
  return { clock, penalties: new Penalties(() => clock.now) }
}

test('refuses an agent whose points reach the bound, says so once, and takes it back after a while', () => {
  const { clock, penalties } = setUp()
  expect(penalties.add(agent, 'bad-block')).toBe(false)
  expect(penalties.refused(agent)).toBe(false)
  expect(penalties.add(agent, 'bad-block')).toBe(true)
  expect(penalties.add(agent, 'bad-block')).toBe(false)
  expect(penalties.refused(agent)).toBe(true)
  expect(penalties.refusedAgents()).toEqual(['01'])
  expect(penalties.refused(Uint8Array.of(2))).toBe(false)
  clock.now = refusalMs - 1
  expect(penalties.refused(agent)).toBe(true)
  clock.now = refusalMs
  expect(penalties.refused(agent)).toBe(false)
  expect(penalties.refusedAgents()).toEqual([])
})

test('points fade: what is bad together is borne one by one', () => {
  const { clock, penalties } = setUp()
  for (let day = 0; day < 50; day++) {
    expect(penalties.add(agent, 'bad-block')).toBe(false)
    clock.now += 2 * penaltyHalfLifeMs
  }
})

test('counts every misbehaviour by its kind', () => {
  const { penalties } = setUp()
  penalties.add(agent, 'flood')
  penalties.add(Uint8Array.of(2), 'flood')
  penalties.add(agent, 'too-slow')
  expect(penalties.counts()).toEqual({
    'bad-block': 0,
    'bad-entry': 0,
    'bad-frame': 0,
    'false-claim': 0,
    flood: 2,
    'too-slow': 1,
  })
})

test('a crowd of fresh keys does not free an agent that is refused', () => {
  const { penalties } = setUp()
  penalties.add(agent, 'bad-block')
  penalties.add(agent, 'bad-block')
  for (let other = 0; other < maxRememberedAgents + 10; other++) {
    penalties.add(Uint8Array.of(9, other >> 8, other & 255), 'too-slow')
  }
  expect(penalties.refused(agent)).toBe(true)
})

test('whatever is held against one agent changes nothing for another', () => {
  const kinds = fc.constantFrom('bad-block', 'bad-entry', 'bad-frame', 'flood', 'too-slow', 'false-claim')
  const deeds = fc.array(fc.record({ kind: kinds, after: fc.nat(penaltyHalfLifeMs) }), { maxLength: 30 })
  fc.assert(
    fc.property(deeds, deeds, (mine, others) => {
      const alone = setUp()
      const together = setUp()
      const other = Uint8Array.of(2)
      for (let at = 0; at < Math.max(mine.length, others.length); at++) {
        for (const { clock } of [alone, together]) clock.now += mine[at]?.after ?? 0
        const kind = mine[at]?.kind
        if (kind !== undefined) {
          expect(together.penalties.add(agent, kind)).toBe(alone.penalties.add(agent, kind))
        }
        const theirs = others[at]?.kind
        if (theirs !== undefined) together.penalties.add(other, theirs)
        expect(together.penalties.refused(agent)).toBe(alone.penalties.refused(agent))
      }
    }),
  )
})
