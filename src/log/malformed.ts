import { ArtifactHubError } from '../errors.ts'

/** The error for an entry that is not what an entry must be. */
export function malformed(why: string): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', `not a valid entry: ${why}`)
}
