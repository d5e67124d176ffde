import { createCipheriv, createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect } from 'vitest'
import {
  ArtifactHubError,
  type Client,
  type ErrorCode,
  errorTable,
  type Namespace,
  type PlanName,
} from '../../sdk/index.ts'

/** A client to test, and how to be done with it. What `close` finds wrong with the store it throws. */
export interface OpenedClient {
  readonly client: Client
  close(): Promise<void>
}

/** Opens a client over an empty store: in process, over HTTP, whatever has the interface. */
export type OpenClient = () => Promise<OpenedClient>

/** One client for all tests of a suite. */
export function useClient(open: OpenClient): Client {
  let opened: OpenedClient | undefined
  beforeAll(async () => {
    opened = await open()
  })
  // Closing checks the whole store, which may have become large.
  afterAll(async () => {
    await opened?.close()
  }, 240_000)
  const client = (): Client => {
    if (opened === undefined) throw new Error('the client is open only while tests run')
    return opened.client
  }
  return {
    get did() {
      return client().did
    },
    get agent() {
      return client().agent
    },
    get artifact() {
      return client().artifact
    },
    get namespace() {
      return client().namespace
    },
    get group() {
      return client().group
    },
    get inbox() {
      return client().inbox
    },
  }
}

/** A scratch folder for all tests of a suite; gives the path of a name in it. */
export function useFolder(): (name: string) => string {
  let folder: string | undefined
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'artifact-hub-client-'))
  })
  afterAll(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  })
  return (name) => {
    if (folder === undefined) throw new Error('the folder is there only while tests run')
    return join(folder, name)
  }
}

let namespaces = 0

/** A namespace of its own for a test that lists or counts. */
export async function freshNamespace(client: Client, plan?: PlanName): Promise<Namespace> {
  namespaces += 1
  return await client.namespace.create({ name: `test ${namespaces}`, plan })
}

/** What the call rejects with. A call that throws instead of rejecting, or that succeeds, fails the test. */
export async function rejectionOf(call: PromiseLike<unknown>): Promise<unknown> {
  let outcome: { value: unknown } | { reason: unknown }
  try {
    outcome = { value: await call }
  } catch (reason) {
    outcome = { reason }
  }
  if ('reason' in outcome) return outcome.reason
  throw new Error(`should have been rejected, but gave ${JSON.stringify(outcome.value)?.slice(0, 200)}`)
}

/** Each call's failure, which must be one of ours with that code. The calls are made one after the other. */
export async function failuresOf(
  calls: readonly (() => PromiseLike<unknown>)[],
  code: ErrorCode,
): Promise<ArtifactHubError[]> {
  const failures: ArtifactHubError[] = []
  for (const call of calls) failures.push(await failureOf(call(), code))
  return failures
}

/** The call's failure, which must be one of ours with that code. */
export async function failureOf(call: PromiseLike<unknown>, code: ErrorCode): Promise<ArtifactHubError> {
  const error = await rejectionOf(call)
  if (!(error instanceof ArtifactHubError)) throw new Error('not an ArtifactHubError', { cause: error })
  expect({ code: error.code, message: error.message, retryable: error.retryable }).toEqual({
    code,
    message: expect.stringMatching(/\S/),
    retryable: errorTable[code].retryable,
  })
  expect(JSON.parse(JSON.stringify(error.details))).toEqual(error.details)
  return error
}

/** Bytes that look random and are always the same for one seed. */
export function seededBytes(seed: string, length: number): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), new Uint8Array(16))
  return new Uint8Array(cipher.update(new Uint8Array(length)))
}

/** SHA-256 in lowercase hex. */
export function sha256Hex(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** All that an iterable of bytes gives, in one piece. */
export async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(Buffer.concat(await Array.fromAsync(pieces)))
}

/** `bytes` in pieces of that length. */
export async function* inPieces(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

/** Asserts that bytes are equal: fast, and short when they are not. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  expect({ bytes: actual.length, sha256: sha256Hex(actual) }).toEqual({
    bytes: expected.length,
    sha256: sha256Hex(expected),
  })
}

/** Kilobytes and the like, for reading. */
export const KiB = 1024
export const MiB = 1024 * KiB
