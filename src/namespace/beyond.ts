import { bytesText, equalBytes } from '../encoding/index.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import type { KeyValueStore } from '../storage/index.ts'
import type { Chains, Tip } from './chains.ts'
import type { Ledger } from './ledger.ts'
import type { NamespaceParts } from './parts.ts'
import { isShownBy } from './shown.ts'
import { readStored } from './stored-log.ts'
import { type NamespaceKeys, placeOf } from './tables.ts'

type Row = Pick<Tip, 'chain' | 'seq' | 'hash'>

/** See `HeldEntries.entriesBeyond`. */
export async function* entriesBeyond(
  { parts, membership, chains }: Ledger,
  theirs: Iterable<Row>,
  { signal }: { signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  const theirTips = new Map<string, Row[]>()
  for (const row of theirs) {
    const name = bytesText(row.chain)
    theirTips.set(name, [...(theirTips.get(name) ?? []), row])
  }
  for (const tips of inOrder(membership, chains)) {
    signal?.throwIfAborted()
    const [first] = tips
    if (first === undefined) continue
    const held = theirTips.get(bytesText(first.chain)) ?? []
    const shown = membership.shownOf(first)
    const isForked = chains.tipsOf(first.chain).length > 1
    for await (const bytes of chainBeyond(parts, tips, held, { isForked, below: shown?.below, signal })) {
      const entry = shown && readStored(bytes)
      // What is damaged may be shown or not: it keeps no other chain from who lacks that.
      if (shown === undefined || (entry !== undefined && isShownBy(membership, entry, shown))) yield bytes
    }
  }
}

async function* chainBeyond(
  { env, keys, log }: NamespaceParts,
  tips: readonly Tip[],
  theirs: readonly Row[],
  { isForked, below, signal }: { isForked: boolean; below: number | undefined; signal: AbortSignal | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  const chain = (tips[0] as Tip).chain
  const missing = tips.filter(({ hash }) => !theirs.some((row) => equalBytes(row.hash, hash)))
  if (missing.length === 0) return
  const here = await env.store.getMany(theirs.map(({ hash }) => keys.key('places', hash)))
  const known = theirs.filter(({ seq }, at) => {
    const place = here[at]
    return place !== undefined && equalBytes(place, placeOf(chain, seq))
  })
  const highest = Math.max(...tips.map(({ seq }) => seq))
  const isForkedUnseen = theirs.some((row) => !known.includes(row) && row.seq <= highest)
  // All that they have is not held here and goes further: they are ahead, as far as can be told.
  const isAhead = theirs.length > 0 && known.length === 0 && !isForkedUnseen
  if (isAhead && below === undefined) return
  // Unless the chain is bounded: they may not have what bounds it, which stands there.
  const next = isAhead ? (below ?? 0) : Math.max(-1, ...known.map(({ seq }) => seq)) + 1
  const from = isForkedUnseen || (isForked && !isAhead) ? 0 : next
  const before = isForked ? await ancestorsOf(env.store, keys, chain, known) : undefined
  for await (const { hash, bytes } of log.ofChain(chain, from, { signal })) {
    if (before?.has(bytesText(hash)) !== true) yield bytes
  }
}

/** Hashes (text) of entries of a forked chain that are one of these or before one. */
async function ancestorsOf(
  store: KeyValueStore,
  keys: NamespaceKeys,
  chain: Uint8Array,
  rows: readonly Row[],
): Promise<Set<string>> {
  const wanted = new Set(rows.map(({ hash }) => bytesText(hash)))
  const highest = Math.max(-1, ...rows.map(({ seq }) => seq))
  const range = {
    gte: keys.key('entries', chain),
    lt: keys.key('entries', placeOf(chain, highest + 1)),
    reverse: true,
  }
  if (highest < 0) return wanted
  for await (const [, bytes] of store.entries(range)) {
    const entry = readStored(bytes)
    const previous = entry && wanted.has(bytesText(entry.hash)) ? entry.header.previous : undefined
    if (previous !== undefined) wanted.add(bytesText(previous))
  }
  return wanted
}

/**
 * So many of these rows: whoever may write can begin any number of chains, and keeps nobody's else, nor what ends its role, from being told of. Of what is not
 * told the other side gives what it has once more.
 */
export function rowsWithin(rows: readonly Tip[], membership: Membership, max: number): readonly Tip[] {
  if (rows.length <= max) return rows
  const byGrant = Map.groupBy(rows, ({ grant }) => bytesText(grant))
  const grants = [...byGrant.values()].map((tips) => ({ tips, rank: rankOfGrant(membership, (tips[0] as Tip).grant) }))
  const inTurn = grants.sort((a, b) => b.rank - a.rank || a.tips.length - b.tips.length)
  const told = new Set(inTurn.flatMap(({ tips }) => tips).slice(0, max))
  return rows.filter((row) => told.has(row))
}

function rankOfGrant(membership: Membership, grant: Uint8Array): number {
  if (equalBytes(grant, membership.namespace)) return 3
  const { role } = membership.grantOf(grant) ?? {}
  return role === undefined ? 0 : rankOf(role)
}

/** The tips of each chain: the owner's chains first, then admins', then the others', for who stands in one was granted it in one before. */
function inOrder(membership: Membership, chains: Chains): (readonly Tip[])[] {
  const byChain = new Map<string, { tips: readonly Tip[]; rank: number }>()
  for (const tip of chains.all()) {
    const name = bytesText(tip.chain)
    if (byChain.has(name)) continue
    byChain.set(name, { tips: chains.shownTipsOf(tip.chain), rank: rankOfGrant(membership, tip.grant) })
  }
  return [...byChain.values()].sort((a, b) => b.rank - a.rank).map(({ tips }) => tips)
}
