import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { errorTable } from '../src/errors.ts'

const readme = readFileSync(join(import.meta.dirname, '..', 'README.md'), 'utf8')

test('the table of errors in the README is the one of the code', () => {
  const inReadme = readme.split('\n').filter((line) => /^\| `[A-Z_]+` \|(?: [^|]+ \|){4}$/.test(line))
  const inCode = Object.entries(errorTable).map(
    ([code, { means, httpStatus, exitCode, retryable }]) =>
      `| \`${code}\` | ${means} | ${httpStatus} | ${exitCode} | ${retryable ? 'yes' : 'no'} |`,
  )
  expect(inReadme.sort()).toEqual(inCode.sort())
})

test('no two codes exit alike, and none as a signal does', () => {
  const exits = Object.values(errorTable).map(({ exitCode }) => exitCode)
  expect(new Set(exits).size).toBe(exits.length)
  for (const exit of exits) expect(exit > 0 && exit < 128).toBe(true)
})
