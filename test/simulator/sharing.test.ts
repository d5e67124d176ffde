import { expect, test } from 'vitest'
import { play } from './scenario.ts'

// SEED=… plays that one alone and tells its story on failure.
const chosen = process.env.SEED
const seeds = chosen === undefined ? Array.from({ length: 40 }, (_, at) => at + 1) : [Number(chosen)]

test('whatever goes wrong, what is shared is read by whom it should be, with keys in hand by nobody else, and followers hold what members do', async () => {
  const sums: Record<string, number> = {}
  for (const seed of seeds) {
    const { counts, sharing } = await play({ seed, sharing: true })
    for (const [what, times] of Object.entries({ ...counts, ...sharing })) sums[what] = (sums[what] ?? 0) + times
  }
  if (chosen !== undefined) return
  // It says something only if all of this happens, and is looked at.
  for (const what of ['share', 'unshare', 'shareGroup', 'addToGroup', 'removeFromGroup', 'rotateGroup'])
    expect(sums[what], what).toBeGreaterThan(10)
  for (const what of ['read', 'refused', 'late', 'closed', 'apart']) expect(sums[what], what).toBeGreaterThan(5)
}, 600_000)
