import { bytesText, equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { type Entry, type EntryHeader, encodeAuthBody } from '../log/index.ts'
import { type AuthEntry, type EntryPlace, Membership } from '../membership/index.ts'
import { adoptedChainOf, type Chains } from './chains.ts'
import type { NamespaceParts } from './parts.ts'
import type { SealedKeys } from './sealed-keys.ts'
import { decodeStored, type StoredLog } from './stored-log.ts'

const batchRows = 500

/**
 * Evaluates who may do what from the stored auth entries, and takes in the keys that they hold for this agent.
 *
 * @param owner who owns the namespace as far as was known, for a log that has lost every trace of it
 * @param lenient passes over entries that are damaged or gone
 * @throws CORRUPT
 */
export async function loadMembership(
  parts: NamespaceParts,
  chains: Chains,
  sealedKeys: SealedKeys,
  { owner, lenient }: { owner: Uint8Array; lenient: boolean },
): Promise<Membership> {
  const { id, log } = parts
  const entries = await storedAuth(parts, lenient)
  const genesis = entries.find(({ header }) => header.kind === 'genesis') ?? standIn(id, owner, chains)
  sealedKeys.take(entries)
  const links: EntryPlace[] = []
  const forked = new Map([...chains.all()].map(({ chain, grant }) => [bytesText(chain), { chain, grant }]))
  for (const { chain, grant } of forked.values()) {
    if (chains.tipsOf(chain).length > 1 && !equalBytes(grant, id)) links.push(...(await branchesOf(log, chain)))
  }
  for (const { auth } of entries) {
    const bytes = auth?.kind === 'adopt' ? await log.bytes(auth.hash) : undefined
    const adopted = bytes && readEntry(bytes)
    if (adopted !== undefined) links.push(adopted)
  }
  const isPart = parts.partial !== undefined
  if (isPart) for await (const entry of fromAdopted(log, entries)) links.push(entry)
  return Membership.of(genesis, { isPart }).with({ auth: entries, links })
}

/** Stands in for a genesis that cannot be read: all that anyone else knows of it is its hash and its owner. */
export function unreadGenesis(id: Uint8Array, owner: Uint8Array): AuthEntry {
  const body = { kind: 'genesis' as const, type: 'namespace' as const, nonce: new Uint8Array(16) }
  const header: EntryHeader = {
    kind: 'genesis',
    namespace: undefined,
    author: owner,
    grant: undefined,
    incarnation: new Uint8Array(16),
    seq: 0,
    previous: undefined,
    heads: [],
    clock: { wallMs: 0, counter: 0 },
    keysHash: undefined,
    bodyHash: encodeAuthBody(body),
    keyId: undefined,
    data: undefined,
  }
  return { hash: id, header, auth: body }
}

/** The owner is known by any chain under the genesis: only theirs is taken. */
function standIn(id: Uint8Array, owner: Uint8Array, chains: Chains): AuthEntry {
  for (const { grant, author } of chains.all()) if (equalBytes(grant, id)) return unreadGenesis(id, author)
  return unreadGenesis(id, owner)
}

async function storedAuth({ env: { store, warn }, keys, id }: NamespaceParts, lenient: boolean): Promise<AuthEntry[]> {
  const entries: AuthEntry[] = []
  const { gte, lt } = keys.all('auth')
  let rows: Uint8Array[] = []
  let damaged = 0
  const flush = async () => {
    for (const bytes of await store.getMany(rows)) {
      const entry = bytes === undefined ? undefined : readEntry(bytes)
      if (entry?.auth === undefined) damaged += 1
      else entries.push(entry as AuthEntry)
    }
    rows = []
  }
  for await (const [key, place] of store.entries({ gte, lt })) {
    rows.push(keys.key('entries', place, key.subarray(gte.length)))
    if (rows.length === batchRows) await flush()
  }
  await flush()
  if (!entries.some(({ header }) => header.kind === 'genesis')) damaged += 1
  if (damaged === 0) return entries
  if (!lenient) throw new ArtifactHubError('CORRUPT', 'entries that say who may do what are damaged or missing')
  warn?.('some entries that say who may do what cannot be read: run check', {
    namespace: toHex(id),
    entries: damaged,
  })
  return entries
}

function readEntry(bytes: Uint8Array): Entry | undefined {
  try {
    return decodeStored(bytes)
  } catch (error) {
    if (!isHubError(error, 'CORRUPT')) throw error
    return undefined
  }
}

/** Of each chain that an adopt is about, the entries from the one that it names up. */
export async function* fromAdopted(log: StoredLog, auth: Iterable<AuthEntry>): AsyncGenerator<Entry> {
  const lowest = new Map<string, { readonly chain: Uint8Array; readonly seq: number }>()
  for (const { auth: said } of auth) {
    if (said.kind !== 'adopt') continue
    const chain = adoptedChainOf(said)
    const known = lowest.get(bytesText(chain))
    if (known === undefined || said.seq < known.seq) lowest.set(bytesText(chain), { chain, seq: said.seq })
  }
  for (const { chain, seq } of lowest.values()) {
    for await (const { bytes } of log.ofChain(chain, seq)) {
      const entry = readEntry(bytes)
      if (entry !== undefined) yield entry
    }
  }
}

/** Every entry of a forked chain from its lowest fork up. */
async function branchesOf(log: StoredLog, chain: Uint8Array): Promise<Entry[]> {
  const branches: Entry[] = []
  let before: Entry | undefined
  for await (const { bytes } of log.ofChain(chain, 0)) {
    const entry = readEntry(bytes)
    if (entry === undefined) continue
    if (before !== undefined && branches.length === 0 && before.header.seq === entry.header.seq) branches.push(before)
    if (branches.length > 0) branches.push(entry)
    before = entry
  }
  return branches
}
