import { equalBytes } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { type HmacKey, unwrapKey, wrappingKey } from '../identity/index.ts'
import type { KeyWrap } from '../log/index.ts'
import { ArtifactKey } from './artifact-key.ts'
import type { BodyPlace } from './body-cipher.ts'

/** A body, and all that it takes to open it. */
export interface WrappedBody {
  /** Secret of the epoch that its artifact's key is wrapped under. */
  readonly epoch: Uint8Array
  readonly artifact: Uint8Array
  readonly wrap: Pick<KeyWrap, 'keyId' | 'box'>
  readonly place: BodyPlace
  readonly body: Uint8Array
}

/** What the body says, not looked at; `undefined` when the wrap or the body does not open, or the key is not the one of that id. */
export function openWrappedBody({ epoch, artifact, wrap, place, body }: WrappedBody): Uint8Array | undefined {
  const key = unwrapArtifactKey(wrap, wrappingKey(epoch), place.namespace, artifact)
  if (key === undefined) return undefined
  try {
    return key.openBody(body, place)
  } catch (error) {
    if (!isHubError(error, 'CORRUPT')) throw error
    return undefined
  }
}

/**
 * The artifact key out of its wrap under an epoch; `undefined` when that does not open, or holds another key than its id commits to.
 * @param under of the epoch's secret
 */
export function unwrapArtifactKey(
  { keyId, box }: Pick<KeyWrap, 'keyId' | 'box'>,
  under: HmacKey,
  namespace: Uint8Array,
  artifact: Uint8Array,
): ArtifactKey | undefined {
  const secret = unwrapKey(box, under, { kind: 'artifact', namespace, subject: artifact, keyId })
  const key = secret && new ArtifactKey(secret, namespace, artifact)
  return key !== undefined && equalBytes(key.id, keyId) ? key : undefined
}
