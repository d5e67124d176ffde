import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { play } from '../simulator/scenario.ts'

/** About a third of a second each. */
const count = 3_000
/** About half a second each. */
const sharingCount = 1_000

test('thousands of simulations that nobody has seen end as they must', async () => {
  const first = Number(process.env.SEED ?? randomInt(2 ** 31))
  console.log(`seeds ${first} to ${first + count - 1}; SEED=… of a failure plays it again, in the quick test alone`)
  const failures: string[] = []
  for (let seed = first; seed < first + count && failures.length < 5; seed++) {
    await play({ seed }).catch((error) => failures.push((error as Error).message))
  }
  expect(failures).toEqual([])
})

test('hundreds of simulations with shares, followers and a group', async () => {
  const first = Number(process.env.SEED ?? randomInt(2 ** 31))
  console.log(
    `seeds ${first} to ${first + sharingCount - 1}; SEED=… of a failure plays it again, in the quick test alone`,
  )
  const failures: string[] = []
  for (let seed = first; seed < first + sharingCount && failures.length < 5; seed++) {
    await play({ seed, sharing: true }).catch((error) => failures.push((error as Error).message))
  }
  expect(failures).toEqual([])
})

test('larger simulations, with a power cut at a boundary that chance picks', async () => {
  const first = Number(process.env.SEED ?? randomInt(2 ** 31))
  console.log(`seeds from ${first}`)
  for (let seed = first; seed < first + 100; seed++) {
    await play({ seed, steps: 150, crashAtBoundary: 1 + (seed % 400) })
  }
})

/** Seeds that once found something wrong with 120 things done, as those of test/simulator/sharing.test.ts, which plays three of them. */
const rememberedLarge = [30_011, 30_019, 30_026, 30_126, 30_225, 40_014, 40_151, 40_243, 49_034]

test('larger simulations with shares, followers and a group', async () => {
  for (const seed of rememberedLarge) await play({ seed, sharing: true, steps: 120 })
  await play({ seed: 60_110, sharing: true, comings: true, steps: 120 })
})
