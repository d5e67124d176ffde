import { bytesText, decodeCanonical, encodeCanonical } from '../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../src/errors.ts'
import { maxAddressesOnDisk, maxAgentsOnDisk, saveAddressesMs } from '../src/limits.ts'
import { nodeKey, nodeRows } from '../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../src/storage/index.ts'
import type { Logger } from './logger.ts'
import type { Network } from './network/index.ts'

/** Rows: agent (32) → `[1, ms since 1970, [address…]]`. */
const formatVersion = 1
const maxRowBytes = 32 * 1024

interface Row {
  readonly agent: Uint8Array
  readonly atMs: number
  readonly addresses: readonly string[]
}

interface KnownAddressesInit {
  readonly store: KeyValueStore
  readonly network: Pick<Network, 'addAddresses' | 'onLearned'>
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly logger: Logger | undefined
}

/**
 * Where the agents that this node deals with were last to be dialled, past a restart: a node that starts when nobody who
 * runs knows it finds them by itself. Nothing but hints, in the database and nowhere else; of a bounded number of agents.
 */
export class KnownAddresses implements AsyncDisposable {
  readonly #init: KnownAddressesInit
  readonly #rows: Map<string, Row>
  /** Learned and not written yet: whether it is worth it may show later. */
  readonly #learned = new Map<string, Omit<Row, 'atMs'>>()
  #isOfInterest: (agent: Uint8Array) => boolean = () => false
  #stop: () => void = () => {}
  #writing: Promise<void> = Promise.resolve()

  private constructor(init: KnownAddressesInit, rows: Map<string, Row>) {
    this.#init = init
    this.#rows = rows
  }

  /** Tells the network what was known when the node last ran. A row that is damaged is passed over: it is made anew. */
  static async open(init: KnownAddressesInit): Promise<KnownAddresses> {
    const { store, network } = init
    const rows = new Map<string, Row>()
    for await (const [agent, value] of nodeRows(store, 'addresses')) {
      const row = readRow(agent, value)
      if (row !== undefined) rows.set(bytesText(row.agent), row)
    }
    for (const { agent, addresses } of rows.values()) network.addAddresses(agent, [...addresses].reverse())
    return new KnownAddresses(init, rows)
  }

  /** Remembers from now on, of agents of interest: members and contacts. What strangers say of themselves is not kept. */
  begin(isOfInterest: (agent: Uint8Array) => boolean): void {
    this.#isOfInterest = isOfInterest
    const stopLearning = this.#init.network.onLearned((agent, addresses) => {
      const name = bytesText(agent)
      this.#learned.delete(name)
      this.#learned.set(name, { agent, addresses: addresses.slice(0, maxAddressesOnDisk) })
      if (this.#learned.size > maxAgentsOnDisk) this.#learned.delete(this.#learned.keys().next().value as string)
      if (isOfInterest(agent)) this.#save()
    })
    const timer = setInterval(() => this.#save(), saveAddressesMs)
    timer.unref()
    this.#stop = () => {
      clearInterval(timer)
      stopLearning()
    }
  }

  /** Writes what is left. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop()
    this.#save()
    await this.#writing
  }

  #save(): void {
    const changes: KeyValueChange[] = []
    for (const [name, { agent, addresses }] of this.#learned) {
      if (!this.#isOfInterest(agent)) continue
      this.#learned.delete(name)
      if (this.#rows.get(name)?.addresses.join() === addresses.join()) continue
      const row = { agent, addresses, atMs: this.#init.now() }
      this.#rows.delete(name)
      this.#rows.set(name, row)
      changes.push({
        type: 'put',
        key: nodeKey('addresses', agent),
        value: encodeCanonical([formatVersion, row.atMs, addresses]),
      })
    }
    const old = [...this.#rows.values()].sort((a, b) => b.atMs - a.atMs).slice(maxAgentsOnDisk)
    for (const { agent } of old) {
      this.#rows.delete(bytesText(agent))
      changes.push({ type: 'del', key: nodeKey('addresses', agent) })
    }
    if (changes.length === 0) return
    const { store, logger } = this.#init
    // Losing some costs a search.
    this.#writing = this.#writing
      .then(() => store.batch(changes, { sync: false }))
      .catch((error) => logger?.debug('addresses were not remembered', { error: String(error) }))
  }
}

function readRow(agent: Uint8Array, value: Uint8Array): Row | undefined {
  try {
    const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'addresses of an agent' })
    const [version, atMs, addresses] = Array.isArray(row) ? row : []
    const isWell = Array.isArray(addresses) && addresses.every((text) => typeof text === 'string')
    if (version !== formatVersion || agent.length !== 32 || !Number.isSafeInteger(atMs) || !isWell) throw damaged()
    return { agent, atMs: Number(atMs), addresses }
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

function damaged(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'what this node remembers of an agent’s addresses is damaged')
}
