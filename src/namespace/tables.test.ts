import { expect, test } from 'vitest'
import { nodeTables } from './tables.ts'

test('no two tables of the node have one number', () => {
  const numbers = Object.values(nodeTables)
  expect(new Set(numbers).size).toBe(numbers.length)
})
