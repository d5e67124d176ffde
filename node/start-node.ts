import { randomFillSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { namespaceTicket } from '../sdk/local/index.ts'
import { ArtifactHubError } from '../src/errors.ts'
import { HybridClock } from '../src/log/index.ts'
import { incarnationStampKey } from '../src/namespace/index.ts'
import { composeNode } from './compose-node.ts'
import { DataDir, DiskReserve, LevelStore, openIncarnation } from './disk/index.ts'
import { gatewaySettings } from './gateway/gateway-options.ts'
import { loadIdentity } from './identity.ts'
import { type NetworkMode, startNetwork } from './network/index.ts'
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
  const { passphrase, logger, signal, network: mode = 'lan', replicate = [], gateway } = checkedOptions(options)
  // Before anything is opened: what is wrong with it is wrong with the call.
  const settings = gateway && gatewaySettings(gateway)
  signal?.throwIfAborted()
  const cleanUp = new AsyncDisposableStack()
  try {
    const { path: dataDir } = cleanUp.use(await DataDir.open({ path: options.dataDir }))
    const agent = await loadIdentity(dataDir, passphrase, random)
    // Beside the rest: loading and starting libp2p takes as long as opening the database.
    const network = startNetwork({
      agent,
      mode,
      listen: options.listen,
      announce: options.announce,
      bootstrap: options.bootstrap,
      networkKey: options.networkKey,
      relay: options.relay,
      relays: options.relays,
      now: Date.now,
      monotonic,
      random,
      logger,
      signal,
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
        reserve: new DiskReserve(join(dataDir, 'reserve')),
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

function checkedOptions(options: StartNodeOptions): StartNodeOptions {
  const refuse = (message: string): never => {
    throw new ArtifactHubError('INVALID_ARGUMENT', `startNode: ${message}`)
  }
  if (typeof options !== 'object' || options === null) return refuse('options are missing')
  const { dataDir, passphrase, network = 'lan', networkKey, relay } = options
  if (typeof dataDir !== 'string' || dataDir === '') return refuse('dataDir must be a path')
  if (passphrase !== undefined && (typeof passphrase !== 'string' || passphrase === ''))
    return refuse('passphrase must be a non-empty string')
  if (!modes.includes(network)) return refuse(`network must be one of ${modes.join(', ')}`)
  for (const name of ['listen', 'announce', 'bootstrap', 'relays', 'replicate'] as const) {
    const list = options[name] ?? []
    if (!Array.isArray(list) || !list.every((text) => typeof text === 'string' && text !== ''))
      return refuse(`${name} must be a list of texts`)
  }
  if (networkKey !== undefined && !(networkKey instanceof Uint8Array && networkKey.length === 32))
    return refuse('networkKey must be 32 bytes')
  if ((network === 'private') !== (networkKey !== undefined))
    return refuse('a private network needs a networkKey, and others take none')
  if (relay !== undefined && typeof relay !== 'boolean') return refuse('relay must be true or false')
  const asked = [options.listen, options.announce, options.bootstrap, options.relays, options.replicate].some(
    (list) => list?.length,
  )
  if (network === 'offline' && (asked === true || relay === true))
    return refuse('an offline node listens, dials, relays and replicates nothing')
  for (const ticket of options.replicate ?? []) namespaceTicket(ticket)
  return options
}

const modes: readonly NetworkMode[] = ['offline', 'lan', 'private', 'public']
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
