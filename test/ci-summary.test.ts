import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const directory = mkdtempSync(join(tmpdir(), 'artifact-hub-summary-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** Runs vitest itself over one test file and sums its results up. */
function summaryOf(testFile: string): { status: number | null; stdout: string } {
  const path = join(directory, 'results.json')
  writeFileSync(join(directory, 'a.test.js'), testFile)
  const vitest = join(import.meta.dirname, '../node_modules/vitest/vitest.mjs')
  const args = ['run', '--globals', '--root', directory, '--reporter=json', `--outputFile=${path}`]
  const { status } = spawnSync(process.execPath, [vitest, ...args], { cwd: directory })
  const summary = spawnSync(
    process.execPath,
    [join(import.meta.dirname, '../scripts/ci-summary.ts'), path, String(status)],
    {
      encoding: 'utf8',
    },
  )
  return { status: summary.status, stdout: summary.stdout }
}

test('counts what passed', () => {
  expect(summaryOf("test('a', () => {}); test('b', () => {})")).toEqual({ status: 0, stdout: '2 passed, 0 failed\n' })
})

test.each([
  ['a failed test', "test('a', () => {}); test('b', () => { throw new Error('no') })", /^1 passed, 1 failed\n$/],
  ['a skipped test, by name', "test('a', () => {}); test.skip('b', () => {})", /a\.test\.js: b\n1 passed, 1 failed\n$/],
  ['a test that is still to be written, by name', "test.todo('b')", /a\.test\.js: b\n0 passed, 1 failed\n$/],
  ['a file that does not load', "throw new Error('no')", /\n0 passed, 1 failed\n$/],
  [
    'an error outside the tests',
    "test('a', async () => { Promise.reject(new Error('no')); await new Promise(setImmediate) })",
    /\n1 passed, 1 failed\n$/,
  ],
])('fails for %s', (_, testFile, last) => {
  const { status, stdout } = summaryOf(testFile)
  expect(stdout).toMatch(last)
  expect(status).toBe(1)
})
