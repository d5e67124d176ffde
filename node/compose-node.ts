import { createLocalClient, type LocalEnvironment, LocalNamespaces, OpenCalls } from '../sdk/local/index.ts'
import { LeafMemory } from '../src/content/index.ts'
import { keySpaces } from '../src/namespace/index.ts'
import { PackStore, type PackStoreOptions } from './disk/index.ts'
import { localFiles } from './local-files.ts'
import type { Logger } from './node-types.ts'
import { RunningNode } from './running-node.ts'

/** 128 GiB of content, so a file of any size that is allowed; 17 MB of memory. */
const maxRememberedLeaves = 131_072

/** The parts of a node that touch a machine, and what the data directory said. */
export interface NodeParts
  extends Pick<
    LocalEnvironment,
    'store' | 'agent' | 'incarnation' | 'clock' | 'random' | 'engine' | 'now' | 'monotonic'
  > {
  readonly dataDir: string
  readonly packs: Pick<PackStoreOptions, 'directory' | 'files' | 'maxPackBytes'>
  /** Closed with the node, last first; what is opened here goes on top. Whoever made it disposes of it if this throws. */
  readonly resources: AsyncDisposableStack
  readonly logger: Logger | undefined
}

/**
 * Puts a node together from its parts. `startNode` takes them from the machine; tests of faults take some that fail.
 *
 * @throws CORRUPT, UNSUPPORTED_FORMAT, STORAGE_FULL, STORAGE_FAILED
 */
export async function composeNode({
  dataDir,
  packs: packOptions,
  resources,
  logger,
  ...parts
}: NodeParts): Promise<RunningNode> {
  const index = { index: parts.store, keyPrefix: Uint8Array.of(keySpaces.packIndex), now: parts.now }
  const packs = resources.use(await PackStore.open({ ...packOptions, ...index }))
  const env: LocalEnvironment = {
    ...parts,
    files: localFiles,
    leafMemory: new LeafMemory(maxRememberedLeaves),
    packs: (id) => packs.namespace(id),
    warn: (message, fields) => logger?.warn(message, fields),
    removeBlocks: (id) => packs.removeNamespace(id),
  }
  const namespaces = await LocalNamespaces.open(env)
  resources.defer(() => namespaces.close())
  const calls = new OpenCalls()
  return new RunningNode({
    dataDir,
    env,
    namespaces,
    packs,
    client: createLocalClient(env, namespaces, calls),
    calls,
    resources,
    logger,
  })
}
