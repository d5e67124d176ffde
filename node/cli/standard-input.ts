import { fstatSync } from 'node:fs'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxCapabilityBytes } from '../../src/limits.ts'
import type { Session } from './session.ts'

/**
 * Standard input, closed when the session is told to stop.
 * @throws INVALID_ARGUMENT for a folder, of which Node says that it is empty
 */
export function standardInput(session: Session): NodeJS.ReadStream {
  if (fstatSync(0).isDirectory()) throw new ArtifactHubError('INVALID_ARGUMENT', 'standard input is a directory')
  if (process.stdin.isTTY) session.note('reading from the terminal; end with Ctrl-D')
  // A pending read of a pipe would keep the process alive after the command has been stopped.
  session.signal.addEventListener('abort', () => process.stdin.destroy(), { once: true })
  return process.stdin
}

/** Longer than any link, characters. */
const maxSecretLength = 4 * maxCapabilityBytes

/**
 * A secret that an argument is or, where that is `-`, standard input: whoever lists the processes of a machine sees arguments.
 * @throws INVALID_ARGUMENT for more than any secret is
 */
export async function secretOf(session: Session, argument: string): Promise<string> {
  if (argument !== '-') return argument
  let text = ''
  for await (const part of standardInput(session).setEncoding('utf8')) {
    text += part
    if (text.length > maxSecretLength) throw new ArtifactHubError('INVALID_ARGUMENT', 'standard input has no link')
  }
  session.signal.throwIfAborted()
  return text.trim()
}
