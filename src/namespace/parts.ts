import { Catalog } from '../catalog/index.ts'
import { formatNamespaceId } from '../encoding/index.ts'
import type { AgentKey } from '../identity/index.ts'
import type { Entry, HybridClock } from '../log/index.ts'
import { Keyring, type WrappedBody } from '../sharing/index.ts'
import type { KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
import type { FollowedArtifacts } from './followed.ts'
import { EntryAndPackBlocks } from './namespace-blocks.ts'
import { ShareBook } from './share-book.ts'
import { StoredLog } from './stored-log.ts'
import { folderOf, keySpaces, NamespaceKeys } from './tables.ts'

/** What a namespace needs of the node that has it. */
export interface NamespaceEnvironment {
  readonly store: KeyValueStore
  /** This node's pack store, for one log: `folder`. */
  readonly packs: (folder: string) => Promise<NamespaceBlocks>
  readonly agent: AgentKey
  /** 16 bytes: see incarnation. */
  readonly incarnation: Uint8Array
  readonly clock: HybridClock
  /** Cryptographically random bytes. */
  readonly random: (length: number) => Uint8Array<ArrayBuffer>
  /** Whether each entry is signed by its author, in order: on another thread. `undefined` when there is none for it now. */
  readonly verify?: ((entries: readonly Entry[]) => Promise<readonly boolean[]> | undefined) | undefined
  /** As `openWrappedBody`, of each, in order: on another thread. `undefined` when there is none for it now. */
  readonly openBodies?:
    | ((bodies: readonly WrappedBody[]) => Promise<readonly (Uint8Array | undefined)[]> | undefined)
    | undefined
  /** Told of what an operator should know. Never given a key or content. */
  readonly warn?: ((message: string, fields: Readonly<Record<string, unknown>>) => void) | undefined
}

/** What a namespace is made of on this node: the same objects for as long as it is open. */
export interface NamespaceParts {
  readonly id: Uint8Array
  /** `ns_…` */
  readonly idText: string
  /** What its blocks are called in the pack store; no two logs on a node share one, be they of one namespace. */
  readonly folder: string
  readonly env: NamespaceEnvironment
  readonly keys: NamespaceKeys
  readonly log: StoredLog
  readonly catalog: Catalog
  readonly blocks: NamespaceBlocks
  readonly keyring: Keyring
  readonly shares: ShareBook
  /** There when only some artifacts of the namespace are followed; nothing is written into it then. */
  readonly partial: FollowedArtifacts | undefined
}

/** The parts of a namespace, whether or not anything of it is in the store. */
export async function namespaceParts(
  env: NamespaceEnvironment,
  id: Uint8Array,
  partial?: FollowedArtifacts | undefined,
): Promise<NamespaceParts> {
  const idText = formatNamespaceId(id)
  const isBeside = partial?.isBeside === true
  const keys = new NamespaceKeys(id, isBeside ? keySpaces.beside : keySpaces.namespace)
  const folder = folderOf(id, isBeside)
  const packs = await env.packs(folder)
  const log = new StoredLog(env.store, keys)
  const keyring = new Keyring(id, env.agent)
  return {
    id,
    idText,
    folder,
    env,
    keys,
    log,
    catalog: new Catalog({ store: env.store, prefix: keys.key('catalog') }),
    blocks: new EntryAndPackBlocks(packs, env.store, keys),
    keyring,
    shares: new ShareBook({ id, store: env.store, keys, log, keyring }),
    partial,
  }
}
