import type { VersionRecord } from '../catalog/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { KeyWrap } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { ArtifactKey } from '../sharing/index.ts'
import type { NamespaceParts } from './parts.ts'
import { openArtifactKey, storedSecrets } from './secrets.ts'
import { isKeySuperseded } from './share-keys.ts'
import { SharingView } from './sharing-view.ts'

/** An artifact to write to: its id, the salt that makes it, and the key in force. */
export interface ArtifactHandle {
  readonly artifact: Uint8Array
  readonly salt: Uint8Array
  readonly key: ArtifactKey
  /** Whether no entry has used the key yet: the one that does carries it to those who may know it. */
  readonly isFresh: boolean
}

/** A fresh artifact key. */
export function newArtifactKey({ env, id }: NamespaceParts, artifact: Uint8Array): ArtifactKey {
  return new ArtifactKey(env.random(32), id, artifact)
}

/** See `Namespace.artifactKey`. */
export async function artifactKey(
  parts: NamespaceParts,
  artifact: Uint8Array,
  keyId: Uint8Array,
): Promise<ArtifactKey> {
  const key = await openArtifactKey(storedSecrets(parts), artifact, keyId, [])
  if (key === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent cannot open the artifact’s key')
  return key
}

/** See `Namespace.handleOf`. */
export async function handleOf(
  parts: NamespaceParts,
  membership: Membership,
  { artifact, entry: hash }: Pick<VersionRecord, 'artifact' | 'entry'>,
): Promise<ArtifactHandle> {
  const entry = await parts.log.entry(hash)
  const { data, keyId } = entry?.header ?? {}
  if (data === undefined || keyId === undefined)
    throw new ArtifactHubError('CORRUPT', 'the log lacks the entry of a version that the catalog lists')
  const salt = data.artifactSalt
  if (await isKeySuperseded(parts, SharingView.stored(parts, membership), artifact, keyId)) {
    return { artifact, salt, key: newArtifactKey(parts, artifact), isFresh: true }
  }
  return { artifact, salt, key: await artifactKey(parts, artifact, keyId), isFresh: false }
}

/** See `Namespace.wrap`. */
export function wrapArtifactKey(
  { keyring }: NamespaceParts,
  membership: Membership,
  key: ArtifactKey,
  artifact: Uint8Array,
): KeyWrap {
  const [fallback] = keyring.epochHeads()
  const best = membership.epochs.find(({ id }) => membership.isGoodEpoch(id) && keyring.epoch(id) !== undefined)
  const epoch = (best && keyring.epoch(best.id)) ?? fallback
  if (epoch === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent holds no key of the namespace')
  keyring.remember(artifact, key)
  return keyring.wrap(key, artifact, epoch)
}
