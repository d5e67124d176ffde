import { bytesText, equalBytes } from '../encoding/index.ts'
import { decodeUnverifiedEntry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { type Chains, chainOf, type Tip } from './chains.ts'
import type { Ledger } from './ledger.ts'
import { isShownBy } from './shown.ts'
import { placeOf } from './tables.ts'

type Row = Pick<Tip, 'chain' | 'seq' | 'hash'>

/** See `HeldEntries.farewellFor`. */
export async function* farewellFor(
  { parts, membership, chains }: Ledger,
  agent: Uint8Array,
  theirs: Iterable<Row>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const rows = [...theirs]
  for (const { chain, upTo } of await chainsToRevokes(parts, membership, agent)) {
    const from = await nextOf(parts, chains, chain, rows)
    for await (const { bytes } of parts.log.ofChain(chain, from)) {
      const entry = decodeUnverifiedEntry(bytes)
      if (entry.header.seq > upTo) break
      if (isShownBy(membership, entry)) yield bytes
    }
  }
}

/** The chains that the revokes of an agent's roles stand in, and the grants of who wrote these: each up to there, the owner's first. */
async function chainsToRevokes(
  { id, log }: Ledger['parts'],
  membership: Membership,
  agent: Uint8Array,
): Promise<{ readonly chain: Uint8Array; readonly upTo: number }[]> {
  const found = new Map<string, { chain: Uint8Array; upTo: number; isOwners: boolean }>()
  const open = membership.endingsOf(agent).map(({ revoke }) => revoke)
  for (const hash of open) {
    const entry = await log.unverified(hash)
    const grant = entry?.header.grant
    if (entry === undefined || grant === undefined) continue
    const isOwners = equalBytes(grant, id)
    const chain = chainOf(entry)
    const upTo = Math.max(entry.header.seq, found.get(bytesText(chain))?.upTo ?? 0)
    found.set(bytesText(chain), { chain, upTo, isOwners })
    if (!isOwners) open.push(grant)
  }
  return [...found.values()].sort((a, b) => Number(b.isOwners) - Number(a.isOwners))
}

/** The seq from which on whoever has these rows lacks a chain. */
async function nextOf(
  { env, keys }: Ledger['parts'],
  chains: Chains,
  chain: Uint8Array,
  rows: readonly Row[],
): Promise<number> {
  // On which branch they are is not worth finding out.
  if (chains.tipsOf(chain).length > 1) return 0
  const own = rows.filter((row) => equalBytes(row.chain, chain))
  const places = await env.store.getMany(own.map(({ hash }) => keys.key('places', hash)))
  const held = own.filter(({ seq }, at) => {
    const place = places[at]
    return place !== undefined && equalBytes(place, placeOf(chain, seq))
  })
  return Math.max(-1, ...held.map(({ seq }) => seq)) + 1
}
