import { expect, test } from 'vitest'
import { play } from './scenario.ts'

/*
 * Does it find anything? Rules were broken on purpose, one at a time, and the first seeds of this test that noticed were:
 *
 * - an update after an unshare goes on with the key in force       6: who should not read any more opens what was written when all knew
 * - an expired share still counts                                  6: the same
 * - a version's key is not given to shares that its author
 *   had not heard of                                              23: a follower cannot open the body of a version
 * - a share from now on gives the keys of earlier versions         2: version 1 opens, of what was only later shared
 * - a share from now on keeps the key in force                     1: a follower cannot open the body of a version
 * - a key sealed to an earlier epoch of a group stays good         1: who should not read any more opens what was written when all knew
 * - providers let in who shows what was taken back                 2: not in step, for a follower has nothing that ends what it holds
 * - who ranks above an issuer cannot take back what it shared      6: who should not read any more opens what was written when all knew
 * - shares outlive the grant of their issuer                      15: the same
 * - versions from before a share are given whole                  13: who never had a share for a version has what is secret of it
 * - a group's new epoch is not sealed to its last member, and
 *   nobody heals that                                              2: the group is owed boxes after all
 * - providers let in who was removed from a group                  5: who should not read any more was given what was written then
 * - epochs that a removed admin of a group begins hold            24: not in step, for the namespace stays at that one
 *
 * (The numbers are of when that was done. By now the first 30 notice neither a key that is not given nor shares that outlive a grant; of the large ones 48236 and 40024 do.) It found that a member was held to blame who told a new member as the follower that it had been, and, while
 * it ended with two shares of one artifact, that who followed it by both could lack bodies for good; and that tables which were made again before anybody said what is followed
 * had none of it; and, with more steps, that keys were sealed to epochs of a group that were known to be over, when it had begun more of late than are written down, and
 * that the bare header of a share, held because a removal names it, had what else was held of its artifact taken for what is followed, and that what was held of one before its share came stayed in the
 * catalog when nobody followed it any more;
 * and that what was taken back on a branch of a forked chain, of which nobody else is told, was given all the same by who had not heard of it;
 * and that what was given on such a branch, and taken back, was opened with the keys of that time, for others went on using them (60_269);
 * and that a namespace stayed with an epoch that an admin's second machine had begun on such a branch, which in the group was none.
 * and that who had been removed by an admin who was removed too, and was shown another branch of that one's chain, was never told (940_024).
 * Here it was wrong of a key that had been given to a group by a share of which only those had heard who dropped the namespace right after: nobody can know that who has left the group since opens it (61_867).
 */

/** Seeds that once found something wrong, here or in the simulator itself. */
const remembered = [
  500_075, 850_034, 910_038, 920_492, 920_629, 920_643, 920_796, 921_410, 921_537, 922_093, 922_259, 930_427, 931_508,
  940_024, 941_319,
]

/** As `remembered`, with 120 things done: each takes as long as ten of the others, so most of them are in test/slow. */
const rememberedLarge = [30_010, 40_024, 46_028, 48_236]

// SEED=… plays that one alone and tells its story on failure.
const chosen = process.env.SEED
const seeds =
  chosen === undefined ? [...Array.from({ length: 30 }, (_, at) => at + 1), ...remembered] : [Number(chosen)]

test('whatever goes wrong, what is shared is read by whom it should be, with keys in hand by nobody else, and followers hold what members do', async () => {
  const sums: Record<string, number> = {}
  for (const seed of seeds) {
    const { counts, sharing } = await play({ seed, sharing: true })
    for (const [what, times] of Object.entries({ ...counts, ...sharing })) sums[what] = (sums[what] ?? 0) + times
  }
  if (chosen !== undefined) return
  // It says something only if all of this happens, and is looked at.
  for (const what of ['share', 'unshare', 'shareGroup', 'addToGroup', 'removeFromGroup', 'rotateGroup'])
    expect(sums[what], what).toBeGreaterThan(3)
  for (const what of ['read', 'refused', 'late', 'closed', 'apart']) expect(sums[what], what).toBeGreaterThan(0)
}, 600_000)

test('so it is when much more happens', async () => {
  for (const seed of rememberedLarge) await play({ seed, sharing: true, steps: 120 })
}, 600_000)

/*
 * With members who join again under the incarnation that they left with, 8 failed first (an agent forked its own chain), and 26, 37, 43; with nobody
 * whose role by way of the group is taken away once they are removed from it, 1, 2, 4, 12 and 22.
 */
const withComings = [2, 8, 22, 37, 60_269, 61_867]

test('so it is when members leave and come back, and the group has a role in the namespace', async () => {
  const sums: Record<string, number> = {}
  for (const seed of withComings) {
    const { counts } = await play({ seed, sharing: true, comings: true })
    for (const [what, times] of Object.entries(counts)) sums[what] = (sums[what] ?? 0) + times
  }
  for (const what of ['leaves', 'giveGroupRole', 'byGroup']) expect(sums[what], what).toBeGreaterThan(0)
}, 600_000)

test('a group whose epochs are more than are written down has nothing sealed to those that are over', async () => {
  const { counts } = await play({ seed: 300_009, sharing: true, steps: 120 })
  expect((counts.rotateGroup ?? 0) + (counts.removeFromGroup ?? 0)).toBeGreaterThan(8)
}, 600_000)
