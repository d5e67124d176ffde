import type { Command } from 'commander'
import { packageVersion } from '../version.ts'
import type { Act } from './command.ts'
import { debugVariable, describeFailure, failureText, Interrupted } from './failure.ts'
import { Output } from './output.ts'
import { buildProgram } from './program.ts'
import { type CommonOptions, Session } from './session.ts'

/**
 * Runs the command line (without the program's own name) and gives the exit code. Ctrl-C and SIGTERM stop the command cleanly; a second
 * one ends the process at once. Results go to standard output; everything else to standard error.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const stop = new AbortController()
  const release = stopOnSignals(stop)
  const output = new Output(process.stdout, (reason) => stop.abort(reason))
  // Its reader may be gone as well; there is nobody left to tell.
  process.stderr.on('error', () => {})
  try {
    if (argv[0] === '--version' || argv[0] === '-V') {
      await output.write(`${await packageVersion()}\n`)
      return 0
    }
    await buildProgram(actIn(output, stop.signal)).parseAsync(argv, { from: 'user' })
    return 0
  } catch (thrown) {
    // What fails because of an abort may say so in its own words.
    const failure = describeFailure(stop.signal.aborted ? stop.signal.reason : thrown)
    const stack = process.env[debugVariable] && thrown instanceof Error ? thrown.stack : undefined
    process.stderr.write(failureText(failure, { json: argv.includes('--json'), stack }))
    return failure.exitCode
  } finally {
    release()
  }
}

function actIn(output: Output, signal: AbortSignal): Act {
  return (run) =>
    async (...given) => {
      // Commander passes the arguments, then the command's own options, then the command.
      const command = given.at(-1) as Command
      const options = command.opts() as Parameters<typeof run>[1]
      await using session = new Session(command.optsWithGlobals<CommonOptions>(), output, signal)
      await run(session, options, ...(given.slice(0, -2) as never))
    }
}

function stopOnSignals(stop: AbortController): () => void {
  const onSignal = (signal: 'SIGINT' | 'SIGTERM'): void => {
    const reason = new Interrupted(signal)
    if (stop.signal.aborted) process.exit(reason.exitCode)
    stop.abort(reason)
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return () => {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}
