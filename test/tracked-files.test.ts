import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** Written so that none finds itself. */
const forbidden = {
  'the host of a package registry':
    /\bregistry\.[\w-]+\.[a-z]{2,}|\b(?:npmjs|yarnpkg|verdaccio)[.]|\bpypi[.]org|\bcrates[.]io/i,
  'a path of one machine': /(?<![\w.~-])\/(?:work|root|home\/[\w-]+|Users\/[\w-]+|mnt\/[\w-]+)\/|\b[A-Z]:\\Users/,
  'an unresolved merge': /^(?:<{7}|>{7}) /m,
}

function findings(path: string, text: string): string[] {
  return Object.entries(forbidden).flatMap(([what, pattern]) => {
    const found = pattern.exec(text)
    return found === null ? [] : [`${path} holds ${what}: ${found[0]}`]
  })
}

test('tracked files name no package registry and no path of one machine', () => {
  const paths = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean)
  expect(paths).toContain('package-lock.json')
  expect(paths.flatMap((path) => findings(path, read(path)))).toEqual([])
})

test.each([
  ['https://registry', '.example.org/helia'],
  ['https://www.npmjs', '.com/package/helia'],
  ['see /ho', 'me/someone/project'],
  ["'/wo", "rk/main/x'"],
  ['C:\\Us', 'ers\\someone'],
  ['<<<<<', '<< HEAD'],
])('and the search finds %s…', (start, end) => {
  expect(findings('a', start + end)).toHaveLength(1)
})

test.each(['./work/x', 'a/root/b', '/data/large.zip', '/tmp/x', 'https://example.org/work/1'])('but not %s', (text) => {
  expect(findings('a', text)).toEqual([])
})

/** Deleted but not committed yet: nothing to find. */
function read(path: string): string {
  try {
    return readFileSync(join(root, path), 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}
