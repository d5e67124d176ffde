import { expect, test } from 'vitest'
import { play } from './scenario.ts'

const seeds =
  process.env.SEED === undefined ? Array.from({ length: 13 }, (_, at) => at + 1) : [Number(process.env.SEED)]

test('whatever goes wrong, members end with the same, nothing told is lost, and nothing counts or is read by whom it should not', async () => {
  let entries = 0
  for (const seed of seeds) entries += (await play({ seed })).entries
  expect(entries).toBeGreaterThan(0)
})
