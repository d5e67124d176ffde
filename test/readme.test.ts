import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { errorTable } from '../src/errors.ts'

const root = join(import.meta.dirname, '..')
const readme = readFileSync(join(root, 'README.md'), 'utf8')

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

test('the first lines of code in the README do what it says of them', async () => {
  const [, code = '', told = ''] = /```ts\n(.*?)```\n\n[^\n]*(It prints [^\n]*)/s.exec(readme) ?? []
  expect(code).toContain("dataDir: './hub'")
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-readme-'))
  try {
    const pasted = code.replace("'./hub'", JSON.stringify(join(folder, 'hub')))
    const run = promisify(execFile)
    const { stdout } = await run(process.execPath, ['--input-type=module-typescript', '-e', pasted], { cwd: root })
    const lines = [...told.matchAll(/`([^`]*)`/g)].map(([, line]) => line)
    expect(stdout.trimEnd().split('\n')).toEqual(lines)
    expect(lines).toHaveLength(2)
  } finally {
    await rm(folder, { recursive: true })
  }
})
