import { expect, test } from 'vitest'
import { play } from './scenario.ts'

/*
 * Does it find anything? Rules were broken on purpose, one at a time, and the first seeds of this test that noticed were:
 *
 * - cuts of revokes are ignored                                     1: a put counts and should not
 * - both branches of a writer's fork count                          1: a put counts and should not
 * - an epoch sealed to somebody who was removed stays good, so that
 *   nobody rotates                                                  1: who was removed reads what was written by who knew
 * - what stops counting is not taken out of the catalog             1: two members differ in totals; 5: not what a rebuild makes
 * - an operation resolves before its batch is written               2: two members differ in the catalog
 * - batches are not synced                                         27: an entry that its author told of is lost
 * - clocks far ahead are merged                                     1: a node dates its entries beyond what it may believe
 * - a grant needs no rank above the role that it gives              6: an agent is writer and should be admin
 * - bodies that a peer left out are not asked for again            18: not in step after 15 quiet minutes
 * - bodies that come later are not taken in                        26: not in step after 15 quiet minutes
 * - a fork at an unknown place is not sent from its start          60: not in step after 15 quiet minutes
 * - a node goes on under an incarnation that somebody else uses    13: two members differ in references
 * - an epoch is given on while what its author knew is missing   234: who was removed reads what was written by who knew
 */

/**
 * Seeds that once found something wrong, here or in the simulator itself. They stay, though what a seed makes happen changes with
 * whatever is drawn.
 */
const remembered = [112, 113, 126, 133, 135, 200, 234, 242, 254, 354, 655, 955, 780_198, 780_487, 820_051, 900_036]

// SEED=… plays that one alone and tells its story on failure.
const chosen = process.env.SEED
const seeds =
  chosen === undefined ? [...Array.from({ length: 150 }, (_, at) => at + 1), ...remembered] : [Number(chosen)]

test('whatever goes wrong, members end with the same, nothing told is lost, and nothing counts or is read by whom it should not', async () => {
  const happened: Record<string, number> = {}
  for (const seed of seeds) {
    const { counts } = await play({ seed })
    for (const [what, times] of Object.entries(counts)) happened[what] = (happened[what] ?? 0) + times
  }
  if (chosen !== undefined) return
  // It says something only if all of this happens.
  for (const what of ['create', 'update', 'delete', 'drop', 'grant', 'revoke', 'rotate', 'adopt', 'kill', 'powerCut'])
    expect(happened[what], what).toBeGreaterThan(10)
  for (const what of ['restart', 'split', 'heal', 'clock', 'is', 'lies'])
    expect(happened[what], what).toBeGreaterThan(10)
}, 600_000)

/**
 * As `remembered`, with members who leave and come back. 61_525: two copies of a machine left within 2 ms, and each was taken for one that had what the
 * other dropped. Of batches that are not synced both notice: 61_525 of those of what an agent writes, 61_533 also if it is only those that bring what others wrote.
 */
const withComings = [61_525, 61_533]

test('so it is when members leave and come back', async () => {
  for (const seed of withComings) expect((await play({ seed, comings: true })).counts.leaves).toBeGreaterThan(0)
}, 600_000)

test('a power cut at any boundary of a batch loses nothing told', async () => {
  const seed = 8
  const steps = 6
  const { boundaries } = await play({ seed, steps })
  expect(boundaries).toBeGreaterThan(40)
  for (let crashAtBoundary = 1; crashAtBoundary <= boundaries; crashAtBoundary++)
    await play({ seed, steps, crashAtBoundary })
}, 600_000)

test('a seed makes the same happen every time', async () => {
  expect(await play({ seed: 7 })).toEqual(await play({ seed: 7 }))
})
