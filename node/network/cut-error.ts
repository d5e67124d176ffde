import { ArtifactHubError } from '../../src/errors.ts'

/** Why a stream ended before its time: `details.reason` of UNAVAILABLE. */
export type CutReason = 'reset' | 'connection-lost' | 'aborted' | 'closed'

const meanings: Record<CutReason, string> = {
  reset: 'the other side cut the stream',
  'connection-lost': 'the connection was lost',
  aborted: 'the stream was cut here',
  closed: 'the stream is closed here',
}

/** What reading and writing a stream throw once it was cut. */
export function cutError(reason: CutReason, cause?: unknown): ArtifactHubError {
  return new ArtifactHubError('UNAVAILABLE', meanings[reason], {
    details: { reason },
    ...(cause === undefined ? {} : { cause }),
  })
}
