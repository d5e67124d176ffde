import { bytesText, equalBytes } from '../encoding/index.ts'
import { decodeUnverifiedEntry, type Entry, encodeEntry } from '../log/index.ts'
import { type Chains, chainOf, type Tip } from './chains.ts'
import type { Ledger } from './ledger.ts'
import { isShownBy } from './shown.ts'
import { placeOf } from './tables.ts'

type Row = Pick<Tip, 'chain' | 'seq' | 'hash'>

/** A chain of which somebody who was removed is told. */
interface ToldChain {
  readonly chain: Uint8Array
  readonly isOwners: boolean
  /** The seq of the last entry that is given whole. */
  upTo: number
  /** The seq of the last one that is given at all: of versions and shares in between only what any member may hold back. */
  named: number
}

/** See `HeldEntries.farewellFor`. */
export async function* farewellFor(
  ledger: Ledger,
  agent: Uint8Array,
  theirs: Iterable<Row>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { parts, membership, chains } = ledger
  const rows = [...theirs]
  for (const { chain, upTo, named } of await chainsToRevokes(ledger, agent, rows)) {
    const from = await nextOf(parts, chains, chain, rows)
    for await (const { bytes } of parts.log.ofChain(chain, from)) {
      const entry = decodeUnverifiedEntry(bytes)
      if (entry.header.seq > Math.max(upTo, named)) break
      if (isShownBy(membership, entry)) yield entry.header.seq > upTo ? withoutContent(entry, bytes) : bytes
    }
  }
}

/**
 * The chains that the revokes of an agent's roles stand in, and the grants of who wrote these: each up to there, the owner's first. Where it may know of several
 * branches of one, for it none counts until it holds what names that of the revoke: up to there too.
 */
async function chainsToRevokes(
  { parts, membership, chains }: Ledger,
  agent: Uint8Array,
  rows: readonly Row[],
): Promise<readonly ToldChain[]> {
  const found = new Map<string, ToldChain>()
  const told = (entry: Entry): ToldChain => {
    const chain = chainOf(entry)
    const isOwners = equalBytes(entry.header.grant ?? parts.id, parts.id)
    const one = found.get(bytesText(chain)) ?? { chain, isOwners, upTo: -1, named: -1 }
    found.set(bytesText(chain), one)
    return one
  }
  const open = membership.endingsOf(agent).map(({ revoke }) => revoke)
  for (const hash of open) {
    const entry = await parts.log.unverified(hash)
    const grant = entry?.header.grant
    if (entry === undefined || grant === undefined) continue
    const one = told(entry)
    one.upTo = Math.max(entry.header.seq, one.upTo)
    if (one.isOwners) continue
    open.push(grant)
    if (!(await mayKnowBranches(parts, chains, one.chain, rows))) continue
    // Who names a place in a chain ranks above its author.
    for (const { by, seq } of membership.namersOf(entry)) {
      const namer = await parts.log.unverified(by)
      if (namer === undefined) continue
      one.named = Math.max(seq, one.named)
      const its = told(namer)
      its.named = Math.max(namer.header.seq, its.named)
    }
  }
  return [...found.values()].sort((a, b) => Number(b.isOwners) - Number(a.isOwners))
}

/** Whether a chain is forked here, or whoever has these rows has something in it that is not held here. */
async function mayKnowBranches(
  parts: Ledger['parts'],
  chains: Chains,
  chain: Uint8Array,
  rows: readonly Row[],
): Promise<boolean> {
  if (chains.tipsOf(chain).length > 1) return true
  const theirs = rows.filter((row) => equalBytes(row.chain, chain))
  return (await heldOf(parts, theirs)).length < theirs.length
}

/** An entry as whoever may read it can have it from a member that left out what it says. */
function withoutContent(entry: Entry, bytes: Uint8Array): Uint8Array {
  const isVersionOrShare = entry.header.kind === 'put' || entry.header.kind === 'share'
  return isVersionOrShare ? encodeEntry({ ...entry, body: undefined, leaf: undefined }) : bytes
}

/** The seq from which on whoever has these rows lacks a chain. */
async function nextOf(
  parts: Ledger['parts'],
  chains: Chains,
  chain: Uint8Array,
  rows: readonly Row[],
): Promise<number> {
  // On which branch they are is not worth finding out.
  if (chains.tipsOf(chain).length > 1) return 0
  const own = rows.filter((row) => equalBytes(row.chain, chain))
  return Math.max(-1, ...(await heldOf(parts, own)).map(({ seq }) => seq)) + 1
}

/** Those of the rows whose entries are held, where they say. */
async function heldOf({ env, keys }: Ledger['parts'], rows: readonly Row[]): Promise<readonly Row[]> {
  const places = await env.store.getMany(rows.map(({ hash }) => keys.key('places', hash)))
  return rows.filter(({ chain, seq }, at) => {
    const place = places[at]
    return place !== undefined && equalBytes(place, placeOf(chain, seq))
  })
}
