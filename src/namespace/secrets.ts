import type { ArtifactState } from '../catalog/index.ts'
import { artifactIdOf } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import type { Entry, KeySection, KeyWrap } from '../log/index.ts'
import type { ArtifactKey, Keyring } from '../sharing/index.ts'
import { decodeBody } from './body.ts'
import { readKeyRow } from './key-rows.ts'
import { labelledBoxesKey } from './labelled-boxes.ts'
import type { NamespaceParts } from './parts.ts'
import type { NamespaceKeys } from './tables.ts'

/** Where what is secret is read with: the store, or a transaction over it. */
export interface SecretReader {
  readonly namespace: Uint8Array
  readonly keyring: Keyring
  readonly keys: NamespaceKeys
  get(key: Uint8Array): Promise<Uint8Array | undefined>
  entry(hash: Uint8Array): Promise<Entry | undefined>
  /** Of an entry the keys section. */
  keysIn(hash: Uint8Array): Promise<KeySection | undefined>
  /** What an entry's body says, if it was opened before: by its key, in its place. */
  openedBody?(entry: Entry): Uint8Array | undefined
}

/** What of a namespace secrets are read from. */
type SecretParts = Pick<NamespaceParts, 'id' | 'keyring' | 'log' | 'keys'> & {
  readonly env: Pick<NamespaceParts['env'], 'store'>
}

/**
 * Reads with what is in the store.
 *
 * @param keys whose rows of artifact keys to use
 */
export function storedSecrets({ id, keyring, env, log, keys: own }: SecretParts, keys = own): SecretReader {
  return {
    namespace: id,
    keyring,
    keys,
    get: (key) => env.store.get(key),
    entry: (hash) => log.unverified(hash),
    keysIn: (hash) => log.keysIn(hash),
  }
}

/**
 * The artifact key of that id; `undefined` when this agent cannot open it.
 *
 * @param wraps to try before those that are recorded
 * @throws CORRUPT when it may be in an entry that is damaged, and nothing else opens it
 */
export async function openArtifactKey(
  reader: SecretReader,
  artifact: Uint8Array,
  keyId: Uint8Array,
  wraps: readonly KeyWrap[],
): Promise<ArtifactKey | undefined> {
  const { keyring, keys } = reader
  const own = keyring.open(artifact, keyId, wraps)
  if (own !== undefined) return own
  let damage: unknown
  const openIn = async (hashes: readonly Uint8Array[], key?: AgentKey): Promise<ArtifactKey | undefined> => {
    for (const hash of hashes) {
      try {
        const section = await reader.keysIn(hash)
        const opened = section && keyring.openSealed(artifact, keyId, section, key)
        if (opened !== undefined) return opened
      } catch (error) {
        if (!isHubError(error, 'CORRUPT')) throw error
        damage ??= error
      }
    }
    return undefined
  }
  // First, for whoever holds a capability is rarely a member: the members' ways lead nowhere then.
  for (const { label, key } of keyring.capabilities.labelsOf(artifact)) {
    const row = await reader.get(labelledBoxesKey(keys, artifact, keyId, label))
    const opened = await openIn(readKeyRow(row, keyId).boxed, key)
    if (opened !== undefined) return opened
  }
  const ways = readKeyRow(await reader.get(keys.key('artifactKeys', artifact, keyId)), keyId)
  const wrapped = keyring.open(artifact, keyId, ways.wraps)
  if (wrapped !== undefined) {
    keyring.remember(artifact, wrapped)
    return wrapped
  }
  const sealed = await openIn(ways.boxed)
  if (sealed === undefined && damage !== undefined) throw damage
  return sealed
}

/**
 * What a put's body says; `undefined` when it cannot be read here: no key, no body, or one that says what no artifact may
 * be (whoever wrote it has written nothing).
 */
export async function readState(reader: SecretReader, entry: Entry): Promise<ArtifactState | undefined> {
  const { header, body, keys } = entry
  const { data, keyId, grant, author, incarnation, seq } = header
  if (data?.root === undefined || keyId === undefined || grant === undefined || body === undefined) return undefined
  const { namespace } = reader
  const opened = reader.openedBody?.(entry)
  const artifact = artifactIdOf(namespace, data.artifactSalt)
  const key = opened === undefined ? await openArtifactKey(reader, artifact, keyId, keys?.wraps ?? []) : undefined
  try {
    const plaintext = opened ?? key?.openBody(body, { namespace, author, grant, incarnation, seq })
    return plaintext && decodeBody(plaintext)
  } catch (error) {
    if (!isHubError(error, 'CORRUPT') && !isHubError(error, 'UNSUPPORTED_FORMAT')) throw error
    return undefined
  }
}
