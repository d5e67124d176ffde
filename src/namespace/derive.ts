import { Catalog } from '../catalog/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, type Entry } from '../log/index.ts'
import { operationOf } from './artifact-writes.ts'
import { type ChainHead, Chains, headChange } from './chains.ts'
import type { Namespace } from './namespace.ts'
import { chainIdOf, derivedTables, type NamespaceKeys, placeOf } from './tables.ts'
import { decodeWraps, Transaction } from './transaction.ts'

const batchEntries = 500
const batchKeys = 5_000

/** An entry that is not what the log's rules ask for. */
export interface LogFinding {
  /** Chain (16) ‖ seq (8). */
  readonly place: Uint8Array
  readonly problem: string
}

export interface DeriveOptions {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/**
 * Makes all that follows from a namespace's log again, under `target`, whose derived tables must be empty. Entries
 * that cannot be read are passed over and reported. Nothing may be committed meanwhile.
 */
export async function deriveFromLog(
  namespace: Namespace,
  target: NamespaceKeys,
  options: DeriveOptions,
): Promise<LogFinding[]> {
  const derivation = new Derivation(namespace, target, options)
  await derivation.indexEntries()
  await namespace.loadEpochs(target)
  await derivation.applyOperations()
  return derivation.findings
}

/**
 * Throws the derived tables away and makes them again. Cut off anywhere, `finishRebuild` does it again. Nothing may be
 * committed meanwhile.
 */
export async function rebuildDerived(namespace: Namespace, options: DeriveOptions): Promise<void> {
  const { keys, env } = namespace
  const mark = keys.key('rebuilding')
  await env.store.batch([{ type: 'put', key: mark, value: Uint8Array.of(1) }], { sync: true })
  await clearDerived(namespace, keys)
  await deriveFromLog(namespace, keys, options)
  await env.store.batch([{ type: 'del', key: mark }], { sync: true })
}

/** Ends a rebuild that was cut off: to be called once a namespace is open, before it is used. */
export async function finishRebuild(namespace: Namespace): Promise<void> {
  if ((await namespace.env.store.get(namespace.keys.key('rebuilding'))) === undefined) return
  await namespace.alone(() => rebuildDerived(namespace, {}))
}

/** Removes the derived tables under `keys`. */
export async function clearDerived(namespace: Namespace, keys: NamespaceKeys): Promise<void> {
  const { store } = namespace.env
  for (const table of derivedTables) {
    for (;;) {
      const stale: Uint8Array[] = []
      for await (const [key] of store.entries({ ...keys.all(table), limit: batchKeys })) stale.push(key)
      if (stale.length === 0) break
      await store.batch(
        stale.map((key) => ({ type: 'del', key })),
        { sync: false },
      )
    }
  }
}

/** Names of the derived tables whose rows under `a` and under `b` are not the same, byte for byte. */
export async function compareDerived(namespace: Namespace, a: NamespaceKeys, b: NamespaceKeys): Promise<string[]> {
  const { store } = namespace.env
  const different: string[] = []
  for (const table of derivedTables) {
    const [left, right] = [a, b].map((keys) => store.entries(keys.all(table))[Symbol.asyncIterator]()) as [Rows, Rows]
    const prefixBytes = a.key(table).length
    try {
      for (;;) {
        const [one, two] = [await left.next(), await right.next()]
        if (one.done === true && two.done === true) break
        const same =
          one.done !== true &&
          two.done !== true &&
          equalBytes(one.value[0].subarray(prefixBytes), two.value[0].subarray(prefixBytes)) &&
          equalBytes(one.value[1], two.value[1])
        if (same) continue
        different.push(table)
        break
      }
    } finally {
      await Promise.all([left.return?.(), right.return?.()])
    }
  }
  return different
}

type Rows = AsyncIterator<[Uint8Array, Uint8Array]>

class Derivation {
  readonly findings: LogFinding[] = []
  readonly #namespace: Namespace
  readonly #target: NamespaceKeys
  readonly #options: DeriveOptions
  readonly #catalog: Catalog
  #tx: Transaction
  #pending = 0
  #done = 0

  constructor(namespace: Namespace, target: NamespaceKeys, options: DeriveOptions) {
    this.#namespace = namespace
    this.#target = target
    this.#options = options
    this.#catalog = new Catalog({ store: namespace.env.store, prefix: target.key('catalog') })
    this.#tx = this.#begin({ leafBytes: 0, entryBytes: 0 })
  }

  /** The public half: where entries are, chains, epochs, wraps, inline leaves. Before the rest, for keys may come later than what they open. */
  async indexEntries(): Promise<void> {
    let head: ChainHead | undefined
    for await (const { place, bytes } of this.#namespace.allEntries(this.#options.signal)) {
      const entry = this.#decode(place, bytes)
      if (entry === undefined) continue
      const { author, incarnation, seq, clock, previous } = entry.header
      const grant = entry.header.grant ?? entry.hash
      const chain = chainIdOf(author, grant, incarnation)
      if (!equalBytes(placeOf(chain, seq), place)) {
        this.findings.push({ place, problem: 'is not where its header says' })
        continue
      }
      const before = head !== undefined && equalBytes(head.chain, chain) ? head : undefined
      const follows =
        before === undefined
          ? seq === 0
          : seq === before.seq + 1 && previous !== undefined && equalBytes(previous, before.hash)
      if (!follows) this.findings.push({ place, problem: 'does not follow the entry before it' })
      head = { chain, grant, incarnation, seq, hash: entry.hash, clock }
      this.#tx.add(headChange(this.#target, head))
      await this.#tx.index(entry, chain, bytes.length)
      await this.#step()
    }
    await this.#write()
  }

  /** The secret half: what the bodies say to the catalog. */
  async applyOperations(): Promise<void> {
    for await (const { place, bytes } of this.#namespace.allEntries(this.#options.signal)) {
      const entry = this.#decode(undefined, bytes)
      const salt = entry?.header.data?.artifactSalt
      if (entry === undefined || salt === undefined) continue
      try {
        const artifact = this.#namespace.artifactOf(salt)
        const operation = operationOf(artifact, entry, await this.#stateOf(artifact, entry))
        if (operation !== undefined) await this.#tx.apply(operation)
      } catch (error) {
        if (!isHubError(error, 'CORRUPT') && !isHubError(error, 'ACCESS_DENIED')) throw error
        this.findings.push({ place, problem: error.message })
      }
      await this.#step()
    }
    await this.#write()
  }

  async #stateOf(artifact: Uint8Array, entry: Entry) {
    const { keyId } = entry.header
    if (keyId === undefined) return undefined
    const row = await this.#namespace.env.store.get(this.#target.key('artifactKeys', artifact, keyId))
    return await this.#namespace.stateOf(entry, decodeWraps(row, keyId))
  }

  #decode(place: Uint8Array | undefined, bytes: Uint8Array): Entry | undefined {
    try {
      return decodeEntry(bytes)
    } catch (error) {
      if (!isHubError(error) || error.code === 'UNSUPPORTED_FORMAT') throw error
      if (place !== undefined) this.findings.push({ place, problem: error.message })
      return undefined
    }
  }

  async #step(): Promise<void> {
    this.#pending += 1
    this.#done += 1
    if (this.#pending >= batchEntries) await this.#write()
  }

  async #write(): Promise<void> {
    this.#options.signal?.throwIfAborted()
    await this.#namespace.env.store.batch(this.#tx.changes, { sync: false })
    this.#tx = this.#begin(this.#tx.accounts.totals)
    this.#pending = 0
    this.#options.onProgress?.(this.#done, 2 * this.#namespace.entries)
  }

  #begin(totals: { leafBytes: number; entryBytes: number }): Transaction {
    const { id: namespace, blocks, env } = this.#namespace
    const { store, agent, incarnation, clock } = env
    const shared = { namespace, store, keys: this.#target, catalog: this.#catalog, blocks, chains: new Chains() }
    return new Transaction({ ...shared, totals, agent, incarnation, clock })
  }
}
