import { randomFillSync } from 'node:crypto'
import { join } from 'node:path'
import { ArtifactHubError } from '../src/errors.ts'
import { HybridClock } from '../src/log/index.ts'
import { incarnationStampKey } from '../src/namespace/index.ts'
import { composeNode } from './compose-node.ts'
import { DataDir, DiskReserve, LevelStore, openIncarnation } from './disk/index.ts'
import { loadIdentity } from './identity.ts'
import type { ArtifactHubNode, StartNodeOptions } from './node-types.ts'
import { WorkerPool } from './workers/index.ts'

/**
 * Starts a node on a data directory: the one place that takes a node's parts from the machine. The first start makes an
 * identity and a personal namespace.
 *
 * @throws INVALID_ARGUMENT, LOCKED, UNSUPPORTED_FORMAT, CORRUPT, STORAGE_FULL, STORAGE_FAILED; ACCESS_DENIED for the
 *   passphrase, for an `identity.key` that is lost or another agent's, and for rights on the directory
 */
export async function startNode(options: StartNodeOptions): Promise<ArtifactHubNode> {
  const { passphrase, logger, signal } = checkedOptions(options)
  signal?.throwIfAborted()
  const cleanUp = new AsyncDisposableStack()
  try {
    const { path: dataDir } = cleanUp.use(await DataDir.open({ path: options.dataDir }))
    const agent = await loadIdentity(dataDir, passphrase, random)
    const store = cleanUp.use(
      await LevelStore.open({ path: join(dataDir, 'db'), reserve: new DiskReserve(join(dataDir, 'reserve')) }),
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
      packs: { directory: join(dataDir, 'packs') },
      agent,
      incarnation,
      clock: new HybridClock(Date.now),
      random,
      engine,
      now: Date.now,
      monotonic: () => performance.now(),
      resources: cleanUp,
      logger,
    })
    signal?.throwIfAborted()
    return node
  } catch (error) {
    await cleanUp.disposeAsync()
    throw error
  }
}

function checkedOptions(options: StartNodeOptions): StartNodeOptions {
  const refuse = (message: string): never => {
    throw new ArtifactHubError('INVALID_ARGUMENT', `startNode: ${message}`)
  }
  if (typeof options !== 'object' || options === null) return refuse('options are missing')
  const { dataDir, passphrase, network = 'offline', listen = [] } = options
  if (typeof dataDir !== 'string' || dataDir === '') return refuse('dataDir must be a path')
  if (passphrase !== undefined && (typeof passphrase !== 'string' || passphrase === ''))
    return refuse('passphrase must be a non-empty string')
  if (network !== 'offline') return refuse('network can only be offline: this release does not replicate yet')
  if (!Array.isArray(listen) || listen.length > 0) return refuse('listen must be empty while network is offline')
  return options
}

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
