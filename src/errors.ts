/**
 * The one table of failures: every error that leaves this project carries one of these codes. Codes are
 * stable, messages are not. `httpStatus` is what a gateway or the HTTP API answers, `exitCode` what the
 * CLI exits with, `retryable` whether the same call may succeed later with nothing changed by the caller.
 */
export const errorTable = {
  INVALID_ARGUMENT: { httpStatus: 400, exitCode: 2, retryable: false, means: 'the call itself is wrong' },
  ACCESS_DENIED: { httpStatus: 403, exitCode: 3, retryable: false, means: 'this agent may not do that' },
  NOT_FOUND: { httpStatus: 404, exitCode: 4, retryable: false, means: 'no such artifact, version, namespace or file' },
  ALREADY_EXISTS: {
    httpStatus: 409,
    exitCode: 5,
    retryable: false,
    means: 'the target is there and was not to be replaced',
  },
  CONFLICT: { httpStatus: 409, exitCode: 6, retryable: false, means: 'it changed since the caller looked' },
  QUOTA_EXCEEDED: { httpStatus: 413, exitCode: 7, retryable: false, means: 'over a limit of the namespace’s plan' },
  TOO_LARGE: { httpStatus: 413, exitCode: 8, retryable: false, means: 'over a fixed limit of the format' },
  RANGE_INVALID: { httpStatus: 416, exitCode: 9, retryable: false, means: 'the range lies outside the content' },
  UNAVAILABLE: {
    httpStatus: 504,
    exitCode: 10,
    retryable: true,
    means: 'known, but nobody reachable has its bytes now',
  },
  LOCKED: { httpStatus: 503, exitCode: 11, retryable: true, means: 'another process has the data directory open' },
  STORAGE_FULL: { httpStatus: 507, exitCode: 12, retryable: true, means: 'the disk is full' },
  STORAGE_FAILED: { httpStatus: 500, exitCode: 13, retryable: true, means: 'the disk answered with an error' },
  CORRUPT: {
    httpStatus: 500,
    exitCode: 14,
    retryable: false,
    means: 'stored or received bytes are not what they should be',
  },
  SOURCE_FAILED: {
    httpStatus: 400,
    exitCode: 15,
    retryable: false,
    means: 'the data to store could not be read, or changed meanwhile',
  },
  UNSUPPORTED_FORMAT: {
    httpStatus: 500,
    exitCode: 16,
    retryable: false,
    means: 'of a format that this release does not know; left untouched',
  },
  CLOSED: { httpStatus: 503, exitCode: 17, retryable: false, means: 'the node is closed' },
  SIGNATURE_MISSING: { httpStatus: 401, exitCode: 18, retryable: false, means: 'the link carries no capability' },
  SIGNATURE_INVALID: {
    httpStatus: 403,
    exitCode: 19,
    retryable: false,
    means: 'the capability is damaged, not signed by its issuer, or for something else',
  },
  EXPIRED: { httpStatus: 403, exitCode: 20, retryable: false, means: 'the capability’s time is over' },
  NOT_YET_VALID: { httpStatus: 403, exitCode: 21, retryable: true, means: 'the capability’s time has not begun' },
  REVOKED: {
    httpStatus: 403,
    exitCode: 22,
    retryable: false,
    means: 'the capability, or its issuer’s right, was taken back',
  },
  AUDIENCE_MISMATCH: { httpStatus: 403, exitCode: 23, retryable: false, means: 'the capability is for another agent' },
  IP_DENIED: { httpStatus: 403, exitCode: 24, retryable: false, means: 'the capability is for another address' },
  EXHAUSTED: { httpStatus: 403, exitCode: 25, retryable: false, means: 'the link has been used as often as it may be' },
  RATE_LIMITED: { httpStatus: 429, exitCode: 26, retryable: true, means: 'too much at once, or too fast' },
  STALE_VIEW: {
    httpStatus: 503,
    exitCode: 27,
    retryable: true,
    means: 'whether it was revoked could not be asked of late',
  },
  INTERNAL: { httpStatus: 500, exitCode: 1, retryable: false, means: 'a bug here' },
} as const satisfies Record<string, ErrorTraits>

interface ErrorTraits {
  httpStatus: number
  exitCode: number
  retryable: boolean
  means: string
}

/** A stable name of a kind of failure. */
export type ErrorCode = keyof typeof errorTable

/** Facts about a failure that a program can use: ids, figures, paths. JSON-safe; never a key or a passphrase. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null | readonly string[]>>

/**
 * The base (and only) class of this project's errors. An abort is not one of them: an aborted call rejects
 * with its signal's own reason, by default a `DOMException` named `AbortError`.
 */
export class ArtifactHubError extends Error {
  override readonly name = 'ArtifactHubError'
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: { details?: ErrorDetails; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retryable = errorTable[code].retryable
    this.details = options.details ?? {}
  }

  toJSON(): { code: ErrorCode; message: string; retryable: boolean; details: ErrorDetails } {
    return { code: this.code, message: this.message, retryable: this.retryable, details: this.details }
  }
}

/** Whether `error` is one of ours, of that code if one is named. */
export function isHubError(error: unknown, code?: ErrorCode): error is ArtifactHubError {
  return error instanceof ArtifactHubError && (code === undefined || error.code === code)
}

/**
 * What is read of a value that a caller gave. Looking at it may throw: a getter of theirs, or bytes whose memory was moved to another thread.
 * @throws what `read` throws of ours; INVALID_ARGUMENT for anything else
 */
export function readGiven<T>(what: string, read: () => T, details?: ErrorDetails): T {
  try {
    return read()
  } catch (cause) {
    if (isHubError(cause)) throw cause
    throw new ArtifactHubError('INVALID_ARGUMENT', `${what} cannot be read`, { cause, ...(details && { details }) })
  }
}
