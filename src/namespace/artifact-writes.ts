import {
  type ArtifactState,
  type ContentRoot,
  endedState,
  type Operation,
  type VersionRecord,
  type VersionRef,
} from '../catalog/index.ts'
import { equalBytes, formatArtifactId } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxVersionHeads } from '../limits.ts'
import type { DataHeader, Entry, KeyWrap } from '../log/index.ts'
import type { ArtifactKey } from '../sharing/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import { encodeBody } from './body.ts'
import type { Namespace } from './namespace.ts'
import type { Quota, Reservation } from './quota.ts'
import type { Transaction } from './transaction.ts'

/** Content whose blocks are durable, or that is one leaf in hand. */
export interface StoredContent {
  readonly root: ContentRoot
  /** Of the plaintext, 32 bytes. */
  readonly sha256: Uint8Array
  /** The leaf of inline content. */
  readonly leaf: Uint8Array | undefined
}

/** An artifact to write to: its id, the salt that makes it, and the key in force. */
export interface ArtifactHandle {
  readonly artifact: Uint8Array
  readonly salt: Uint8Array
  readonly key: ArtifactKey
}

interface WriteOptions {
  readonly handle: ArtifactHandle
  readonly quota: Quota
  /** What the caller has reserved of the quota for this write. */
  readonly reservation: Reservation | undefined
}

export interface FirstVersionOptions extends WriteOptions {
  /** The key's wrap: the entry that first uses a key carries it. */
  readonly wrap: KeyWrap
  readonly state: Omit<ArtifactState, 'sha256'>
  readonly content: StoredContent
  /** Whether the artifact's salt was drawn in this very call, so that nothing of it can be anywhere. */
  readonly isNew: boolean
  /** Written in the same batch. */
  readonly also: readonly KeyValueChange[]
}

/** Writes an artifact's first version. @throws QUOTA_EXCEEDED */
export function writeFirstVersion(namespace: Namespace, options: FirstVersionOptions): Promise<VersionRecord> {
  const { handle, content, wrap, state, also } = options
  return namespace.commit(async (tx, mark) => {
    if (options.isNew) tx.beginArtifact(handle.artifact)
    const takeReservation = await checkQuota(tx, options, content.root)
    mark()
    takeReservation()
    for (const change of also) tx.add(change)
    return await appendPut(namespace, tx, handle, [], 1, state, content, wrap)
  })
}

export interface NextVersionOptions extends WriteOptions {
  /** `CONFLICT` unless this is the current version. */
  readonly expectedVersion: VersionRef | undefined
  /** The version to go on from, if not the current one. */
  readonly restore: VersionRef | undefined
  /** What the next version is, given the one that it goes on from. An absent `content` keeps that one's. */
  readonly next: (base: VersionRecord) => {
    state: Omit<ArtifactState, 'sha256'>
    content: StoredContent | undefined
  }
  /** Written in the same batch. */
  readonly also: readonly KeyValueChange[]
}

/**
 * Writes an artifact's next version. The version that it goes on from is live at the moment of writing, so there is no
 * moment at which gc sees neither.
 *
 * @throws NOT_FOUND, CONFLICT, QUOTA_EXCEEDED, UNAVAILABLE
 */
export function writeNextVersion(namespace: Namespace, options: NextVersionOptions): Promise<VersionRecord> {
  const { handle, expectedVersion, restore, also } = options
  const { artifact } = handle
  return namespace.commit(async (tx, mark) => {
    const current = await currentVersion(tx, artifact)
    if (expectedVersion !== undefined) await checkExpected(tx, current, expectedVersion)
    const base = restore === undefined ? current : await tx.catalog.version(artifact, restore)
    if (base === undefined) throw noSuchVersion(artifact, restore)
    const { state, content: fresh } = options.next(base)
    const content = fresh ?? (await sameContent(namespace, tx, base))
    const takeReservation = await checkQuota(tx, options, content.root)
    const heads = await tx.catalog.versionHeads(artifact)
    mark()
    takeReservation()
    for (const change of also) tx.add(change)
    return await appendPut(namespace, tx, handle, heads.entries, heads.nextGen, state, content, undefined)
  })
}

/** Ends an artifact: its version heads and all before them. @throws NOT_FOUND */
export function writeDelete(namespace: Namespace, handle: Pick<ArtifactHandle, 'artifact' | 'salt'>): Promise<void> {
  const { artifact, salt } = handle
  return namespace.commit(async (tx, mark) => {
    await currentVersion(tx, artifact)
    const { entries: parents } = await tx.catalog.versionHeads(artifact)
    mark()
    const data = dataHeader({ artifactSalt: salt, parents })
    await tx.append({ kind: 'delete', keyId: undefined, data }, {}, (entry) => ({
      kind: 'delete',
      ...common(artifact, entry, data),
    }))
  })
}

/** Ends one version. @throws NOT_FOUND */
export function writeDrop(
  namespace: Namespace,
  handle: Pick<ArtifactHandle, 'artifact' | 'salt'>,
  version: VersionRef,
): Promise<void> {
  const { artifact, salt } = handle
  return namespace.commit(async (tx, mark) => {
    const found = await tx.catalog.version(artifact, version)
    if (found === undefined) throw noSuchVersion(artifact, version)
    mark()
    const data = dataHeader({ artifactSalt: salt, versions: [found.entry] })
    const { versions } = data
    await tx.append({ kind: 'drop', keyId: undefined, data }, {}, (entry) => ({
      kind: 'drop',
      ...common(artifact, entry, data),
      versions,
    }))
  })
}

/** The error for a version that is not there. */
export function noSuchVersion(artifact: Uint8Array, version: VersionRef | undefined): ArtifactHubError {
  const artifactId = formatArtifactId(artifact)
  if (version === undefined)
    return new ArtifactHubError('NOT_FOUND', `there is no artifact ${artifactId}`, { details: { artifactId } })
  return new ArtifactHubError('NOT_FOUND', `artifact ${artifactId} has no version ${version}`, {
    details: { artifactId, version },
  })
}

/**
 * What an entry of the log says to the catalog; `undefined` for an auth entry.
 *
 * @param state what its body says; absent in other entries than puts, and when it was erased
 */
export function operationOf(
  artifact: Uint8Array,
  entry: Entry,
  state: ArtifactState = endedState,
): Operation | undefined {
  const { data, kind } = entry.header
  if (data === undefined) return undefined
  const shared = common(artifact, entry, data)
  if (kind === 'delete') return { kind, ...shared }
  if (kind === 'drop') return { kind, ...shared, versions: data.versions }
  if (data.root === undefined) return undefined
  return { kind: 'put', ...shared, gen: data.gen, root: data.root, state }
}

async function appendPut(
  namespace: Namespace,
  tx: Transaction,
  { artifact, salt, key }: ArtifactHandle,
  parents: readonly Uint8Array[],
  gen: number,
  description: Omit<ArtifactState, 'sha256'>,
  { root, sha256, leaf }: StoredContent,
  wrap: KeyWrap | undefined,
): Promise<VersionRecord> {
  const state = { ...description, sha256 }
  const body = key.sealBody(encodeBody(state), tx.nextPlace, namespace.env.random(12))
  const keys = wrap === undefined ? undefined : { wraps: [wrap], ephemeral: undefined, boxes: [] }
  const data = dataHeader({ artifactSalt: salt, parents, gen, root })
  const entry = await tx.append({ kind: 'put', keyId: key.id, data }, { keys, body, leaf }, (signed) => ({
    kind: 'put',
    ...common(artifact, signed, data),
    gen,
    root,
    state,
  }))
  const record = await tx.catalog.version(artifact, `${gen}-${Buffer.from(entry.hash).toString('hex')}`)
  if (record === undefined)
    throw new ArtifactHubError('INTERNAL', 'a version that was just written is not in the catalog')
  return record
}

function common(artifact: Uint8Array, entry: Entry, data: DataHeader) {
  return { artifact, entry: entry.hash, author: entry.header.author, clock: entry.header.clock, parents: data.parents }
}

function dataHeader(data: Partial<DataHeader> & Pick<DataHeader, 'artifactSalt'>): DataHeader {
  const sorted = [...(data.parents ?? [])].sort(Buffer.compare).slice(0, maxVersionHeads)
  return { gen: 0, root: undefined, versions: [], ...data, parents: sorted }
}

async function currentVersion(tx: Transaction, artifact: Uint8Array): Promise<VersionRecord> {
  const current = await tx.catalog.current(artifact)
  if (current === undefined) throw noSuchVersion(artifact, undefined)
  return current
}

async function checkExpected(tx: Transaction, current: VersionRecord, expected: VersionRef): Promise<void> {
  const found = await tx.catalog.version(current.artifact, expected)
  if (found !== undefined && equalBytes(found.entry, current.entry)) return
  throw new ArtifactHubError('CONFLICT', `the current version is ${current.versionId}, not ${expected}`, {
    details: { currentVersion: current.number, currentVersionId: current.versionId, expectedVersion: expected },
  })
}

/** Gives what to call once the write is certain. */
async function checkQuota(
  tx: Transaction,
  { handle, quota, reservation }: WriteOptions,
  root: ContentRoot,
): Promise<() => void> {
  const bytes = await tx.accounts.wouldAdd(handle.artifact, root)
  quota.checkTotal(bytes, reservation?.bytes ?? 0, tx.unreservedLeafBytes)
  return () => reservation && tx.take(reservation, bytes)
}

async function sameContent(
  namespace: Namespace,
  tx: Transaction,
  { root, state }: VersionRecord,
): Promise<StoredContent> {
  const leaf = root.inline ? (tx.leaf(root.digest) ?? (await namespace.blocks.read(root.digest))) : undefined
  if (root.inline && leaf === undefined)
    throw new ArtifactHubError('UNAVAILABLE', 'the content of that version is not here')
  return { root, sha256: state.sha256, leaf }
}
