import { bytesText, equalBytes } from '../encoding/index.ts'
import { decodeUnverifiedEntry } from '../log/index.ts'
import { rankOf } from '../membership/index.ts'
import type { Chains, Tip } from './chains.ts'
import type { Namespace } from './namespace.ts'
import { placeOf } from './tables.ts'

type Row = Pick<Tip, 'chain' | 'seq' | 'hash'>

/** See `Namespace.entriesBeyond`. */
export async function* entriesBeyond(
  namespace: Namespace,
  chains: Chains,
  theirs: Iterable<Row>,
  { signal }: { signal?: AbortSignal | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  const theirTips = new Map<string, Row[]>()
  for (const row of theirs) {
    const name = bytesText(row.chain)
    theirTips.set(name, [...(theirTips.get(name) ?? []), row])
  }
  for (const tips of inOrder(namespace, chains)) {
    signal?.throwIfAborted()
    const [first] = tips
    if (first === undefined) continue
    const held = theirTips.get(bytesText(first.chain)) ?? []
    yield* chainBeyond(namespace, tips, held, signal)
  }
}

async function* chainBeyond(
  namespace: Namespace,
  tips: readonly Tip[],
  theirs: readonly Row[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chain = (tips[0] as Tip).chain
  const missing = tips.filter(({ hash }) => !theirs.some((row) => equalBytes(row.hash, hash)))
  if (missing.length === 0) return
  const { store } = namespace.env
  const here = await store.getMany(theirs.map(({ hash }) => namespace.keys.key('places', hash)))
  const known = theirs.filter(({ seq }, at) => {
    const place = here[at]
    return place !== undefined && equalBytes(place, placeOf(chain, seq))
  })
  const highest = Math.max(...tips.map(({ seq }) => seq))
  const isForkedUnseen = theirs.some((row) => !known.includes(row) && row.seq <= highest)
  // All that they have is not held here and goes further: they are ahead, as far as can be told.
  if (theirs.length > 0 && known.length === 0 && !isForkedUnseen) return
  const from = isForkedUnseen ? 0 : Math.max(-1, ...known.map(({ seq }) => seq)) + 1
  const isForked = tips.length > 1
  const before = isForked ? await ancestorsOf(namespace, chain, known) : undefined
  const lt = namespace.keys.key('entries', chain, new Uint8Array(8).fill(0xff))
  const gte = namespace.keys.key('entries', placeOf(chain, isForked ? 0 : from))
  const { length } = namespace.keys.key('entries', placeOf(chain, 0))
  for await (const [key, bytes] of store.entries({ gte, lt }, signal && { signal })) {
    if (before?.has(bytesText(key.subarray(length))) !== true) yield bytes
  }
}

/** Hashes (text) of entries of a forked chain that are one of these or before one. */
async function ancestorsOf(namespace: Namespace, chain: Uint8Array, rows: readonly Row[]): Promise<Set<string>> {
  const wanted = new Set(rows.map(({ hash }) => bytesText(hash)))
  const highest = Math.max(-1, ...rows.map(({ seq }) => seq))
  const range = {
    gte: namespace.keys.key('entries', chain),
    lt: namespace.keys.key('entries', placeOf(chain, highest + 1)),
    reverse: true,
  }
  if (highest < 0) return wanted
  for await (const [, bytes] of namespace.env.store.entries(range)) {
    const { hash, header } = decodeUnverifiedEntry(bytes)
    if (wanted.has(bytesText(hash)) && header.previous !== undefined) wanted.add(bytesText(header.previous))
  }
  return wanted
}

/** The tips of each chain: the owner's chains first, then admins', then the others', for who stands in one was granted it in one before. */
function inOrder({ membership, id }: Namespace, chains: Chains): (readonly Tip[])[] {
  const byChain = new Map<string, { tips: readonly Tip[]; rank: number }>()
  for (const tip of chains.all()) {
    const name = bytesText(tip.chain)
    if (byChain.has(name)) continue
    const grant = membership.grantOf(tip.grant)
    const rank = equalBytes(tip.grant, id) ? 3 : grant === undefined ? 0 : rankOf(grant.role)
    byChain.set(name, { tips: chains.tipsOf(tip.chain), rank })
  }
  return [...byChain.values()].sort((a, b) => b.rank - a.rank).map(({ tips }) => tips)
}
