import { ArtifactHubError } from '../errors.ts'

/**
 * Refuses what has another version of its format than the one that this release knows. A frozen version never changes, so a
 * version that is not known says nothing of what else stands there.
 *
 * @param what begins a sentence: `this ticket`
 * @throws UNSUPPORTED_FORMAT; CORRUPT for what is no version
 */
export function requireFormatVersion(version: unknown, known: number, what: string): void {
  if (version === known) return
  if (!Number.isSafeInteger(version) || (version as number) < 0) {
    throw new ArtifactHubError('CORRUPT', `${what} does not name the version of its format`)
  }
  const by = (version as number) > known ? 'a newer release' : 'a build from before the formats were settled'
  throw new ArtifactHubError('UNSUPPORTED_FORMAT', `${what} was made by ${by}: its format has version ${version}`, {
    details: { version: version as number, known },
  })
}
