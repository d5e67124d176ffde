import type { ArtifactState, ContentRoot, VersionRecord, VersionRef } from '../catalog/index.ts'
import type { LeafTable } from '../content/index.ts'
import { equalBytes, formatArtifactId } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxBoxesInEntry, maxLabelledBoxesInPut, maxVersionHeads } from '../limits.ts'
import type { DataHeader, KeySection, KeyWrap } from '../log/index.ts'
import type { ArtifactKey, SealingItem } from '../sharing/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import type { ArtifactHandle } from './artifact-keys.ts'
import { encodeBody } from './body.ts'
import { epochToWriteUnder, readersOf } from './members.ts'
import type { Namespace } from './namespace.ts'
import { operationOf } from './operations.ts'
import type { Quota, Reservation } from './quota.ts'
import { isFor, isKeySuperseded, itemsFor, sectionsOf } from './share-keys.ts'
import { SharingView } from './sharing-view.ts'
import type { Transaction } from './transaction.ts'

/** Content whose blocks are durable, or that is one leaf in hand. */
export interface StoredContent {
  readonly root: ContentRoot
  /** Of the plaintext, 32 bytes. */
  readonly sha256: Uint8Array
  /** The leaf of inline content. */
  readonly leaf: Uint8Array | undefined
  /** All leaves of content that was stored just now: spares reading its tree. */
  readonly leaves?: LeafTable | undefined
}

interface WriteOptions {
  readonly handle: Omit<ArtifactHandle, 'isFresh'>
  readonly quota: Quota
  /** What the caller has reserved of the quota for this write. */
  readonly reservation: Reservation | undefined
}

export interface FirstVersionOptions extends WriteOptions {
  /** The key's wrap, if it is known: used if its epoch is the one to write under by then. */
  readonly wrap: KeyWrap | undefined
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
    requireWriter(tx)
    if (options.isNew) tx.beginArtifact(handle.artifact)
    const takeReservation = await checkQuota(tx, options, content)
    mark()
    takeReservation()
    for (const change of also) tx.add(change)
    return await appendPut(namespace, tx, { ...handle, isFresh: true }, [], 1, state, content, wrap)
  })
}

export interface NextVersionOptions extends WriteOptions {
  readonly handle: ArtifactHandle
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
 * @throws NOT_FOUND, QUOTA_EXCEEDED, UNAVAILABLE, ACCESS_DENIED; CONFLICT also when the handle's key went out of force meanwhile
 */
export function writeNextVersion(namespace: Namespace, options: NextVersionOptions): Promise<VersionRecord> {
  const { handle, expectedVersion, restore, also } = options
  const { artifact } = handle
  return namespace.commit(async (tx, mark) => {
    requireWriter(tx)
    const current = await currentVersion(tx, artifact)
    await requireInForce(namespace, tx, handle)
    if (expectedVersion !== undefined) await checkExpected(tx, current, expectedVersion)
    const base = restore === undefined ? current : await tx.catalog.version(artifact, restore)
    if (base === undefined) throw noSuchVersion(artifact, restore)
    const { state, content: fresh } = options.next(base)
    const content = fresh ?? (await sameContent(namespace, tx, base))
    const takeReservation = await checkQuota(tx, options, content)
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
    requireWriter(tx)
    await currentVersion(tx, artifact)
    const { entries: parents } = await tx.catalog.versionHeads(artifact)
    mark()
    const data = artifactData({ artifactSalt: salt, parents })
    await tx.append({ kind: 'delete', keyId: undefined, data }, {}, (entry) => operationOf(artifact, entry, undefined))
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
    requireWriter(tx)
    const found = await tx.catalog.version(artifact, version)
    if (found === undefined) throw noSuchVersion(artifact, version)
    mark()
    const data = artifactData({ artifactSalt: salt, versions: [found.entry] })
    await tx.append({ kind: 'drop', keyId: undefined, data }, {}, (entry) => operationOf(artifact, entry, undefined))
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

async function appendPut(
  namespace: Namespace,
  tx: Transaction,
  { artifact, salt, key, isFresh }: ArtifactHandle,
  parents: readonly Uint8Array[],
  gen: number,
  description: Omit<ArtifactState, 'sha256'>,
  { root, sha256, leaf }: StoredContent,
  wrap: KeyWrap | undefined,
): Promise<VersionRecord> {
  const state = { ...description, sha256 }
  // First, for it may write an entry before this one.
  const shared = isFresh && gen > 1 ? await itemsOfShares(namespace, tx, artifact, key, gen) : []
  const [keys, ...more] = isFresh ? await keySections(tx, artifact, key, wrap, shared) : []
  const body = key.sealBody(encodeBody(state), tx.nextPlace, namespace.env.random(12))
  const data = artifactData({ artifactSalt: salt, parents, gen, root })
  const entry = await tx.append({ kind: 'put', keyId: key.id, data }, { keys, body, leaf }, (signed) =>
    operationOf(artifact, signed, state),
  )
  for (const section of more) {
    await tx.append({ kind: 'keys', keyId: key.id, data: artifactData({ artifactSalt: salt }) }, { keys: section })
  }
  const record = await tx.catalog.version(artifact, `${gen}-${Buffer.from(entry.hash).toString('hex')}`)
  if (record === undefined)
    throw new ArtifactHubError('INTERNAL', 'a version that was just written is not in the catalog')
  return record
}

/** What seals a fresh key to the audiences of the shares that the version is for. */
async function itemsOfShares(
  namespace: Namespace,
  tx: Transaction,
  artifact: Uint8Array,
  key: ArtifactKey,
  gen: number,
): Promise<SealingItem[]> {
  const view = SharingView.within(namespace, tx)
  const shares = await view.sharesInForce(artifact)
  return itemsFor(
    key,
    shares.filter((share) => isFor(share, gen)),
    view,
  )
}

/**
 * How those who may read come by a fresh key: wrapped under the epoch to write under. Without one that this agent can open, it begins
 * one if it may; else the key is sealed to the members by name, until somebody has. And sealed to those that it is shared with.
 */
async function keySections(
  tx: Transaction,
  artifact: Uint8Array,
  key: ArtifactKey,
  known: KeyWrap | undefined,
  shared: readonly SealingItem[],
): Promise<KeySection[]> {
  const { keyring } = tx
  const epoch = await epochToWriteUnder(tx)
  const named = epoch === undefined ? readersOf(tx).map((recipient) => ({ key, recipient })) : []
  const first = Math.min(Math.max(named.length, maxLabelledBoxesInPut), maxBoxesInEntry)
  const sections = [...sectionsOf(keyring, artifact, [...named, ...shared], { first, random: tx.random })]
  if (epoch === undefined) return sections
  const isStill = known !== undefined && equalBytes(known.under, epoch.id) && equalBytes(known.keyId, key.id)
  const wraps = [isStill ? known : keyring.wrap(key, artifact, epoch)]
  const [beside = { ephemeral: undefined, boxes: [] }, ...more] = sections
  return [{ ...beside, wraps }, ...more]
}

/** @throws ACCESS_DENIED */
function requireWriter(tx: Transaction): void {
  void tx.nextPlace
}

/** @throws CONFLICT when a key that was in force when the content was sealed is not any more */
async function requireInForce(
  namespace: Namespace,
  tx: Transaction,
  { artifact, key, isFresh }: ArtifactHandle,
): Promise<void> {
  if (isFresh || !(await isKeySuperseded(namespace, SharingView.within(namespace, tx), artifact, key.id))) return
  throw new ArtifactHubError(
    'CONFLICT',
    'a member left or a share ended while this was stored: write it again, under a key that they do not know',
  )
}

/** What a data entry says in public of an artifact. */
export function artifactData(data: Partial<DataHeader> & Pick<DataHeader, 'artifactSalt'>): DataHeader {
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
  { root, leaves }: StoredContent,
): Promise<() => void> {
  const bytes = await tx.accounts.wouldAdd(handle.artifact, root, leaves)
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
