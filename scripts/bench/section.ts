import type { SectionReport } from './figures.ts'
import type { Settings } from './settings.ts'
import type { Workspace } from './workspace.ts'

/** What a section works with. */
export interface Bench {
  readonly settings: Settings
  readonly workspace: Workspace
  /** A file of random bytes, `settings.fileBytes` long. */
  largeFile(): Promise<string>
  /** Says what is going on. */
  readonly say: (text: string) => void
}

/** A group of rows of the table. */
export interface Section {
  readonly name: string
  run(bench: Bench): Promise<SectionReport>
}

/**
 * Has everybody take a turn in each of several rounds, and someone else go first in each, so that what changes on the
 * machine over time falls on all alike.
 */
export async function inRounds<T>(
  rounds: number,
  contenders: readonly T[],
  turn: (contender: T, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < contenders.length; at++) await turn(contenders[(at + round) % contenders.length] as T, round)
  }
}
