import { decodeRoot, encodeRoot, rootMembers } from '../catalog/index.ts'
import {
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  Reader,
  record,
  requireFormatVersion,
  sha256,
} from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { boxedKeyBytes, boxTagBytes, verifySignature, verifySignatureBeside } from '../identity/index.ts'
import { maxBoxesInEntry, maxEntryBytes, maxHeaderBytes, maxParentHeads, maxVersionHeads } from '../limits.ts'
import { checkKeys, decodeAuthBody } from './auth-body.ts'
import type { BoxLabel, DataHeader, Entry, EntryHeader, EntryKind, KeySection } from './entry.ts'
import { malformed } from './malformed.ts'

const formatVersion = 1
const kinds = [
  'genesis',
  'grant',
  'revoke',
  'adopt',
  'rotate',
  'revoke-capability',
  'descriptor',
  'keys',
  'put',
  'delete',
  'drop',
  'share',
] as const
const dataKinds: readonly EntryKind[] = ['put', 'delete', 'drop', 'share', 'keys']
const keylessKinds: readonly EntryKind[] = ['genesis', 'revoke', 'adopt', 'revoke-capability', 'descriptor']
const jtiBytes = 16
/** UTF-16 units of the name of a kind that a later release may bring. */
const maxKindUnits = 64

/** The header's bytes: what is hashed, linked and signed. */
export function encodeHeader(header: EntryHeader): Uint8Array<ArrayBuffer> {
  const { data } = header
  return encodeCanonical({
    v: formatVersion,
    kind: header.kind,
    ns: header.namespace ?? null,
    author: header.author,
    grant: header.grant ?? null,
    inc: header.incarnation,
    seq: header.seq,
    prev: header.previous ?? null,
    heads: header.heads,
    clock: [header.clock.wallMs, header.clock.counter],
    keys: header.keysHash ?? null,
    body: header.bodyHash ?? null,
    key: header.keyId ?? null,
    data:
      data === undefined
        ? null
        : {
            art: data.artifactSalt,
            from: data.parents,
            gen: data.gen,
            roots: data.root === undefined ? [] : [encodeRoot(data.root)],
            drops: data.versions,
            jti: data.jti ?? null,
          },
  })
}

/** The keys section's bytes. */
export function encodeKeys(keys: KeySection): Uint8Array<ArrayBuffer> {
  return encodeCanonical({
    wraps: keys.wraps.map(({ keyId, under, box }) => [keyId, under, box]),
    eph: keys.ephemeral ?? null,
    boxes: keys.boxes.map(({ keyId, tag, box }) => [keyId, tag, box]),
    for: keys.boxes.some(({ label }) => label !== undefined)
      ? keys.boxes.map(({ label }) => (label === undefined ? null : [label.jti, label.epoch ?? null]))
      : [],
  })
}

/** An entry as it is stored and sent: one canonical DAG-CBOR array of its five sections. */
export function encodeEntry(
  entry: Pick<Entry, 'headerBytes' | 'signature' | 'keysBytes' | 'body' | 'leaf'>,
): Uint8Array<ArrayBuffer> {
  const { headerBytes, signature, keysBytes, body, leaf } = entry
  return encodeCanonical([headerBytes, signature, keysBytes ?? null, body ?? null, leaf ?? null])
}

/** How much of an entry must be there. */
export interface DecodeOptions {
  /** Takes a copy whose keys section was left out, for whoever follows one artifact only. What is left out is still named by its hash. */
  readonly partial?: boolean
}

/**
 * An entry from bytes that anyone may have made: size, form, hashes and signature are checked, in that order of cost.
 * That the author has the right to say it is for whoever evaluates grants: `src/membership`.
 *
 * A data entry's body or leaf that the header names may be missing (erased); one that it does not name may not be there.
 * An auth entry's body is never missing.
 *
 * @throws TOO_LARGE, CORRUPT; UNSUPPORTED_FORMAT for a version or a kind that this release does not know
 */
export function decodeEntry(bytes: Uint8Array, options: DecodeOptions = {}): Entry {
  const entry = decodeUnverifiedEntry(bytes, options)
  if (!isSignedByAuthor(entry)) throw malformed('the signature is not the author’s')
  return entry
}

/**
 * `decodeEntry` without the check of the signature, for who checks many at once elsewhere (`isSignedByAuthor`, in a
 * worker), or has the entry from where only checked ones go. Nothing may be done with the entry before.
 *
 * @throws TOO_LARGE, CORRUPT, UNSUPPORTED_FORMAT
 */
export function decodeUnverifiedEntry(bytes: Uint8Array, { partial = false }: DecodeOptions = {}): Entry {
  const sections = decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'an entry' })
  if (!Array.isArray(sections) || sections.length !== 5) throw malformed('an entry has five sections')
  const [headerBytes, signature, keysBytes, body, leaf] = sections.map((section, index) => {
    if (section instanceof Uint8Array) return section
    if (section === null && index >= 2) return undefined
    throw malformed('a section is not bytes')
  })
  if (headerBytes === undefined || signature === undefined) throw malformed('header or signature is missing')
  const header = decodeHeader(headerBytes, signature)
  checkSection('keys', keysBytes, header.keysHash, partial)
  checkSection('body', body, header.bodyHash, header.data !== undefined)
  const inline = header.data?.root?.inline === true ? header.data.root.digest : undefined
  checkSection('leaf', leaf, inline, true)
  const keys = keysBytes === undefined ? undefined : decodeKeys(keysBytes)
  const auth = decodeAuthBody(header, body)
  if (keys !== undefined) checkKeys(header, auth, keys)
  return record({ hash: sha256(headerBytes), header, headerBytes, signature, keys, keysBytes, auth, body, leaf })
}

/**
 * The keys section of an entry from bytes that were checked when they came, for who looks into many: what its boxes hold is known to be right by the id of the
 * key. @throws TOO_LARGE, CORRUPT
 */
export function decodeStoredKeys(bytes: Uint8Array): KeySection | undefined {
  const sections = decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'an entry' })
  const keys = Array.isArray(sections) && sections.length === 5 ? sections[2] : undefined
  if (keys !== null && !(keys instanceof Uint8Array)) throw malformed('an entry has five sections')
  return keys === null ? undefined : decodeKeys(keys)
}

/** As `isSignedByAuthor`, beside this thread. */
export function isSignedBeside({ header, headerBytes, signature }: Entry): Promise<boolean> {
  return verifySignatureBeside('entry', headerBytes, header.author, signature)
}

/** Whether the signature is the author's, over that header. */
export function isSignedByAuthor({ header, headerBytes, signature }: Entry): boolean {
  return verifySignature('entry', headerBytes, header.author, signature)
}

/**
 * The signature matters only to what this release does not know: another one wrote it if it is signed, and otherwise it is
 * damaged.
 *
 * @throws TOO_LARGE, CORRUPT, UNSUPPORTED_FORMAT
 */
function decodeHeader(bytes: Uint8Array, signature: Uint8Array): EntryHeader {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxHeaderBytes, what: 'an entry header' }), 'header')
  const author = reader.bytes('author', 32)
  const version = reader.integer('v', 0, Number.MAX_SAFE_INTEGER)
  const kindText = reader.text('kind', maxKindUnits)
  const kind = version === formatVersion ? kinds.find((known) => known === kindText) : undefined
  if (kind === undefined) {
    if (!verifySignature('entry', bytes, author, signature)) throw malformed('it is of no known kind, and not signed')
    requireFormatVersion(version, formatVersion, 'this entry')
    throw new ArtifactHubError('UNSUPPORTED_FORMAT', 'this entry is of a kind that a newer release brought')
  }
  const clock = reader.array('clock', 2, 2)
  const header = record<EntryHeader>({
    kind,
    namespace: reader.optionalBytes('ns', 32),
    author,
    grant: reader.optionalBytes('grant', 32),
    incarnation: reader.bytes('inc', 16),
    seq: reader.integer('seq', 0, Number.MAX_SAFE_INTEGER),
    previous: reader.optionalBytes('prev', 32),
    heads: reader.bytesArray('heads', 32, maxParentHeads),
    clock: record({ wallMs: clock.integer(0, 0, 2 ** 48 - 1), counter: clock.integer(1, 0, 2 ** 32 - 1) }),
    keysHash: reader.optionalBytes('keys', 32),
    bodyHash: reader.optionalBytes('body', 32),
    keyId: reader.optionalBytes('key', 16),
    data: decodeData(reader.optionalMap('data'), kind),
  })
  reader.end()
  checkHeader(header)
  return header
}

/** Checks that a header has what its kind has and nothing else. @throws CORRUPT */
export function checkHeader(header: EntryHeader): void {
  const { kind } = header
  if ((header.seq === 0) !== (header.previous === undefined))
    throw malformed('only the first of a chain has no previous')
  const isGenesis = kind === 'genesis'
  if (isGenesis !== (header.namespace === undefined) || isGenesis !== (header.grant === undefined)) {
    throw malformed('only a genesis names no namespace and no grant')
  }
  if (isGenesis && header.seq !== 0) throw malformed('a genesis is the first of its chain')
  const has = {
    keyId: header.keyId !== undefined,
    keys: header.keysHash !== undefined,
    body: header.bodyHash !== undefined,
  }
  if (header.data === undefined && !has.body) throw malformed('an auth entry has a body')
  if ((kind === 'put' || kind === 'share') && !(has.keyId && has.body)) throw malformed(`a ${kind} has a body`)
  if (kind === 'keys' && has.body !== (header.data === undefined)) throw malformed('keys of an artifact have no body')
  if ((kind === 'rotate' || kind === 'keys') && !(has.keyId && has.keys)) throw malformed(`a ${kind} brings a key`)
  if (kind === 'grant' && has.keyId !== has.keys) throw malformed('a grant brings a key with its id, or neither')
  if (keylessKinds.includes(kind) && (has.keyId || has.keys)) throw malformed(`a ${kind} brings no key`)
}

function decodeData(reader: Reader | undefined, kind: EntryKind): DataHeader | undefined {
  const mayHave = dataKinds.includes(kind)
  const mustHave = mayHave && kind !== 'keys'
  if (reader === undefined ? mustHave : !mayHave) throw malformed('data stands in data entries, and only there')
  if (reader === undefined) return undefined
  const roots = reader.array('roots', 0, 1)
  const isPut = kind === 'put'
  const data = record<DataHeader>({
    artifactSalt: reader.bytes('art', 16),
    parents: reader.bytesArray('from', 32, maxVersionHeads),
    gen: reader.integer('gen', isPut ? 1 : 0, isPut ? 2 ** 32 - 1 : 0),
    root: roots.length === 0 ? undefined : decodeRoot(roots.list(0, rootMembers)),
    versions: reader.bytesArray('drops', 32, maxVersionHeads),
    jti: reader.optionalBytes('jti', jtiBytes),
  })
  reader.end()
  if ((kind === 'share') !== (data.jti !== undefined)) throw malformed('a share, and only a share, names a capability')
  if (isPut !== (data.root !== undefined)) throw malformed('a put has one root')
  if ((kind === 'drop') !== data.versions.length > 0) throw malformed('a drop, and only a drop, names versions to drop')
  if (isPut && (data.gen === 1) !== (data.parents.length === 0)) throw malformed('only a first version has no parents')
  if ((kind === 'keys' || kind === 'share') && data.parents.length > 0) throw malformed(`a ${kind} follows no version`)
  if (kind === 'delete' && data.parents.length === 0) throw malformed('a delete names the heads it ends')
  return data
}

function decodeKeys(bytes: Uint8Array): KeySection {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'a keys section' }), 'keys')
  const wraps = reader.array('wraps', 0, maxBoxesInEntry)
  const boxes = reader.array('boxes', 0, maxBoxesInEntry)
  const labels = decodeLabels(reader.array('for', 0, maxBoxesInEntry), boxes.length)
  const section = record<KeySection>({
    ephemeral: reader.optionalBytes('eph', 32),
    wraps: wraps.mapLists(3, (row) =>
      record({ keyId: row.bytes(0, 16), under: row.bytes(1, 16), box: row.bytes(2, boxedKeyBytes) }),
    ),
    boxes: boxes.mapLists(3, (row, at) => ({
      keyId: row.bytes(0, 16),
      tag: row.bytes(1, boxTagBytes),
      box: row.bytes(2, boxedKeyBytes),
      label: labels[at],
    })),
  })
  reader.end()
  if ((section.ephemeral === undefined) !== (section.boxes.length === 0))
    throw malformed('boxes come with an ephemeral key')
  return section
}

/** None, or one for each box of which not all are null: so that a section has one encoding. */
function decodeLabels(reader: Reader, boxes: number): readonly (BoxLabel | undefined)[] {
  if (reader.length === 0) return []
  if (reader.length !== boxes) throw malformed('there is not one label for each box')
  const labels = Array.from({ length: boxes }, (_, at) => {
    const row = reader.optionalList(at, 2)
    return row && { jti: row.bytes(0, jtiBytes), epoch: row.optionalBytes(1, 16) }
  })
  if (labels.every((label) => label === undefined)) throw malformed('labels that say nothing are left out')
  return labels
}

function checkSection(
  name: string,
  bytes: Uint8Array | undefined,
  hash: Uint8Array | undefined,
  erasable: boolean,
): void {
  if (bytes === undefined) {
    if (hash !== undefined && !erasable) throw malformed(`the ${name} section is missing`)
    return
  }
  if (hash === undefined || !equalBytes(sha256(bytes), hash))
    throw malformed(`the ${name} section is not the one that was signed`)
}
