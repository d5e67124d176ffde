import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createLocalClient, LocalNamespaces } from '../sdk/local/index.ts'
import { HybridClock } from '../src/log/index.ts'
import { keySpaces } from '../src/namespace/index.ts'
import { LevelStore, PackStore } from './disk/index.ts'
import { loadIdentity } from './identity.ts'
import { localFiles } from './local-files.ts'
import type { ArtifactHubNode, StartNodeOptions } from './node-types.ts'
import { RunningNode } from './running-node.ts'
import { WorkerPool } from './workers/index.ts'

/**
 * Starts a node on a data directory: the one place that builds its parts. The first start makes an identity and a
 * personal namespace.
 *
 * @throws INVALID_ARGUMENT, LOCKED, UNSUPPORTED_FORMAT, ACCESS_DENIED (passphrase), CORRUPT, STORAGE_FULL, STORAGE_FAILED
 */
export async function startNode(options: StartNodeOptions): Promise<ArtifactHubNode> {
  const { passphrase, signal } = options
  signal?.throwIfAborted()
  const dataDir = resolve(options.dataDir)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const cleanUp = new AsyncDisposableStack()
  try {
    const agent = await loadIdentity(dataDir, passphrase, random)
    const incarnation = new Uint8Array(16)
    const store = cleanUp.use(await LevelStore.open({ path: join(dataDir, 'db') }))
    const packs = cleanUp.use(
      await PackStore.open({
        directory: join(dataDir, 'packs'),
        index: store,
        keyPrefix: Uint8Array.of(keySpaces.packIndex),
        now: Date.now,
      }),
    )
    const engine = cleanUp.use(new WorkerPool())
    const env = {
      store,
      packs: (id: string) => packs.namespace(id),
      removeBlocks: (id: string) => packs.removeNamespace(id),
      agent,
      incarnation,
      clock: new HybridClock(Date.now),
      random,
      engine,
      files: localFiles,
      now: Date.now,
      monotonic: () => performance.now(),
    }
    const namespaces = await LocalNamespaces.open(env)
    cleanUp.defer(() => namespaces.close())
    signal?.throwIfAborted()
    return new RunningNode({ dataDir, env, namespaces, packs, client: createLocalClient(env, namespaces), resources: cleanUp })
  } catch (error) {
    await cleanUp.disposeAsync()
    throw error
  }
}

function random(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(randomBytes(length))
}
