import { randomFillSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { HybridClock } from '../src/log/index.ts'
import { incarnationStampKey } from '../src/namespace/index.ts'
import { composeNode } from './compose-node.ts'
import { DataDir, LevelStore, openIncarnation, reserveOf } from './disk/index.ts'
import { gatewaySettings } from './gateway/gateway-options.ts'
import { loadIdentity } from './identity.ts'
import { startNetwork } from './network/index.ts'
import { checkedStart } from './node-options.ts'
import type { ArtifactHubNode, StartNodeOptions } from './node-types.ts'
import { WorkerPool } from './workers/index.ts'

/**
 * Starts a node on a data directory: the one place that takes a node's parts from the machine. The first start makes an
 * identity and a personal namespace. It waits for nobody: without a network, or with nobody on it, it starts as quickly.
 *
 * @throws INVALID_ARGUMENT, also when an address of `listen` cannot be listened on; LOCKED, UNSUPPORTED_FORMAT, CORRUPT, STORAGE_FULL, STORAGE_FAILED; ACCESS_DENIED for the
 *   passphrase, for an `identity.key` that is lost or another agent's, and for rights on the directory
 */
export async function startNode(options: StartNodeOptions): Promise<ArtifactHubNode> {
  const { dataDir: path, passphrase, replicate = [], gateway, network: mode = 'lan', ...reach } = checkedStart(options)
  const { logger, signal } = reach
  // Before anything is opened: what is wrong with it is wrong with the call.
  const settings = gateway && gatewaySettings(gateway)
  const cleanUp = new AsyncDisposableStack()
  try {
    const { path: dataDir } = cleanUp.use(await DataDir.open({ path }))
    const agent = await loadIdentity(dataDir, passphrase, random)
    // Beside the rest: loading and starting libp2p takes as long as opening the database.
    const network = startNetwork({
      ...reach,
      agent,
      mode,
      now: Date.now,
      monotonic,
      random,
    })
    // Told when its turn comes; until then it must not count as unhandled.
    network.catch(() => {})
    cleanUp.defer(async () => {
      await (await network.catch(() => undefined))?.close()
    })
    const packs = join(dataDir, 'packs')
    const store = cleanUp.use(
      await LevelStore.open({
        path: join(dataDir, 'db'),
        // The folder for packs is made when the database is there.
        mustExist: existsSync(packs),
        reserve: reserveOf(dataDir),
      }),
    )
    const { incarnation, fresh, seal } = await openIncarnation({
      directory: dataDir,
      store,
      stampKey: incarnationStampKey,
      random,
    })
    cleanUp.defer(seal)
    logger?.debug(fresh ? 'drew a new incarnation' : 'goes on under its incarnation', { dataDir, did: agent.did })
    const engine = cleanUp.use(new WorkerPool())
    const node = await composeNode({
      dataDir,
      store,
      network,
      packs: { directory: packs },
      agent,
      incarnation,
      clock: new HybridClock(Date.now),
      random,
      engine,
      verify: (entries) => engine.verify(entries),
      openBodies: (bodies) => engine.openBodies(bodies),
      now: Date.now,
      monotonic,
      resources: cleanUp,
      gateway: settings,
      logger,
    })
    signal?.throwIfAborted()
    node.replicate(replicate)
    engine.startSoon()
    return node
  } catch (error) {
    await cleanUp.disposeAsync()
    throw error
  }
}

const monotonic = (): number => performance.now()

/** Drawn ahead: a call into the system for each key, salt and nonce is a tenth of what creating an artifact costs. */
const drawn = new Uint8Array(4_096)
let used = drawn.length

function random(length: number): Uint8Array<ArrayBuffer> {
  if (length > drawn.length) return randomFillSync(new Uint8Array(length))
  if (length > drawn.length - used) {
    randomFillSync(drawn)
    used = 0
  }
  const bytes = drawn.slice(used, used + length)
  // What was handed out is a key now, and no longer kept here.
  drawn.fill(0, used, used + length)
  used += length
  return bytes
}
