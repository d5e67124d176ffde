import { artifactIdOf, bytesText, equalBytes, prefixEnd, toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import { type Chains, chainOf, tipKey } from './chains.ts'
import type { Ledger } from './ledger.ts'
import { isBefore, isDoubtful, isLedTo, namedBy } from './origins.ts'
import type { NamespaceParts } from './parts.ts'
import { recountArtifact } from './recount.ts'
import { decodeStored } from './stored-log.ts'
import type { Transaction } from './transaction.ts'
import { sharesOf } from './vouched.ts'

const agentBytes = 32
const chainBytes = 16

/** An entry that is not believed, and who gave it, if that is what is wrong with it. */
interface Doubtful {
  readonly entry: Entry
  readonly agent: Uint8Array | undefined
}

/**
 * Takes entries out of a partial log that it would not take now from who gave them, and what stands on them, as if they had never come: whoever may be
 * believed gives them again if they are well. What follows from the log is made again then. Gives whether there were any.
 */
export async function removeDoubtful(ledger: Ledger): Promise<boolean> {
  const { parts } = ledger
  // Mostly there is none, and nothing to write.
  if ((await doubtfulEntries(parts, ledger.membership, ledger.chains)).length === 0) return false
  const isRemoved = await ledger.commit(async (tx, mark) => {
    const found = await doubtfulEntries(parts, tx.membership, ledger.chains)
    mark()
    if (found.length === 0) return false
    // Cut off before all is made again, opening does it.
    tx.add({ type: 'put', key: parts.keys.key('rebuilding'), value: Uint8Array.of(1) })
    await takeOut(tx, parts, found)
    tx.removed += found.length
    return true
  })
  if (!isRemoved) return false
  // What was opened with what is gone is closed: so it would be after the next start.
  parts.keyring.forgetOpened()
  await ledger.rebuild()
  return true
}

async function takeOut(tx: Transaction, { id, keys }: NamespaceParts, found: readonly Doubtful[]): Promise<void> {
  const lost = new Map<string, { artifact: Uint8Array; hashes: Set<string> }>()
  for (const { agent, entry } of found) {
    const { hash, header } = entry
    const chain = chainOf(entry)
    tx.add({ type: 'del', key: keys.entry(chain, header.seq, hash) })
    tx.add({ type: 'del', key: tipKey(keys, chain, hash) })
    for (const table of ['places', 'stripped', 'auth'] as const) tx.add({ type: 'del', key: keys.key(table, hash) })
    if (agent !== undefined) tx.add({ type: 'del', key: keys.key('origins', agent, hash) })
    if (header.data === undefined) continue
    const artifact = artifactIdOf(id, header.data.artifactSalt)
    const of = lost.get(bytesText(artifact)) ?? { artifact, hashes: new Set<string>() }
    lost.set(bytesText(artifact), of)
    of.hashes.add(toHex(hash))
  }
  for (const { artifact, hashes } of lost.values()) await recountArtifact(tx, { artifact, gained: [], lost: hashes })
}

async function doubtfulEntries(parts: NamespaceParts, membership: Membership, chains: Chains): Promise<Doubtful[]> {
  const bounded = new Set<string>()
  for (const tip of chains.all()) {
    // As `isDoubtful` has it: of others nothing need be looked at.
    if (membership.grantOf(tip.grant)?.live === true || membership.shownOf(tip) === undefined) continue
    bounded.add(bytesText(tip.chain))
  }
  if (bounded.size === 0) return []
  const doubted = new Map<string, Doubtful>()
  for await (const one of givenByLower(parts, membership, bounded)) doubted.set(bytesText(one.entry.hash), one)
  await clearFollowed(parts, membership, doubted)
  await clearNamed(parts, membership, doubted)
  for (const { entry } of [...doubted.values()]) {
    if (entry.auth?.kind !== 'grant') continue
    for (const { chain, grant } of chains.all()) {
      if (!equalBytes(grant, entry.hash)) continue
      for await (const { bytes } of parts.log.ofChain(chain, 0)) {
        const under = decodeStored(bytes)
        if (!doubted.has(bytesText(under.hash))) doubted.set(bytesText(under.hash), { entry: under, agent: undefined })
      }
    }
  }
  return [...doubted.values()]
}

/** What is doubtful by who gave it. */
async function* givenByLower(
  parts: NamespaceParts,
  membership: Membership,
  bounded: ReadonlySet<string>,
): AsyncGenerator<Doubtful> {
  const { env, keys } = parts
  const { gte, lt } = keys.all('origins')
  for (let from = gte; ; ) {
    const agent = await firstAgent(parts, { gte: from, lt })
    if (agent === undefined) return
    const ofAgent = keys.key('origins', agent)
    const end = prefixEnd(ofAgent) as Uint8Array
    from = end
    if (rankOf(membership.roleOf(agent) ?? 'reader') >= rankOf('admin')) continue
    for await (const [key, place] of env.store.entries({ gte: ofAgent, lt: end })) {
      if (!bounded.has(bytesText(place.subarray(0, chainBytes)))) continue
      const bytes = await env.store.get(keys.key('entries', place, key.slice(ofAgent.length)))
      const entry = bytes && decodeStored(bytes)
      if (entry !== undefined && isDoubtful(membership, entry, agent)) yield { agent, entry }
    }
  }
}

/** Believes those that stand right before one of their chain that is believed. */
async function clearFollowed(
  { log }: NamespaceParts,
  membership: Membership,
  doubted: Map<string, Doubtful>,
): Promise<void> {
  const nextOf = async (entry: Entry): Promise<Entry | undefined> => {
    for await (const { bytes, hash } of log.ofChain(chainOf(entry), entry.header.seq + 1)) {
      const next = decodeStored(bytes)
      if (next.header.seq > entry.header.seq + 1) return undefined
      if (isBefore(entry, next) && !doubted.has(bytesText(hash))) return next
    }
    return undefined
  }
  const auth = [...doubted.values()].filter(({ entry }) => entry.auth !== undefined)
  for (const { entry } of auth.sort((a, b) => b.entry.header.seq - a.entry.header.seq)) {
    if (await isLedTo(membership, entry, nextOf)) doubted.delete(bytesText(entry.hash))
  }
}

/** Believes versions that are named by what counts of their artifact and is believed. */
async function clearNamed(
  parts: NamespaceParts,
  membership: Membership,
  doubted: Map<string, Doubtful>,
): Promise<void> {
  const artifacts = new Map<string, Uint8Array>()
  for (const { entry } of doubted.values()) {
    if (entry.header.data === undefined) continue
    const artifact = artifactIdOf(parts.id, entry.header.data.artifactSalt)
    artifacts.set(bytesText(artifact), artifact)
  }
  for (const artifact of artifacts.values()) {
    const believed: Entry[] = []
    const look = (entry: Entry) => {
      if (!doubted.has(bytesText(entry.hash)) && membership.counts(entry)) believed.push(entry)
    }
    for await (const hash of parts.catalog.entriesOf(artifact)) {
      const entry = await parts.log.unverified(hash.slice())
      if (entry !== undefined) look(entry)
    }
    for await (const share of sharesOf(parts, artifact)) look(share)
    for (let entry = believed.pop(); entry !== undefined; entry = believed.pop()) {
      for (const name of namedBy(entry)) {
        const cleared = doubted.get(name)
        if (cleared === undefined) continue
        doubted.delete(name)
        look(cleared.entry)
      }
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
