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
