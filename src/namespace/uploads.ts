import { decodeCanonical, encodeCanonical, requireFormatVersion, sha256 } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { KeyWrap } from '../log/index.ts'
import type { ArtifactKey } from '../sharing/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import type { Namespace } from './namespace.ts'

/**
 * What an upload writes down before its first block: the artifact it will be and its key, wrapped. Run again after an
 * interruption, the same name and path find it, cut and encrypt the same way, and so find the blocks that are there.
 */
export interface PendingUpload {
  readonly salt: Uint8Array
  readonly artifact: Uint8Array
  readonly key: ArtifactKey
  readonly wrap: KeyWrap
  /** Whether its salt was drawn just now; else it was read from the record of an earlier try. */
  readonly isNew: boolean
}

const formatVersion = 1
const maxRowBytes = 1_024

/** Where the record of an upload stands. */
export function pendingUploadKey(namespace: Namespace, name: string, path: string): Uint8Array {
  return namespace.keys.key('uploads', sha256(encodeCanonical([name, path])))
}

/** The change that writes an upload down. */
export function putUpload(rowKey: Uint8Array, { salt, wrap }: PendingUpload, startedMs: number): KeyValueChange {
  const value = encodeCanonical({
    v: formatVersion,
    salt,
    key: wrap.keyId,
    under: wrap.under,
    box: wrap.box,
    startedMs,
  })
  return { type: 'put', key: rowKey, value }
}

/** The upload of that key that was not finished, if there is one whose key still opens. @throws CORRUPT */
export async function loadUpload(namespace: Namespace, rowKey: Uint8Array): Promise<PendingUpload | undefined> {
  const value = await namespace.env.store.get(rowKey)
  if (value === undefined) return undefined
  const { salt, wrap } = decodeUpload(value)
  const artifact = namespace.artifactOf(salt)
  const key = namespace.keyring.open(artifact, wrap.keyId, [wrap])
  return key === undefined ? undefined : { salt, artifact, key, wrap, isNew: false }
}

function decodeUpload(value: Uint8Array): { salt: Uint8Array; wrap: KeyWrap } {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'an unfinished upload' }) as Record<string, unknown>
  const { v, salt, key, under, box } = row
  requireFormatVersion(v, formatVersion, 'the record of an unfinished upload')
  const isWell = [salt, key, under, box].every((member) => member instanceof Uint8Array)
  if (!isWell) throw new ArtifactHubError('CORRUPT', 'the record of an unfinished upload is damaged')
  return {
    salt: salt as Uint8Array,
    wrap: { keyId: key as Uint8Array, under: under as Uint8Array, box: box as Uint8Array },
  }
}
