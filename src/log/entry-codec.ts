import type { ContentRoot } from '../catalog/index.ts'
import { decodeCanonical, encodeCanonical, equalBytes, sha256 } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { boxedKeyBytes, boxTagBytes, verifySignature } from '../identity/index.ts'
import {
  leafOverheadBytes,
  maxBoxesInEntry,
  maxContentBytes,
  maxEntryBytes,
  maxHeaderBytes,
  maxInlineBytes,
  maxParentHeads,
  maxVersionHeads,
} from '../limits.ts'
import type { DataHeader, Entry, EntryHeader, EntryKind, KeySection } from './entry.ts'
import { malformed, Reader } from './reader.ts'

const formatVersion = 0
const kinds: readonly EntryKind[] = ['genesis', 'rotate', 'put', 'delete', 'drop']
const dataKinds: readonly EntryKind[] = ['put', 'delete', 'drop']
const rawCodec = 0x55
const dagPbCodec = 0x70

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
          },
  })
}

/** The keys section's bytes. */
export function encodeKeys(keys: KeySection): Uint8Array<ArrayBuffer> {
  return encodeCanonical({
    wraps: keys.wraps.map(({ keyId, under, box }) => [keyId, under, box]),
    eph: keys.ephemeral ?? null,
    boxes: keys.boxes.map(({ keyId, tag, box }) => [keyId, tag, box]),
  })
}

/** An entry as it is stored and sent: one canonical DAG-CBOR array of its five sections. */
export function encodeEntry(
  entry: Pick<Entry, 'headerBytes' | 'signature' | 'keysBytes' | 'body' | 'leaf'>,
): Uint8Array<ArrayBuffer> {
  const { headerBytes, signature, keysBytes, body, leaf } = entry
  return encodeCanonical([headerBytes, signature, keysBytes ?? null, body ?? null, leaf ?? null])
}

/**
 * An entry from bytes that anyone may have made: size, hashes, form and signature are checked, in that order of cost.
 * That the author has the right to say it is for whoever evaluates grants.
 *
 * A body or leaf that the header names may be missing (erased); one that it does not name may not be there.
 *
 * @throws TOO_LARGE, CORRUPT
 */
export function decodeEntry(bytes: Uint8Array): Entry {
  const sections = decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'an entry' })
  if (!Array.isArray(sections) || sections.length !== 5) throw malformed('an entry has five sections')
  const [headerBytes, signature, keysBytes, body, leaf] = sections.map((section, index) => {
    if (section instanceof Uint8Array) return section
    if (section === null && index >= 2) return undefined
    throw malformed('a section is not bytes')
  })
  if (headerBytes === undefined || signature === undefined) throw malformed('header or signature is missing')
  const header = decodeHeader(headerBytes)
  checkSection('keys', keysBytes, header.keysHash, false)
  checkSection('body', body, header.bodyHash, dataKinds.includes(header.kind))
  const inline = header.data?.root?.inline === true ? header.data.root.digest : undefined
  checkSection('leaf', leaf, inline, true)
  if (!verifySignature('entry', headerBytes, header.author, signature)) {
    throw malformed('the signature is not the author’s')
  }
  const keys = keysBytes === undefined ? undefined : decodeKeys(keysBytes)
  return { hash: sha256(headerBytes), header, headerBytes, signature, keys, keysBytes, body, leaf }
}

/** @throws TOO_LARGE, CORRUPT. Says nothing of who signed it. */
function decodeHeader(bytes: Uint8Array): EntryHeader {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxHeaderBytes, what: 'an entry header' }), 'header')
  if (reader.integer('v', 0, 1000) !== formatVersion) {
    throw new ArtifactHubError('UNSUPPORTED_FORMAT', 'this entry was written by a newer release')
  }
  const kind = reader.oneOf('kind', kinds)
  const clock = reader.array('clock', 2, 2)
  const header: EntryHeader = {
    kind,
    namespace: reader.optionalBytes('ns', 32),
    author: reader.bytes('author', 32),
    grant: reader.optionalBytes('grant', 32),
    incarnation: reader.bytes('inc', 16),
    seq: reader.integer('seq', 0, Number.MAX_SAFE_INTEGER),
    previous: reader.optionalBytes('prev', 32),
    heads: reader.bytesArray('heads', 32, maxParentHeads),
    clock: { wallMs: clock.integer(0, 0, 2 ** 48 - 1), counter: clock.integer(1, 0, 2 ** 32 - 1) },
    keysHash: reader.optionalBytes('keys', 32),
    bodyHash: reader.optionalBytes('body', 32),
    keyId: reader.optionalBytes('key', 16),
    data: decodeData(reader.optionalMap('data'), kind),
  }
  reader.end()
  if ((header.seq === 0) !== (header.previous === undefined))
    throw malformed('only the first of a chain has no previous')
  const isGenesis = kind === 'genesis'
  if (isGenesis !== (header.namespace === undefined) || isGenesis !== (header.grant === undefined)) {
    throw malformed('only a genesis names no namespace and no grant')
  }
  if (isGenesis && header.seq !== 0) throw malformed('a genesis is the first of its chain')
  if (kind === 'rotate' && (header.keyId === undefined || header.keysHash === undefined))
    throw malformed('a rotate brings a key')
  if (kind === 'put' && (header.keyId === undefined || header.bodyHash === undefined))
    throw malformed('a put has a body')
  return header
}

function decodeData(reader: Reader | undefined, kind: EntryKind): DataHeader | undefined {
  if ((reader !== undefined) !== dataKinds.includes(kind))
    throw malformed('data stands in data entries, and only there')
  if (reader === undefined) return undefined
  const roots = reader.array('roots', 0, 1)
  const isPut = kind === 'put'
  const data: DataHeader = {
    artifactSalt: reader.bytes('art', 16),
    parents: reader.bytesArray('from', 32, maxVersionHeads),
    gen: reader.integer('gen', isPut ? 1 : 0, isPut ? 2 ** 32 - 1 : 0),
    root: roots.length === 0 ? undefined : decodeRoot(roots.list(0, 6)),
    versions: reader.bytesArray('drops', 32, maxVersionHeads),
  }
  reader.end()
  if (isPut !== (data.root !== undefined)) throw malformed('a put has one root')
  if ((kind === 'drop') !== data.versions.length > 0) throw malformed('a drop, and only a drop, names versions to drop')
  if (isPut && (data.gen === 1) !== (data.parents.length === 0)) throw malformed('only a first version has no parents')
  if (kind === 'delete' && data.parents.length === 0) throw malformed('a delete names the heads it ends')
  return data
}

function encodeRoot(root: ContentRoot): unknown[] {
  return [root.digest, root.codec, root.inline, root.sizeBytes, root.storedBytes, root.keyId]
}

function decodeRoot(reader: Reader): ContentRoot {
  const root: ContentRoot = {
    digest: reader.bytes(0, 32),
    codec: reader.integer(1, 0, 0xff),
    inline: reader.boolean(2),
    sizeBytes: reader.integer(3, 0, maxContentBytes),
    storedBytes: reader.integer(4, leafOverheadBytes, 2 * maxContentBytes),
    keyId: reader.bytes(5, 16),
  }
  if (root.codec !== rawCodec && root.codec !== dagPbCodec) throw malformed('a root is raw or dag-pb')
  if (root.codec === rawCodec && root.storedBytes !== root.sizeBytes + leafOverheadBytes)
    throw malformed('sizes of a leaf disagree')
  if (root.inline && (root.codec !== rawCodec || root.sizeBytes > maxInlineBytes))
    throw malformed('this cannot be inline')
  return root
}

function decodeKeys(bytes: Uint8Array): KeySection {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'a keys section' }), 'keys')
  const wraps = reader.array('wraps', 0, maxBoxesInEntry)
  const boxes = reader.array('boxes', 0, maxBoxesInEntry)
  const section: KeySection = {
    ephemeral: reader.optionalBytes('eph', 32),
    wraps: wraps.mapLists(3, (row) => ({
      keyId: row.bytes(0, 16),
      under: row.bytes(1, 16),
      box: row.bytes(2, boxedKeyBytes),
    })),
    boxes: boxes.mapLists(3, (row) => ({
      keyId: row.bytes(0, 16),
      tag: row.bytes(1, boxTagBytes),
      box: row.bytes(2, boxedKeyBytes),
    })),
  }
  reader.end()
  if ((section.ephemeral === undefined) !== (section.boxes.length === 0))
    throw malformed('boxes come with an ephemeral key')
  return section
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
