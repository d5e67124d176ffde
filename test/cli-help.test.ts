import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { errorTable } from '../src/errors.ts'
import { CliPlace } from './support/cli-process.ts'

const commands =
  'put get cat info ls versions update rm snippet url urls ns id agent group sync peers ping run replicate watch where network-key status check gc du'.split(
    ' ',
  )

test('help lists every command and every exit code, on standard output', async () => {
  await using place = await CliPlace.create('clone')
  const { stdout, stderr, exitCode } = await place.run(['--help'])
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  for (const command of commands) expect(stdout.toString()).toMatch(new RegExp(`^  ${command}\\b`, 'm'))
  for (const [code, { exitCode: number }] of Object.entries(errorTable)) {
    expect(stdout.toString()).toMatch(new RegExp(`^ +${number} +${code}:`, 'm'))
  }
})

test('a command explains itself, with the options that all commands take', async () => {
  await using place = await CliPlace.create('clone')
  const { stdout, exitCode } = await place.run(['ns', 'usage', '--help'])
  expect(exitCode).toBe(0)
  expect(stdout.toString()).toContain('Usage: artifact-hub ns usage')
  expect(stdout.toString()).toContain('--data-dir')
})

test('a bare call shows the help on standard error and is a usage error', async () => {
  await using place = await CliPlace.create('clone')
  const { stdout, stderr, exitCode } = await place.run([])
  expect([stdout.length, exitCode]).toEqual([0, 2])
  expect(stderr).toContain('Usage: artifact-hub')
})

test('a typing mistake is met with the nearest command', async () => {
  await using place = await CliPlace.create('clone')
  expect((await place.run(['verions'])).stderr).toContain('Did you mean versions?')
})

test('the release is the one of package.json', async () => {
  await using place = await CliPlace.create('clone')
  const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  for (const flag of ['--version', '-V']) expect((await place.run([flag])).stdout.toString()).toBe(`${version}\n`)
})
