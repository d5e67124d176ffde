import { Catalog } from '../catalog/index.ts'
import { concatBytes, equalBytes, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, decodeUnverifiedEntry, type Entry } from '../log/index.ts'
import { type AuthEntry, type EntryPlace, Membership } from '../membership/index.ts'
import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { isEstimate, noTotals, readTotals, type Totals } from './accounts.ts'
import { operationOf } from './artifact-writes.ts'
import { admitAll, ownPrefixesIn, unreadGenesis } from './auth-log.ts'
import { Chains, chainOf, readTip, type Tip, tipChange, tipOf } from './chains.ts'
import type { Namespace } from './namespace.ts'
import { derivedTables, keySpaces, NamespaceKeys, placeOf, type TableName } from './tables.ts'
import { Transaction } from './transaction.ts'

const batchEntries = 500
const batchKeys = 5_000

/** An entry that is not what the log's rules ask for. */
export interface LogFinding {
  /** Chain (16) ‖ seq (8) ‖ hash (32). */
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
  await derivation.findLostEnds()
  await derivation.judgeAuthors()
  await derivation.applyOperations()
  return derivation.findings
}

/**
 * Makes the derived tables what the log makes them: first all of them beside the real ones, then `replaceDerived`. A
 * signal ends only the first half, which changes nothing that counts. Gives what is wrong with the log. Nothing may be
 * committed meanwhile.
 */
export async function rebuildDerived(namespace: Namespace, options: DeriveOptions): Promise<LogFinding[]> {
  const scratch = new NamespaceKeys(namespace.id, keySpaces.scratch)
  try {
    await clearDerived(namespace, scratch)
    const findings = await deriveFromLog(namespace, scratch, options)
    await recordDamage(namespace, findings)
    await replaceDerived(namespace, scratch, findings)
    return findings
  } finally {
    await clearDerived(namespace, scratch)
  }
}

/** Remembers whether the log has damaged entries: while it has, gc leaves the namespace alone. */
export async function recordDamage(namespace: Namespace, findings: readonly LogFinding[]): Promise<void> {
  if ((await isKnownDamaged(namespace)) === findings.length > 0) return
  const key = namespace.keys.key('damaged')
  const change: KeyValueChange =
    findings.length === 0 ? { type: 'del', key } : { type: 'put', key, value: Uint8Array.of(1) }
  await namespace.env.store.batch([change], { sync: true })
}

/** Whether the log had damaged entries when it was last looked through. */
export async function isKnownDamaged(namespace: Namespace): Promise<boolean> {
  return (await namespace.env.store.get(namespace.keys.key('damaged'))) !== undefined
}

/**
 * Changes the derived tables, row by row, to those made from the log under `from`; no table is ever empty in between.
 * What a damaged log no longer says must not be lost of what was derived while it was whole: with findings, rows are
 * added and put right where that is safe, and none is removed. Cut off anywhere, opening the namespace or the next
 * commit rebuilds first. Nothing may be committed meanwhile.
 */
export async function replaceDerived(
  namespace: Namespace,
  from: NamespaceKeys,
  findings: readonly LogFinding[],
): Promise<void> {
  const { keys, env } = namespace
  const mark = keys.key('rebuilding')
  await env.store.batch([{ type: 'put', key: mark, value: Uint8Array.of(1) }], { sync: true })
  for (const table of derivedTables) {
    if (findings.length === 0) await replaceTable(namespace, from, table, undefined)
    else if (takenFromDamaged[table] !== undefined) await replaceTable(namespace, from, table, takenFromDamaged[table])
  }
  await env.store.batch([{ type: 'del', key: mark }], { sync: true })
}

/** Whether a replacement of the derived tables was cut off. */
export async function isHalfRebuilt(namespace: Namespace): Promise<boolean> {
  return (await namespace.env.store.get(namespace.keys.key('rebuilding'))) !== undefined
}

type Judge = (live: Uint8Array | undefined, made: Uint8Array) => boolean

/** Which rows that a damaged log makes are better than those that are there; tables not named stay as they are. */
const takenFromDamaged: Readonly<Partial<Record<TableName, Judge>>> = {
  places: () => true,
  auth: () => true,
  inlineLeaves: () => true,
  artifactKeys: (live) => live === undefined,
  totals: (live) => live === undefined || readTotals(live) === undefined,
}

/** @param isBetter when given, rows that are not made again stay too */
async function replaceTable(
  { env: { store }, keys }: Namespace,
  from: NamespaceKeys,
  table: TableName,
  isBetter: Judge | undefined,
): Promise<void> {
  let changes: KeyValueChange[] = []
  const flush = async () => {
    await store.batch(changes, { sync: false })
    changes = []
  }
  for await (const { rest, one: made, two: live } of sideBySide(store, from, keys, table)) {
    const key = keys.key(table, rest)
    if (made === undefined) {
      if (isBetter === undefined) changes.push({ type: 'del', key })
    } else if ((live === undefined || !equalBytes(live, made)) && (isBetter?.(live, made) ?? true)) {
      changes.push({ type: 'put', key, value: made })
    }
    if (changes.length >= batchKeys) await flush()
  }
  await flush()
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
  const different: string[] = []
  for (const table of derivedTables) {
    for await (const { one, two } of sideBySide(namespace.env.store, a, b, table)) {
      if (one !== undefined && two !== undefined && equalBytes(one, two)) continue
      different.push(table)
      break
    }
  }
  return different
}

interface TwoRows {
  /** The key after the table's. */
  readonly rest: Uint8Array
  readonly one: Uint8Array | undefined
  readonly two: Uint8Array | undefined
}

/** A table under two prefixes, row by row in order of key. */
async function* sideBySide(
  store: KeyValueStore,
  a: NamespaceKeys,
  b: NamespaceKeys,
  table: TableName,
): AsyncGenerator<TwoRows> {
  const prefixBytes = a.key(table).length
  const [left, right] = [a, b].map((keys) => store.entries(keys.all(table))[Symbol.asyncIterator]()) as [Rows, Rows]
  const next = async (rows: Rows) => {
    const step = await rows.next()
    return step.done === true ? undefined : { rest: step.value[0].subarray(prefixBytes), value: step.value[1] }
  }
  try {
    let [one, two] = [await next(left), await next(right)]
    for (;;) {
      const order = one && two ? Buffer.compare(one.rest, two.rest) : one ? -1 : 1
      const first = order <= 0 ? one : two
      if (first === undefined) return
      yield { rest: first.rest, one: order <= 0 ? one?.value : undefined, two: order >= 0 ? two?.value : undefined }
      if (order <= 0) one = await next(left)
      if (order >= 0) two = await next(right)
    }
  } finally {
    await Promise.all([left.return?.(), right.return?.()])
  }
}

type Rows = AsyncIterator<[Uint8Array, Uint8Array]>

class Derivation {
  readonly findings: LogFinding[] = []
  readonly #namespace: Namespace
  readonly #target: NamespaceKeys
  readonly #options: DeriveOptions
  readonly #catalog: Catalog
  #membership: Membership
  readonly #auth: AuthEntry[] = []
  readonly #links: EntryPlace[] = []
  #tx: Transaction
  #pending = 0
  #done = 0

  constructor(namespace: Namespace, target: NamespaceKeys, options: DeriveOptions) {
    this.#namespace = namespace
    this.#target = target
    this.#options = options
    this.#catalog = new Catalog({ store: namespace.env.store, prefix: target.key('catalog') })
    this.#membership = namespace.membership
    this.#tx = this.#begin(noTotals)
  }

  /** The public half: where entries are, tips, keys, inline leaves. Before the rest, for keys and grants may come later than what they are for. */
  async indexEntries(): Promise<void> {
    let walk: ChainWalk | undefined
    for await (const { place, bytes } of this.#namespace.allEntries(this.#options.signal)) {
      const entry = this.#decode(place, bytes)
      if (entry === undefined) continue
      const chain = chainOf(entry)
      if (!equalBytes(concatBytes(placeOf(chain, entry.header.seq), entry.hash), place)) {
        this.findings.push({ place: place.slice(), problem: 'is not where its header says' })
        continue
      }
      if (walk === undefined || !equalBytes(walk.chain, chain)) {
        this.#recordTips(walk)
        walk = new ChainWalk(chain)
      }
      if (!walk.take(entry))
        this.findings.push({ place: place.slice(), problem: 'does not follow the entry before it' })
      await this.#tx.index(entry, chain, bytes.length)
      if (entry.auth !== undefined) this.#auth.push(entry as AuthEntry)
      if (entry.header.grant !== undefined && !equalBytes(entry.header.grant, this.#namespace.id)) {
        this.#links.push(...walk.takeBranches())
      }
      await this.#step()
    }
    this.#recordTips(walk)
    await this.#write()
  }

  /** Evaluates who may do what, and takes in the keys that are sealed to this agent. */
  async judgeAuthors(): Promise<void> {
    const { env, keyring, membership } = this.#namespace
    const genesis = this.#auth.find(({ header }) => header.kind === 'genesis')
    const owner = this.#auth.find(
      ({ header }) => header.grant !== undefined && equalBytes(header.grant, this.#namespace.id),
    )
    const adopted = new Set(this.#auth.flatMap(({ auth }) => (auth.kind === 'adopt' ? [toHex(auth.hash)] : [])))
    for (const name of adopted) {
      const hash = new Uint8Array(Buffer.from(name, 'hex'))
      const place = await env.store.get(this.#target.key('places', hash))
      const bytes = place && (await env.store.get(this.#namespace.keys.key('entries', place, hash)))
      const entry = bytes && this.#decode(undefined, bytes)
      if (entry !== undefined) this.#links.push(entry)
    }
    const beginning = genesis ?? unreadGenesis(this.#namespace.id, owner?.header.author ?? membership.owner)
    this.#membership = Membership.of(beginning).with({ auth: this.#auth, links: this.#links })
    admitAll({ keyring, ownPrefixes: new Set(ownPrefixesIn(this.#auth, env.agent.publicKey)) }, this.#auth)
    this.#tx = this.#begin(this.#tx.accounts.totals)
  }

  /** Chains whose newest entries are gone, as those tables still say that were made while they were there. */
  async findLostEnds(): Promise<void> {
    const { env, keys } = this.#namespace
    for await (const [, value] of env.store.entries(keys.all('tips'))) {
      const recorded = readTip(value)
      if (recorded === undefined) continue
      const place = placeOf(recorded.chain, recorded.seq)
      const named = await env.store.get(keys.key('places', recorded.hash))
      if (named === undefined || !equalBytes(named, place)) continue
      if ((await env.store.get(keys.key('entries', place, recorded.hash))) === undefined)
        this.findings.push({ place: concatBytes(place, recorded.hash), problem: 'is missing' })
    }
  }

  /** The secret half: what the bodies of entries that count say to the catalog. */
  async applyOperations(): Promise<void> {
    for await (const { place, bytes } of this.#namespace.allEntries(this.#options.signal)) {
      const entry = this.#decode(undefined, bytes)
      const salt = entry?.header.data?.artifactSalt
      if (entry === undefined || salt === undefined || !this.#membership.counts(entry)) continue
      try {
        const state = await this.#namespace.stateOf(entry, this.#target)
        const operation = operationOf(this.#namespace.artifactOf(salt), entry, state)
        if (operation !== undefined) await this.#tx.apply(operation)
      } catch (error) {
        if (!isHubError(error, 'CORRUPT')) throw error
        this.findings.push({ place: place.slice(), problem: error.message })
      }
      await this.#step()
    }
    await this.#write()
  }

  #recordTips(walk: ChainWalk | undefined): void {
    for (const tip of walk?.tips ?? []) this.#tx.add(tipChange(this.#target, tip))
  }

  #decode(place: Uint8Array | undefined, bytes: Uint8Array): Entry | undefined {
    try {
      return place === undefined ? decodeUnverifiedEntry(bytes) : decodeEntry(bytes)
    } catch (error) {
      if (!isHubError(error) || error.code === 'UNSUPPORTED_FORMAT') throw error
      if (place !== undefined) this.findings.push({ place: place.slice(), problem: error.message })
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

  #begin(totals: Totals): Transaction {
    const { id: namespace, blocks, env, keys, keyring } = this.#namespace
    return new Transaction({
      ...env,
      namespace,
      blocks,
      keyring,
      totals,
      keys: this.#target,
      catalog: this.#catalog,
      chains: new Chains(),
      membership: this.#membership,
      nodeIncarnation: env.incarnation,
      nextFeedRow: undefined,
      // What is estimated stays so until it is settled, whatever has come meanwhile; and what was not, whatever was lost.
      isEstimated: async (rest) => {
        const row = await env.store.get(keys.key('references', rest))
        return row && isEstimate(row)
      },
    })
  }
}

/** One chain, entry by entry in order of seq. */
class ChainWalk {
  readonly chain: Uint8Array
  readonly #tips = new Map<string, Tip>()
  #seq = -1
  /** Entries at `#seq`, and hashes of those one below. */
  #level: Entry[] = []
  #below = new Set<string>()
  #isForked = false
  #branches: Entry[] = []

  constructor(chain: Uint8Array) {
    this.chain = chain
  }

  get tips(): Iterable<Tip> {
    return this.#tips.values()
  }

  /** Whether the entry follows one that was taken. */
  take(entry: Entry): boolean {
    const { seq, previous } = entry.header
    if (seq !== this.#seq) {
      this.#below = new Set(seq === this.#seq + 1 ? this.#level.map(({ hash }) => toHex(hash)) : [])
      this.#level = []
      this.#seq = seq
    }
    this.#level.push(entry)
    if (previous !== undefined) this.#tips.delete(toHex(previous))
    this.#tips.set(toHex(entry.hash), tipOf(entry, this.chain))
    if (this.#isForked) this.#branches.push(entry)
    else if (this.#level.length > 1) {
      this.#isForked = true
      this.#branches.push(...this.#level)
    }
    return previous === undefined ? seq === 0 : this.#below.has(toHex(previous))
  }

  /** Entries from the lowest fork up that were not given yet. */
  takeBranches(): Entry[] {
    const taken = this.#branches
    this.#branches = []
    return taken
  }
}
