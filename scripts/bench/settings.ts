import { availableParallelism, tmpdir } from 'node:os'
import { parseArgs } from 'node:util'

/** What one run of the bench measures, and how much of it. */
export interface Settings {
  /** Names of sections, in the order they run. */
  readonly sections: readonly string[]
  /** Length of the large file, bytes. */
  readonly fileBytes: number
  readonly artifacts: number
  /** Nodes that write in one namespace, and for how long. */
  readonly crowd: { readonly members: number; readonly seconds: number }
  /** Times that everything is measured. */
  readonly runs: number
  /** Folder for everything that is written. */
  readonly parentDir: string
  /** Where the figures also go, as JSON. */
  readonly jsonPath: string | undefined
}

const MiB = 1024 * 1024

/** How the bench is called. */
export const usage = `usage: npm run bench -- [section…] [--quick] [--size MiB] [--artifacts N] [--runs N] [--dir PATH] [--json FILE]`

/**
 * Reads the command line.
 *
 * @param known names of sections; without one on the command line, all of them
 * @throws Error that says what is wrong with the call
 */
export function readSettings(argv: readonly string[], known: readonly string[]): Settings {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      size: { type: 'string' },
      artifacts: { type: 'string' },
      runs: { type: 'string' },
      dir: { type: 'string', default: tmpdir() },
      json: { type: 'string' },
    },
  })
  for (const name of positionals) {
    if (!known.includes(name)) throw new Error(`there is no section ${name}; there are ${known.join(', ')}`)
  }
  return {
    sections: positionals.length > 0 ? positionals : known,
    fileBytes: wholeNumber('size', values.size, values.quick ? 128 : 1024) * MiB,
    artifacts: wholeNumber('artifacts', values.artifacts, values.quick ? 10_000 : 100_000),
    crowd: values.quick ? { members: 8, seconds: 10 } : { members: 20, seconds: 60 },
    runs: wholeNumber('runs', values.runs, 3),
    parentDir: values.dir,
    jsonPath: values.json,
  }
}

/** Callers that create small artifacts at the same time: agents at work, not one loop. */
export const concurrentCallers = 64

/** Cores that this process may use. */
export const cores = availableParallelism()

function wholeNumber(name: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given)
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} must be a whole number above 0`)
  return value
}
