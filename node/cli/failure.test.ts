import { CommanderError } from 'commander'
import { expect, test } from 'vitest'
import { ArtifactHubError, type ErrorCode, errorTable } from '../../src/errors.ts'
import { describeFailure, failureText, Interrupted } from './failure.ts'
import { OutputClosed } from './output.ts'

test('every code exits with its own number of the table', () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    expect(describeFailure(new ArtifactHubError(code, 'x')).exitCode).toBe(errorTable[code].exitCode)
  }
})

test('what is not ours is an INTERNAL error that shows its message and, only when asked, its stack', () => {
  const failure = describeFailure(new TypeError('oops'))
  expect(failure.exitCode).toBe(1)
  expect(failureText(failure, { json: false })).toMatch(/^artifact-hub: oops\n {2}this is a bug/)
  expect(failureText(failure, { json: false, stack: 'STACK' })).toContain('STACK')
})

test('a reader that went away ends it quietly, an interruption as shells report one', () => {
  expect(failureText(describeFailure(new OutputClosed()), { json: true })).toBe('')
  expect(describeFailure(new OutputClosed()).exitCode).toBe(141)
  expect(describeFailure(new Interrupted('SIGINT')).exitCode).toBe(130)
  expect(describeFailure(new Interrupted('SIGTERM')).exitCode).toBe(143)
})

test('a failure while closing does not hide the failure before it', () => {
  const first = new ArtifactHubError('NOT_FOUND', 'first')
  const both = new SuppressedError(new ArtifactHubError('STORAGE_FAILED', 'closing'), first)
  expect(describeFailure(both).told?.code).toBe('NOT_FOUND')
})

test('a wrong command line is a usage error, and help is not', () => {
  expect(
    describeFailure(new CommanderError(1, 'commander.unknownOption', "error: unknown option '--x'")),
  ).toMatchObject({
    exitCode: 2,
    told: { code: 'INVALID_ARGUMENT', message: "unknown option '--x'" },
  })
  expect(describeFailure(new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'))).toEqual({ exitCode: 0 })
})

test('messages cannot carry terminal controls', () => {
  const failure = describeFailure(new ArtifactHubError('NOT_FOUND', 'no "\u001b[2J" here'))
  expect(failureText(failure, { json: false })).toContain('no "\\x1b[2J" here\n')
  expect(JSON.parse(failureText(failure, { json: true }))).toMatchObject({
    error: { code: 'NOT_FOUND', retryable: false, details: {}, hint: expect.stringContaining('ls') },
  })
})

test('a download that failed says who was asked and what each answered', () => {
  const asked = ['did:key:a: refused', 'did:key:b: does not have\u001b the block']
  const failure = describeFailure(new ArtifactHubError('UNAVAILABLE', 'nobody brings it', { details: { asked } }))
  expect(failureText(failure, { json: false }).split('\n').slice(0, 3)).toEqual([
    'artifact-hub: nobody brings it',
    '  did:key:a: refused',
    '  did:key:b: does not have\\x1b the block',
  ])
  expect(JSON.parse(failureText(failure, { json: true }))).toMatchObject({ error: { details: { asked } } })
})
