import { CommanderError } from 'commander'
import { ArtifactHubError, type ErrorCode, type ErrorDetails, errorTable } from '../../src/errors.ts'
import { OutputClosed } from './output.ts'
import { escapeLines, jsonText } from './text/index.ts'

/** Set, to anything but the empty string, it adds stack traces to error messages. */
export const debugVariable = 'ARTIFACT_HUB_DEBUG'

/** Why a command stops on a signal: `SIGINT` or `SIGTERM`. */
export class Interrupted extends Error {
  override readonly name = 'AbortError'
  readonly exitCode: number

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(signal === 'SIGINT' ? 'interrupted' : 'terminated')
    // POSIX shells report a process ended by signal n as 128 + n.
    this.exitCode = signal === 'SIGINT' ? 130 : 143
  }
}

/** A failure as the CLI tells it. */
export interface Failure {
  readonly exitCode: number
  /** Absent when there is nothing to say: help was shown, or the reader of a pipe went away. */
  readonly told?: {
    readonly code: ErrorCode | 'INTERRUPTED'
    readonly message: string
    readonly retryable: boolean
    readonly details: ErrorDetails
    /** What to do next. */
    readonly hint?: string | undefined
  }
}

/** What a pipe's writer exits with: 128 + SIGPIPE, as `cat` does. */
const closedPipeExitCode = 141

/** What to do next. `INVALID_ARGUMENT` and `LOCKED` have none: their messages say it. */
const hints: Partial<Record<ErrorCode, string>> = {
  ACCESS_DENIED:
    'an identity with a passphrase needs it: on a terminal, or in a file that ARTIFACT_HUB_PASSPHRASE_FILE names; in a namespace an owner or admin gives rights with `artifact-hub ns grant`',
  NOT_FOUND:
    'check the spelling, and whether it is in another namespace (--ns); `artifact-hub ls` shows the artifacts, `artifact-hub ns ls` the namespaces, `artifact-hub group ls` the groups, `artifact-hub agent ls` the names of others',
  ALREADY_EXISTS: 'choose another name, or replace what is there with --force where the command has it',
  CONFLICT: 'look at the current version with `artifact-hub info`, then try again',
  QUOTA_EXCEEDED: '`artifact-hub ns usage` shows the figures; `artifact-hub ns plan NAME PLAN` raises the limit',
  TOO_LARGE: 'make it smaller: this limit is the same for every plan',
  RANGE_INVALID: '`artifact-hub info` shows the size',
  UNAVAILABLE: 'try again when a node that holds it can be reached; `artifact-hub peers` shows who can',
  STORAGE_FULL: 'free some space, then run it again; what was stored before is intact',
  STORAGE_FAILED: 'look at the disk and at the permissions of the data directory, then run it again',
  CORRUPT: '`artifact-hub check --read-data` shows all that is broken; with --repair it saves what can be saved',
  SOURCE_FAILED: 'make sure that the source can be read and stays as it is, then run it again',
  UNSUPPORTED_FORMAT: 'use the release of artifact-hub that wrote it',
  INTERNAL: `this is a bug in artifact-hub; run it again with ${debugVariable}=1 and report what it prints`,
}

/** The exit code and the words for whatever a command threw. */
export function describeFailure(thrown: unknown): Failure {
  // `await using` wraps what the command threw when closing fails too; the first is the cause of both.
  const error = thrown instanceof SuppressedError ? thrown.suppressed : thrown
  if (error instanceof OutputClosed) return { exitCode: closedPipeExitCode }
  if (error instanceof Interrupted) {
    return {
      exitCode: error.exitCode,
      told: { code: 'INTERRUPTED', message: error.message, retryable: true, details: {} },
    }
  }
  if (error instanceof CommanderError) return describeUsage(error)
  const code = error instanceof ArtifactHubError ? error.code : 'INTERNAL'
  const message = error instanceof Error ? error.message || error.name : String(error)
  return {
    exitCode: errorTable[code].exitCode,
    told: {
      code,
      message,
      retryable: errorTable[code].retryable,
      details: error instanceof ArtifactHubError ? error.details : {},
      hint: hints[code],
    },
  }
}

/** What makes a link work, as its URL has it; none is shorter. */
const capability = /\bcap=[\w%-]{64,}/g

/**
 * The text of a failure for standard error: words for people, one JSON document for programs. Links that were arguments are in it
 * without what makes them work, for what scripts print ends up in logs.
 */
export function failureText(failure: Failure, options: { json: boolean; stack?: string | undefined }): string {
  return textOf(failure, options).replaceAll(capability, 'cap=…')
}

function textOf(failure: Failure, options: { json: boolean; stack?: string | undefined }): string {
  if (failure.told === undefined) return ''
  const { hint, ...error } = failure.told
  if (options.json) return `${jsonText({ error: { ...error, ...(hint === undefined ? {} : { hint }) } })}\n`
  const words = error.code === 'INTERRUPTED' ? error.message : `artifact-hub: ${error.message}`
  const { asked } = error.details
  const answers = Array.isArray(asked) ? asked.map((answer) => `  ${answer}`) : []
  return [words, ...answers, ...(hint === undefined ? [] : [`  ${hint}`]), ...(options.stack ? [options.stack] : [])]
    .map((line) => `${escapeLines(line)}\n`)
    .join('')
}

function describeUsage(error: CommanderError): Failure {
  if (error.exitCode === 0) return { exitCode: 0 }
  const { exitCode } = errorTable.INVALID_ARGUMENT
  // No command given: commander has printed the help already.
  if (error.code === 'commander.help') return { exitCode }
  const message = error.message.replace(/^error: /, '')
  const hint = 'add --help to see how the command is used'
  return { exitCode, told: { code: 'INVALID_ARGUMENT', message, retryable: false, details: {}, hint } }
}
