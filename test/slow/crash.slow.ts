import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { killRepeatedly } from '../support/crash-rounds.ts'

test('kill -9 at 200 random points of a mixed workload loses nothing acknowledged', async () => {
  const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))
  console.log(`CRASH_SEED=${seed}`)
  const rounds = await killRepeatedly({ seed, rounds: 200 })
  console.log(JSON.stringify(rounds))
  expect(rounds.kills).toBe(200)
  expect(rounds.acknowledged).toBeGreaterThan(1_000)
})
