import { artifactIdOf, bytesText, equalBytes, prefixEnd, toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { chainOf, tipKey } from './chains.ts'
import type { Ledger } from './ledger.ts'
import type { NamespaceParts } from './parts.ts'
import { recountArtifact } from './recount.ts'
import { decodeStored } from './stored-log.ts'
import { placeOf } from './tables.ts'
import type { Transaction } from './transaction.ts'

const agentBytes = 32

interface Doubtful {
  readonly agent: Uint8Array
  readonly entry: Entry
}

/**
 * Whether a partial log cannot take an entry on the word of the agent who gives it. Of a chain that ends at a cut only whoever holds all of it
 * can tell which entries stand below, where its author can still sign others; so one who has a role must say so. Of entries that say who may do what,
 * one who had none that ended: by these it shows its role in the first place.
 */
export function isDoubtful(
  membership: Membership,
  { header, hash }: Pick<Entry, 'header' | 'hash'>,
  from: Uint8Array,
): boolean {
  if (membership.shownOf({ ...header, grant: header.grant ?? hash }) === undefined) return false
  return header.data === undefined ? membership.endingsOf(from).length > 0 : membership.roleOf(from) === undefined
}

/** Remembers who gave a data entry to a partial log, for as long as that may come to matter: the owner's role never ends. */
export function noteOrigin(tx: Transaction, entry: Entry, from: Uint8Array | undefined): void {
  if (from === undefined || entry.header.data === undefined || equalBytes(from, tx.membership.owner)) return
  const value = placeOf(chainOf(entry), entry.header.seq)
  tx.add({ type: 'put', key: tx.keys.key('origins', from, entry.hash), value })
}

/**
 * Takes data entries out of a partial log that it would not take now from who gave them, as if they had never come: whoever has a role gives
 * them again if they are well. What follows from the log is made again then.
 */
export async function removeDoubtful(ledger: Ledger): Promise<void> {
  const { keys } = ledger.parts
  // Mostly there is none, and nothing to write.
  if (!(await hasDoubtful(ledger))) return
  const isRemoved = await ledger.commit(async (tx, mark) => {
    const found = await Array.fromAsync(doubtfulEntries(ledger.parts, tx.membership))
    mark()
    if (found.length === 0) return false
    // Cut off before all is made again, opening does it.
    tx.add({ type: 'put', key: keys.key('rebuilding'), value: Uint8Array.of(1) })
    const lost = new Map<string, { artifact: Uint8Array; hashes: Set<string> }>()
    for (const { agent, entry } of found) {
      const { hash, header } = entry
      const chain = chainOf(entry)
      tx.add({ type: 'del', key: keys.entry(chain, header.seq, hash) })
      tx.add({ type: 'del', key: tipKey(keys, chain, hash) })
      tx.add({ type: 'del', key: keys.key('places', hash) })
      tx.add({ type: 'del', key: keys.key('stripped', hash) })
      tx.add({ type: 'del', key: keys.key('origins', agent, hash) })
      if (header.data === undefined) continue
      const artifact = artifactIdOf(ledger.parts.id, header.data.artifactSalt)
      const of = lost.get(bytesText(artifact)) ?? { artifact, hashes: new Set<string>() }
      lost.set(bytesText(artifact), of)
      of.hashes.add(toHex(hash))
    }
    for (const { artifact, hashes } of lost.values()) await recountArtifact(tx, { artifact, gained: [], lost: hashes })
    tx.removed += found.length
    return true
  })
  if (isRemoved) await ledger.rebuild()
}

async function hasDoubtful({ parts, membership }: Ledger): Promise<boolean> {
  for await (const _ of doubtfulEntries(parts, membership)) return true
  return false
}

async function* doubtfulEntries(parts: NamespaceParts, membership: Membership): AsyncGenerator<Doubtful> {
  const { env, keys } = parts
  const { gte, lt } = keys.all('origins')
  for (let from = gte; ; ) {
    const agent = await firstAgent(parts, { gte: from, lt })
    if (agent === undefined) return
    const ofAgent = keys.key('origins', agent)
    const end = prefixEnd(ofAgent) as Uint8Array
    from = end
    if (membership.roleOf(agent) !== undefined) continue
    for await (const [key, place] of env.store.entries({ gte: ofAgent, lt: end })) {
      const hash = key.slice(ofAgent.length)
      const bytes = await env.store.get(keys.key('entries', place, hash))
      const entry = bytes && decodeStored(bytes)
      if (entry !== undefined && isDoubtful(membership, entry, agent)) yield { agent, entry }
    }
  }
}

async function firstAgent(
  { env, keys }: NamespaceParts,
  range: { readonly gte: Uint8Array; readonly lt: Uint8Array },
): Promise<Uint8Array | undefined> {
  for await (const [key] of env.store.entries({ ...range, limit: 1 })) return keys.rest(key).slice(0, agentBytes)
  return undefined
}
