import { composeNode } from '../../node/compose-node.ts'
import { numbers, SimulatedDisk } from '../../node/disk/test-support/simulated-disk.ts'
import type { ArtifactHubNode, Logger } from '../../node/index.ts'
import { startNetwork } from '../../node/network/index.ts'
import { type ContentEngine, inThreadEngine } from '../../src/content/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import type { KeyValueChange } from '../../src/storage/index.ts'
import { MemoryKeyValueStore } from './memory-key-value.ts'

/** A store in memory that tells of each batch before and after it. */
export class WatchedStore extends MemoryKeyValueStore {
  onBatch: (moment: 'before' | 'after', batch: { readonly sync: boolean }) => void = () => {}

  override async batch(changes: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    this.onBatch('before', options)
    await super.batch(changes, options)
    this.onBatch('after', options)
  }
}

/** Memory that was given back, for the next of that length: the engine of a real node keeps it, too. */
const spare = new Map<number, Uint8Array[]>()

const engine: ContentEngine = {
  ...inThreadEngine,
  allocate: (bytes) => spare.get(bytes)?.pop() ?? new Uint8Array(bytes),
  free: (memory) => {
    const same = spare.get(memory.length) ?? []
    same.push(memory)
    spare.set(memory.length, same)
  },
}

/** Packs small enough that a workload fills several. */
const maxPackBytes = 600_000

/**
 * A machine in memory whose disk can fail and lose power: packs on a SimulatedDisk, and in place of LevelDB a store
 * whose synced batches are atomic and durable. The node on it is composed as `startNode` does. Everything that it
 * does follows from the seed.
 */
export class SimulatedMachine {
  readonly disk: SimulatedDisk
  readonly store: MemoryKeyValueStore
  /** How far its clock is ahead of what it would be, milliseconds. */
  aheadMs = 0
  readonly #seed: number

  constructor(seed: number, disk = new SimulatedDisk(), store: MemoryKeyValueStore = new WatchedStore()) {
    this.#seed = seed
    this.disk = disk
    this.store = store
  }

  /** The machine as a power cut may leave it; `random` gives numbers from 0 to 1. This one is not changed. */
  afterPowerCut(random: () => number): SimulatedMachine {
    const kept = Math.floor(random() * (this.store.unsyncedBatches + 1))
    return new SimulatedMachine(this.#seed, this.disk.afterPowerCut(random), this.store.afterPowerCut(kept))
  }

  async startNode(options: { engine?: ContentEngine; logger?: Logger } = {}): Promise<ArtifactHubNode> {
    const identity = numbers(1)
    // Another sequence at every start, for what was drawn before a crash must not be drawn again.
    const chance = numbers(this.#seed + 7_919 * this.disk.operations + 1)
    let wallMs = 1_700_000_000_000
    const now = () => this.aheadMs + wallMs++
    const resources = new AsyncDisposableStack()
    try {
      const agent = new AgentKey(bytes(identity, 32))
      const incarnation = bytes(identity, 16)
      const random = (length: number) => bytes(chance, length)
      const network = startNetwork({ agent, mode: 'offline', now, monotonic: now, random })
      return await composeNode({
        dataDir: '/',
        network,
        store: this.store,
        packs: { directory: '/packs', files: this.disk, maxPackBytes },
        agent,
        incarnation,
        clock: new HybridClock(now),
        random,
        engine: options.engine ?? engine,
        now,
        monotonic: now,
        resources,
        logger: options.logger,
      })
    } catch (error) {
      await resources.disposeAsync()
      throw error
    }
  }
}

function bytes(random: () => number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => Math.floor(random() * 256))
}
