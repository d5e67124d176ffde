import { equalBytes } from '../encoding/index.ts'
import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { readTotals } from './accounts.ts'
import type { NamespaceParts } from './parts.ts'
import { derivedTables, type NamespaceKeys, type TableName } from './tables.ts'

const batchKeys = 5_000

/** Whose tables they are. */
export type TableOwner = Pick<NamespaceParts, 'env' | 'keys'>

/** An entry that is not what the log's rules ask for. */
export interface LogFinding {
  /** Chain (16) ‖ seq (8) ‖ hash (32). */
  readonly place: Uint8Array
  readonly problem: string
}

/** Remembers whether the log has damaged entries: while it has, gc leaves the namespace alone. */
export async function recordDamage(namespace: TableOwner, findings: readonly LogFinding[]): Promise<void> {
  if ((await isKnownDamaged(namespace)) === findings.length > 0) return
  const key = namespace.keys.key('damaged')
  const change: KeyValueChange =
    findings.length === 0 ? { type: 'del', key } : { type: 'put', key, value: Uint8Array.of(1) }
  await namespace.env.store.batch([change], { sync: true })
}

/** Whether the log had damaged entries when it was last looked through. */
export async function isKnownDamaged(namespace: TableOwner): Promise<boolean> {
  return (await namespace.env.store.get(namespace.keys.key('damaged'))) !== undefined
}

/**
 * Changes the derived tables, row by row, to those made from the log under `from`; no table is ever empty in between.
 * What a damaged log no longer says must not be lost of what was derived while it was whole: with findings, rows are
 * added and put right where that is safe, and none is removed. Cut off anywhere, opening the namespace or the next
 * commit rebuilds first. Nothing may be committed meanwhile.
 */
export async function replaceDerived(
  namespace: TableOwner,
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
export async function isHalfRebuilt(namespace: TableOwner): Promise<boolean> {
  return (await namespace.env.store.get(namespace.keys.key('rebuilding'))) !== undefined
}

type Judge = (live: Uint8Array | undefined, made: Uint8Array) => boolean

/** Which rows that a damaged log makes are better than those that are there; tables not named stay as they are. */
const takenFromDamaged: Readonly<Partial<Record<TableName, Judge>>> = {
  places: () => true,
  auth: () => true,
  inlineLeaves: () => true,
  shares: () => true,
  labelledBoxes: (live) => live === undefined,
  artifactKeys: (live) => live === undefined,
  totals: (live) => live === undefined || readTotals(live) === undefined,
}

/** @param isBetter when given, rows that are not made again stay too */
async function replaceTable(
  { env: { store }, keys }: TableOwner,
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
export async function clearDerived(namespace: TableOwner, keys: NamespaceKeys): Promise<void> {
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
export async function compareDerived(namespace: TableOwner, a: NamespaceKeys, b: NamespaceKeys): Promise<string[]> {
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
  const [left, right] = [a, b].map((keys) => store.entries(keys.all(table))[Symbol.asyncIterator]()) as [
    RowIterator,
    RowIterator,
  ]
  const next = async (rows: RowIterator) => {
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

type RowIterator = AsyncIterator<[Uint8Array, Uint8Array]>
