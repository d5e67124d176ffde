import type { ContentSource } from '../../src/content/index.ts'
import { ArtifactHubError, isHubError, readGiven } from '../../src/errors.ts'
import type { SourceFile } from './environment.ts'

/** Content to store, and its length when it is known. */
export interface Content {
  readonly source: ContentSource
  readonly sizeBytes: number | undefined
  /** All of it, when it is bytes in hand: the caller's, who may change them. */
  readonly bytes?: Uint8Array
}

const pieceBytes = 4 * 1024 * 1024

/** Takes whatever `create` and `update` take as data. @throws INVALID_ARGUMENT for anything else */
export function dataContent(data: unknown): Content {
  return readGiven('data', () => contentOf(data), { option: 'data' })
}

function contentOf(data: unknown): Content {
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    return bytesContent(bytes)
  }
  if (data instanceof ArrayBuffer || data instanceof SharedArrayBuffer) {
    return bytesContent(new Uint8Array(data))
  }
  if (data instanceof Blob) return { source: data.stream(), sizeBytes: data.size }
  if (isIterable(data)) return { source: bytesOnly(data), sizeBytes: undefined }
  const given = data === null ? 'null' : typeof data
  const hint =
    typeof data === 'string'
      ? ': to store the file at a path use uploadFile({ path }), to store text use createSnippet({ content })'
      : ''
  throw new ArtifactHubError(
    'INVALID_ARGUMENT',
    `data must be a Uint8Array, ArrayBuffer, Blob, ReadableStream or AsyncIterable<Uint8Array>, not ${given}${hint}`,
    { details: { option: 'data' } },
  )
}

function bytesContent(bytes: Uint8Array): Content {
  return { source: slices(bytes), sizeBytes: bytes.length, bytes }
}

function isIterable(data: unknown): data is AsyncIterable<unknown> {
  return (
    typeof data === 'object' &&
    data !== null &&
    typeof (data as AsyncIterable<unknown>)[Symbol.asyncIterator] === 'function'
  )
}

async function* slices(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

async function* bytesOnly(pieces: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of pieces) {
      if (!(piece instanceof Uint8Array)) {
        const given = piece === null ? 'null' : typeof piece
        const hint =
          given === 'string' ? ': a stream of text needs encoding first (no setEncoding; TextEncoderStream)' : ''
        throw new ArtifactHubError(
          'INVALID_ARGUMENT',
          `data yielded a piece that is not a Uint8Array but ${given}${hint}`,
        )
      }
      yield piece
    }
  } catch (cause) {
    if (isHubError(cause)) throw cause
    // Also when it calls itself an AbortError: it is the source's own abort then, not this call's.
    throw new ArtifactHubError('SOURCE_FAILED', 'the data to store could not be read', { cause })
  }
}

/** A file's content. */
export function fileContent(file: SourceFile): Content {
  return { source: file, sizeBytes: file.sizeBytes }
}
