import { bytesText, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { decodeUnverifiedEntry, type Entry, type EntryHeader, encodeAuthBody, grantPrefix } from '../log/index.ts'
import { type AuthEntry, type EntryPlace, Membership } from '../membership/index.ts'
import type { Keyring } from '../sharing/index.ts'
import type { Chains } from './chains.ts'
import type { Namespace } from './namespace.ts'
import { placeOf } from './tables.ts'

const batchRows = 500

/** What opening a namespace takes from its auth entries. */
export interface LoadedAuth {
  readonly membership: Membership
  /** As `ownPrefixesIn`. */
  readonly ownPrefixes: ReadonlySet<string>
}

/**
 * Evaluates who may do what from the stored auth entries, and takes in the keys that they hold for this agent.
 *
 * @param lenient passes over entries that are damaged or gone
 * @throws CORRUPT
 */
export async function loadAuth(
  namespace: Pick<Namespace, 'id' | 'env' | 'keys' | 'keyring' | 'membership'>,
  chains: Chains,
  lenient: boolean,
): Promise<LoadedAuth> {
  const { id, env } = namespace
  const entries = await storedAuth(namespace, lenient)
  const genesis = entries.find(({ header }) => header.kind === 'genesis') ?? standIn(namespace, chains)
  const ownPrefixes = new Set(ownPrefixesIn(entries, env.agent.publicKey))
  admitAll({ keyring: namespace.keyring, ownPrefixes }, entries)
  const links: EntryPlace[] = []
  const forked = new Map([...chains.all()].map(({ chain, grant }) => [bytesText(chain), { chain, grant }]))
  for (const { chain, grant } of forked.values()) {
    if (chains.tipsOf(chain).length > 1 && !equalBytes(grant, id)) links.push(...(await branchesOf(namespace, chain)))
  }
  for (const { auth } of entries) {
    const adopted = auth?.kind === 'adopt' ? await heldEntry(namespace, auth.hash) : undefined
    if (adopted !== undefined) links.push(adopted)
  }
  return { membership: Membership.of(genesis).with({ auth: entries, links }), ownPrefixes }
}

/** Stands in for a genesis that cannot be read: all that anyone else knows of it is its hash and its owner. */
export function unreadGenesis(id: Uint8Array, owner: Uint8Array): AuthEntry {
  const body = { kind: 'genesis' as const, nonce: new Uint8Array(16) }
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
function standIn({ id, membership }: Pick<Namespace, 'id' | 'membership'>, chains: Chains): AuthEntry {
  for (const { grant, author } of chains.all()) if (equalBytes(grant, id)) return unreadGenesis(id, author)
  return unreadGenesis(id, membership.owner)
}

async function storedAuth(
  { env: { store, warn }, keys, id }: Pick<Namespace, 'env' | 'keys' | 'id'>,
  lenient: boolean,
): Promise<AuthEntry[]> {
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
    namespace: bytesHex(id),
    entries: damaged,
  })
  return entries
}

function bytesHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function readEntry(bytes: Uint8Array): Entry | undefined {
  try {
    return decodeUnverifiedEntry(bytes)
  } catch (error) {
    if (!isHubError(error, 'CORRUPT')) throw error
    return undefined
  }
}

/** Every entry of a forked chain from its lowest fork up. */
async function branchesOf(
  { env: { store }, keys }: Pick<Namespace, 'env' | 'keys'>,
  chain: Uint8Array,
): Promise<Entry[]> {
  const branches: Entry[] = []
  const lt = keys.key('entries', placeOf(chain, Number.MAX_SAFE_INTEGER))
  let before: Entry | undefined
  for await (const [, bytes] of store.entries({ gte: keys.key('entries', chain), lt })) {
    const entry = readEntry(bytes)
    if (entry === undefined) continue
    if (before !== undefined && branches.length === 0 && before.header.seq === entry.header.seq) branches.push(before)
    if (branches.length > 0) branches.push(entry)
    before = entry
  }
  return branches
}

async function heldEntry(
  { env: { store }, keys }: Pick<Namespace, 'env' | 'keys'>,
  hash: Uint8Array,
): Promise<Entry | undefined> {
  const place = await store.get(keys.key('places', hash))
  const bytes = place === undefined ? undefined : await store.get(keys.key('entries', place, hash))
  return bytes === undefined ? undefined : readEntry(bytes)
}

/** How the grants (the genesis, for the owner) that name an agent are named in what is sealed to them, as text. */
export function* ownPrefixesIn(
  entries: readonly Pick<Entry, 'hash' | 'header' | 'auth'>[],
  agent: Uint8Array,
): Generator<string> {
  for (const { hash, header, auth } of entries) {
    const named = auth?.kind === 'grant' ? auth.agent : auth?.kind === 'genesis' ? header.author : undefined
    if (named !== undefined && equalBytes(named, agent)) yield bytesText(grantPrefix(hash))
  }
}

/** Whose keys are taken out of auth entries. */
export interface SealingReader {
  readonly keyring: Keyring
  readonly ownPrefixes: ReadonlySet<string>
}

/** Takes in the epoch secrets that entries seal to one of the grants, and those wrapped under them. Gives whether any is new. */
export function admitAll(
  { keyring, ownPrefixes }: SealingReader,
  entries: Iterable<Pick<Entry, 'hash' | 'header' | 'auth'> & { readonly keys?: Entry['keys'] }>,
): boolean {
  let gained = false
  for (const { hash, header, auth, keys } of entries) {
    if (header.keyId === undefined || keys === undefined || auth === undefined) continue
    const to =
      auth.kind === 'grant' ? [grantPrefix(hash)] : auth.kind === 'rotate' || auth.kind === 'keys' ? auth.to : []
    const isOwn = to.some((prefix) => ownPrefixes.has(bytesText(prefix)))
    gained = keyring.admit(header.keyId, keys, isOwn) || gained
  }
  return gained
}
