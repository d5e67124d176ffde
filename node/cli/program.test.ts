import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { buildProgram } from './program.ts'

const program = buildProgram(() => async () => {})

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves)
}

test('every command, argument and option is described', () => {
  expect(leaves(program).length).toBeGreaterThanOrEqual(20)
  for (const command of leaves(program)) {
    expect(command.description(), command.name()).not.toBe('')
    for (const described of [...command.registeredArguments, ...command.options]) {
      expect(described.description, `${command.name()} ${described.name()}`).not.toBe('')
    }
    expect(command.helpInformation()).toContain('Global Options:')
  }
})

test('no command takes an option for itself that means something else to the whole program', () => {
  const common = program.options.flatMap((option) => [option.short, option.long])
  for (const command of leaves(program)) {
    for (const option of command.options) {
      expect(
        common.filter((flag) => flag && (flag === option.short || flag === option.long)),
        command.name(),
      ).toEqual([])
    }
  }
})

test('no key and no passphrase is ever an argument, which everybody on the machine could see: those are in files', () => {
  const secret = /key|secret|pass|seed|token/
  const named = leaves(program)
    .flatMap(({ options }) => [...options])
    .concat(program.options)
  const found = named.filter(({ long }) => secret.test(long ?? ''))
  expect(found.map(({ long }) => long)).toContain('--network-key-file')
  for (const option of found) expect(option.flags).toMatch(/ <(path|file)>$/)
  for (const command of leaves(program)) {
    for (const argument of command.registeredArguments) expect(argument.name()).not.toMatch(secret)
  }
})
