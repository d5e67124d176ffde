import { validateContentType, validateName } from '../catalog/index.ts'
import { decodeCanonical, encodeCanonical, equalBytes, Reader, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { type AgentKey, verifySignature } from '../identity/index.ts'
import {
  maxCapabilityBytes,
  maxContentBytes,
  maxContentTypeBytes,
  maxEnvelopeBytes,
  maxNameBytes,
  maxShareMessageBytes,
} from '../limits.ts'
import type { ShareClaims } from './claims.ts'
import { type Capability, decodeCapability, decodeUnverifiedCapability } from './token.ts'

const formatVersion = 1
const signatureBytes = 64

/** What tells of a share: the capability, and what whoever shared it says of the artifact as it was then. */
export interface Envelope {
  readonly capability: Capability<ShareClaims>
  readonly name: string
  readonly contentType: string
  readonly sizeBytes: number
  readonly message: string | undefined
}

/**
 * Signs an envelope: canonical DAG-CBOR `[statement, signature]`, layout in the README.
 *
 * @param agent the capability's issuer
 * @throws INVALID_ARGUMENT, TOO_LARGE for what no envelope can hold
 */
export function sealEnvelope(
  agent: AgentKey,
  { capability, name, contentType, sizeBytes, message }: Envelope,
): Uint8Array<ArrayBuffer> {
  if (!equalBytes(agent.publicKey, capability.claims.issuer))
    throw new ArtifactHubError('INVALID_ARGUMENT', 'an envelope is signed by the issuer of what is in it')
  validateName(name)
  validateContentType(contentType)
  if (message !== undefined) validateShareMessage(message)
  const fields = { v: formatVersion, cap: capability.token, name, type: contentType, size: sizeBytes }
  const statement = encodeCanonical({ ...fields, message: message ?? null })
  return encodeCanonical([statement, agent.sign('envelope', statement)])
}

/**
 * An envelope from bytes that anyone may have made: size, form, the capability's signature and its own are checked in that order.
 *
 * @throws TOO_LARGE; CORRUPT when it is malformed, of no share, or not signed by the capability's issuer; UNSUPPORTED_FORMAT
 */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  return readEnvelope(bytes, true)
}

/**
 * `decodeEnvelope` without the checks of signatures: for whoever has it from an entry that its issuer signed.
 *
 * @throws TOO_LARGE, CORRUPT, UNSUPPORTED_FORMAT
 */
export function decodeUnverifiedEnvelope(bytes: Uint8Array): Envelope {
  return readEnvelope(bytes, false)
}

function readEnvelope(bytes: Uint8Array, verify: boolean): Envelope {
  const parts = Reader.list(
    decodeCanonical(bytes, { maxBytes: maxEnvelopeBytes, what: 'an envelope' }),
    'envelope',
    2,
    2,
  )
  const statement = parts.someBytes(0, maxEnvelopeBytes)
  const signature = parts.bytes(1, signatureBytes)
  const value = decodeCanonical(statement, { maxBytes: maxEnvelopeBytes, what: 'what an envelope says' })
  const reader = Reader.map(value, 'envelope')
  const token = reader.someBytes('cap', maxCapabilityBytes)
  const capability = verify ? decodeCapability(token) : decodeUnverifiedCapability(token)
  const version = reader.integer('v', 0, Number.MAX_SAFE_INTEGER)
  if (verify && !verifySignature('envelope', statement, capability.claims.issuer, signature))
    throw reader.malformed('it is not signed by the issuer of what is in it')
  requireFormatVersion(version, formatVersion, 'this envelope')
  if (!isShare(capability)) throw reader.malformed('it is of no share')
  const envelope: Envelope = {
    capability,
    name: checked(reader, reader.text('name', maxNameBytes), validateName),
    contentType: checked(reader, reader.text('type', maxContentTypeBytes), validateContentType),
    sizeBytes: reader.integer('size', 0, maxContentBytes),
    message: checked(reader, reader.optionalText('message', maxShareMessageBytes), validateShareMessage),
  }
  reader.end()
  return envelope
}

/** A message that goes with a share. @throws INVALID_ARGUMENT, TOO_LARGE */
function validateShareMessage(message: string): void {
  if (Buffer.byteLength(message) > maxShareMessageBytes)
    throw new ArtifactHubError('TOO_LARGE', `a message has at most ${maxShareMessageBytes} bytes`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  if (!message.isWellFormed() || /[\u0000-\u0008\u000b-\u001f\u007f]/.test(message))
    throw new ArtifactHubError('INVALID_ARGUMENT', 'a message is text without control characters')
}

function isShare(capability: Capability): capability is Capability<ShareClaims> {
  return capability.claims.kind === 'share'
}

/** A text as `check` takes it from those who write it. */
function checked<T extends string | undefined>(reader: Reader, text: T, check: (text: NonNullable<T>) => unknown): T {
  try {
    if (text !== undefined) check(text)
    return text
  } catch (cause) {
    if (!isHubError(cause)) throw cause
    throw reader.malformed(cause.message)
  }
}
