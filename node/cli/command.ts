import type { Command } from 'commander'
import type { Session } from './session.ts'

/**
 * Turns what a command does into what commander calls: the session is opened before and closed after it, and arguments come as the
 * command line gave them.
 */
export type Act = <Options, Arguments extends (string | readonly string[] | undefined)[]>(
  run: (session: Session, options: Options, ...args: Arguments) => Promise<void>,
) => (...given: unknown[]) => Promise<void>

/** A group of commands: adds them to the program. */
export type CommandGroup = (program: Command, act: Act) => void

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value]
}
