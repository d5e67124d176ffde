import { z } from 'zod'
import type { ContentRef } from '../content/index.ts'
import { artifactIdBytes, decodeCanonical, encodeCanonical, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError, type ErrorCode, errorTable } from '../errors.ts'
import {
  blockCreditBytes,
  maxBlockBytes,
  maxBlockRequestBytes,
  maxContentBytes,
  maxPresentationBytes,
  maxRequestLeaves,
} from '../limits.ts'

/** The protocol by which agents fetch blocks from each other. */
export const blocksProtocol = '/artifact-hub/blocks/1'

/** Leaves `first` to `first + count - 1` of a content. */
export interface LeafRun {
  readonly first: number
  readonly count: number
}

/** What is asked for. */
export interface BlockRequest {
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** 20 bytes. */
  readonly artifact: Uint8Array
  readonly root: ContentRef
  /** Ascending, apart from each other, at most `maxRequestLeaves` leaves in all. */
  readonly runs: readonly LeafRun[]
  /** The nodes from the root down to the parent of the first leaf of the one run, which has one leaf or none, come first. */
  readonly nodes: boolean
}

/** From the one who asks. */
export type AskerFrame =
  | { readonly kind: 'request'; readonly request: BlockRequest }
  /** So many more bytes of blocks may be sent. */
  | { readonly kind: 'credit'; readonly bytes: number }
  /** By what right the asker, who has no role, asks for what comes after: `encodePresentation`. */
  | { readonly kind: 'present'; readonly presentation: Uint8Array }

/** From the one who serves; the answers to requests come in the order of the requests. */
export type ServerFrame =
  /** The answer begins: nodes, then leaves or what is missing, then the end. */
  | { readonly kind: 'accept' }
  /** The whole answer. */
  | { readonly kind: 'refuse'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'node'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'leaf'; readonly index: number; readonly bytes: Uint8Array<ArrayBuffer> }
  /** These leaves (or, with no count, the nodes above that leaf) are not here. */
  | { readonly kind: 'missing'; readonly run: LeafRun }
  | { readonly kind: 'end' }

/** A frame as it stands on the wire, in parts. */
export type FrameParts = readonly Uint8Array[]

interface FrameForm {
  readonly kind: (AskerFrame | ServerFrame)['kind']
  /** Bytes between type and body: of a fixed length, so that the body has memory of its own. */
  readonly headBytes: number
  readonly maxBodyBytes: number
}

/** Of requests: nothing else in a frame could come in another version without one of these before it. */
const formatVersion = 1
/** A full node is about 60 KiB; readers take twice that. */
const maxNodeBytes = 128 * 1024
const maxMessageBytes = 1024

const askerForms: ReadonlyMap<number, FrameForm> = new Map([
  [0x01, { kind: 'request', headBytes: 0, maxBodyBytes: maxBlockRequestBytes }],
  [0x02, { kind: 'credit', headBytes: 4, maxBodyBytes: 0 }],
  [0x03, { kind: 'present', headBytes: 0, maxBodyBytes: maxPresentationBytes }],
])
const serverForms: ReadonlyMap<number, FrameForm> = new Map([
  [0x11, { kind: 'accept', headBytes: 0, maxBodyBytes: 0 }],
  [0x12, { kind: 'refuse', headBytes: 0, maxBodyBytes: maxMessageBytes }],
  [0x13, { kind: 'node', headBytes: 0, maxBodyBytes: maxNodeBytes }],
  [0x14, { kind: 'leaf', headBytes: 4, maxBodyBytes: maxBlockBytes }],
  [0x15, { kind: 'missing', headBytes: 8, maxBodyBytes: 0 }],
  [0x16, { kind: 'end', headBytes: 0, maxBodyBytes: 0 }],
])
const typeOf = new Map([...askerForms, ...serverForms].map(([type, { kind }]) => [kind, type]))

const bytes = (length: number) => z.instanceof(Uint8Array).refine((value) => value.length === length)
const count = (max: number) => z.int().min(0).max(max)
const requestForm = z.strictObject({
  v: z.literal(formatVersion),
  ns: bytes(32),
  art: bytes(artifactIdBytes),
  root: bytes(32),
  codec: count(0xffff),
  size: count(maxContentBytes),
  stored: count(2 * maxContentBytes),
  runs: z
    .array(z.tuple([count(0xffff_ffff), count(maxRequestLeaves)]))
    .min(1)
    .max(maxRequestLeaves),
  nodes: z.boolean(),
})
const refuseForm = z.strictObject({ code: z.string(), message: z.string() })

/** The bytes of a frame: u32 big-endian length of what follows ‖ type (1) ‖ head ‖ body. */
export function encodeFrame(frame: AskerFrame | ServerFrame): FrameParts {
  switch (frame.kind) {
    case 'request':
      return framed(frame.kind, [], encodeRequest(frame.request))
    case 'credit':
      return framed(frame.kind, [frame.bytes])
    case 'present':
      return framed(frame.kind, [], frame.presentation)
    case 'refuse':
      return framed(frame.kind, [], encodeCanonical({ code: frame.code, message: frame.message }))
    case 'node':
      return framed(frame.kind, [], frame.bytes)
    case 'leaf':
      return framed(frame.kind, [frame.index], frame.bytes)
    case 'missing':
      return framed(frame.kind, [frame.run.first, frame.run.count])
    case 'accept':
    case 'end':
      return framed(frame.kind, [])
  }
}

function framed(kind: FrameForm['kind'], head: readonly number[], body?: Uint8Array): FrameParts {
  const start = new Uint8Array(5 + 4 * head.length)
  const view = new DataView(start.buffer)
  view.setUint32(0, 1 + 4 * head.length + (body?.length ?? 0))
  view.setUint8(4, typeOf.get(kind) as number)
  head.forEach((value, at) => {
    view.setUint32(5 + 4 * at, value)
  })
  return body === undefined ? [start] : [start, body]
}

function encodeRequest({ namespace, artifact, root, runs, nodes }: BlockRequest): Uint8Array {
  return encodeCanonical({
    v: formatVersion,
    ns: namespace,
    art: artifact,
    root: root.digest,
    codec: root.codec,
    size: root.sizeBytes,
    stored: root.storedBytes,
    runs: runs.map((run) => [run.first, run.count]),
    nodes,
  })
}

function decodeRequest(body: Uint8Array): BlockRequest {
  const decoded = decodeCanonical(body, { maxBytes: maxBlockRequestBytes, what: 'a request for blocks' })
  requireFormatVersion((decoded as { v?: unknown } | null)?.v, formatVersion, 'this request for blocks')
  const parsed = requestForm.safeParse(decoded)
  if (!parsed.success) throw malformed('a request of the wrong form')
  const { data } = parsed
  const root = { digest: data.root, codec: data.codec, sizeBytes: data.size, storedBytes: data.stored }
  const runs = data.runs.map(([first, length]) => ({ first, count: length }))
  let next = 0
  let leaves = 0
  for (const run of runs) {
    const isEmpty = run.count === 0 && !data.nodes
    if (run.first < next || isEmpty) throw malformed('a request whose runs are not in order')
    next = run.first + run.count
    leaves += run.count
  }
  if (leaves > maxRequestLeaves) throw malformed('a request for too many leaves')
  if (data.nodes && (runs.length > 1 || leaves > 1)) throw malformed('a request for nodes with too many leaves')
  return { namespace: data.ns, artifact: data.art, root, runs, nodes: data.nodes }
}

function decodeRefusal(body: Uint8Array): ServerFrame {
  const parsed = refuseForm.safeParse(decodeCanonical(body, { maxBytes: maxMessageBytes, what: 'a refusal' }))
  if (!parsed.success) throw malformed('a refusal of the wrong form')
  const code = parsed.data.code
  if (!Object.hasOwn(errorTable, code)) throw malformed('a refusal with an unknown code')
  return { kind: 'refuse', code: code as ErrorCode, message: parsed.data.message }
}

/** A frame as it was cut out of a stream. */
export interface RawFrame {
  readonly kind: FrameForm['kind']
  readonly head: DataView
  /** With all of its buffer the caller's own. */
  readonly body: Uint8Array<ArrayBuffer>
}

/** @throws CORRUPT when the frame is not what its kind must be; UNSUPPORTED_FORMAT */
export function decodeAskerFrame({ kind, head, body }: RawFrame): AskerFrame {
  if (kind === 'request') return { kind, request: decodeRequest(body) }
  if (kind === 'present') return { kind, presentation: body }
  if (kind !== 'credit') throw malformed('a frame of the other side')
  const granted = head.getUint32(0)
  if (granted < 1 || granted > blockCreditBytes + maxBlockBytes) throw malformed('a credit of the wrong size')
  return { kind, bytes: granted }
}

/** @throws CORRUPT when the frame is not what its kind must be */
export function decodeServerFrame({ kind, head, body }: RawFrame): ServerFrame {
  switch (kind) {
    case 'accept':
    case 'end':
      return { kind }
    case 'refuse':
      return decodeRefusal(body)
    case 'node':
      return { kind, bytes: body }
    case 'leaf':
      return { kind, index: head.getUint32(0), bytes: body }
    case 'missing':
      return { kind, run: { first: head.getUint32(0), count: head.getUint32(4) } }
    default:
      throw malformed('a frame of the other side')
  }
}

/** What a frame of this type may look like; whoever reads checks it before there is memory for the frame. */
export function frameForm(sender: 'asker' | 'server', type: number, lengthBytes: number): FrameForm {
  const form = (sender === 'asker' ? askerForms : serverForms).get(type)
  if (form === undefined) throw malformed('a frame of an unknown type')
  const bodyBytes = lengthBytes - 1 - form.headBytes
  if (bodyBytes > form.maxBodyBytes) throw new ArtifactHubError('TOO_LARGE', `a frame (${form.kind}) over its limit`)
  if (bodyBytes < 0) throw malformed(`a frame (${form.kind}) that is too short`)
  return form
}

/** The error for a frame that no honest peer sends. */
export function malformed(problem: string): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', `Not a valid frame: ${problem}`)
}
