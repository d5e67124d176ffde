import { sha256 } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import { maxEntryBytes, maxHeaderBytes } from '../limits.ts'
import { checkKeys, decodeAuthBody } from './auth-body.ts'
import type { Entry, EntryHeader, KeySection } from './entry.ts'
import { checkHeader, encodeEntry, encodeHeader, encodeKeys } from './entry-codec.ts'

/** What an author decides of a header; the rest follows from the key and the sections. */
export type HeaderDraft = Omit<EntryHeader, 'author' | 'keysHash' | 'bodyHash'>

/** What goes with a header. */
export interface EntrySections {
  readonly keys?: KeySection | undefined
  /** As it will be stored: encrypted already when it is secret. */
  readonly body?: Uint8Array | undefined
  readonly leaf?: Uint8Array | undefined
}

/** An entry and its stored bytes. */
interface EntryBytes {
  readonly entry: Entry
  readonly bytes: Uint8Array<ArrayBuffer>
}

/**
 * Makes a signed entry and its stored bytes.
 *
 * @throws TOO_LARGE when it is over the limit for an entry; CORRUPT when body or keys are not what that kind has
 */
export function signEntry(agent: AgentKey, draft: HeaderDraft, sections: EntrySections): EntryBytes {
  return formEntry(agent, draft, sections, (headerBytes) => agent.sign('entry', headerBytes))
}

/**
 * As `signEntry`, but the signature is made beside this thread: nothing else of an entry depends on it, its hash
 * neither. Until `signed` resolves it is zeros, in the entry and in the bytes; they may not leave this process before.
 *
 * @throws as `signEntry`
 */
export function beginEntry(
  agent: AgentKey,
  draft: HeaderDraft,
  sections: EntrySections,
): EntryBytes & { readonly signed: Promise<void> } {
  const signature = new Uint8Array(signatureBytes)
  const { entry, bytes } = formEntry(agent, draft, sections, () => signature)
  const signed = agent.signBeside('entry', entry.headerBytes).then((made) => {
    signature.set(made)
    bytes.set(made, signatureOffset(entry.headerBytes.length))
  })
  return { entry, bytes, signed }
}

const signatureBytes = 64

/** Where the second section's bytes begin: after the head of the list, the first section, and the second's own head (2). */
function signatureOffset(headerLength: number): number {
  const lengthBytes = headerLength < 24 ? 0 : headerLength < 256 ? 1 : 2
  return 1 + (1 + lengthBytes + headerLength) + 2
}

function formEntry(
  agent: AgentKey,
  draft: HeaderDraft,
  sections: EntrySections,
  sign: (headerBytes: Uint8Array) => Uint8Array,
): EntryBytes {
  const { keys, body, leaf } = sections
  const keysBytes = keys === undefined ? undefined : encodeKeys(keys)
  const header: EntryHeader = {
    ...draft,
    author: agent.publicKey,
    keysHash: keysBytes === undefined ? undefined : sha256(keysBytes),
    bodyHash: body === undefined ? undefined : sha256(body),
  }
  const headerBytes = encodeHeader(header)
  checkHeader(header)
  const auth = decodeAuthBody(header, body)
  if (keys !== undefined) checkKeys(header, auth, keys)
  const signature = sign(headerBytes)
  const entry: Entry = { hash: sha256(headerBytes), header, headerBytes, signature, keys, keysBytes, auth, body, leaf }
  const bytes = encodeEntry(entry)
  if (headerBytes.length > maxHeaderBytes || bytes.length > maxEntryBytes) {
    throw new ArtifactHubError(
      'TOO_LARGE',
      `this entry would be ${bytes.length} bytes; at most ${maxEntryBytes} are allowed`,
    )
  }
  return { entry, bytes }
}
