import { inThreadEngine } from '../../src/content/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { decodeUnverifiedEntry, type Entry } from '../../src/log/index.ts'
import {
  clearDerived,
  compareDerived,
  deriveFromLog,
  keySpaces,
  Namespace,
  NamespaceKeys,
} from '../../src/namespace/index.ts'
import { readState, storedSecrets } from '../../src/namespace/secrets.ts'
import { derivedTables, type TableName } from '../../src/namespace/tables.ts'
import { MemoryBlocks } from '../support/namespace-nodes.ts'
import type { KnownRemoval } from './ledger.ts'
import type { Machine, World } from './machine.ts'
import { checkOwnForks } from './own-forks.ts'
import { Ruling } from './ruling.ts'
import { StoreImage } from './simulated-store.ts'

/** What follows from the log is what deriving it anew makes of it. */
export async function checkRebuilt(machine: Machine, ns: Namespace): Promise<void> {
  await ns.alone(async () => {
    const scratch = new NamespaceKeys(ns.id, keySpaces.scratch)
    // A crash may have left something of the time before.
    await clearDerived(ns, scratch)
    const findings = await deriveFromLog(ns, scratch, {})
    const different = await compareDerived(ns, scratch, ns.keys)
    await clearDerived(ns, scratch)
    if (findings.length > 0) throw new Error(`${machine.name}: ${findings.length} findings: ${findings[0]?.problem}`)
    if (different.length > 0) throw new Error(`${machine.name}: not what a rebuild makes: ${different.join(', ')}`)
  })
}

/** Everything that must be true once all machines are in step. */
export async function checkEnd(world: World, machines: readonly Machine[]): Promise<void> {
  const [owner] = machines as [Machine]
  const ns = owner.ns as Namespace
  const members = membersOf(machines)
  const readers = members.filter((machine) => ns.roleOf(machine.id) !== 'replica')
  const entries: Entry[] = []
  for await (const { bytes } of ns.held.all()) {
    world.ledger.find(bytes)
    entries.push(decodeUnverifiedEntry(bytes))
  }
  await findInGroup(world, machines)
  checkNothingLost(world, members, entries)
  checkCounting(world, ns, entries)
  checkAgreement(members)
  checkOwnForks(world, machines)
  await checkReadable(world, members, entries)
  await checkTables(readers)
  for (const machine of [readers.at(-1), members.find((one) => ns.roleOf(one.id) === 'replica')]) {
    if (machine?.ns !== undefined) await world.time.until(checkRebuilt(machine, machine.ns))
  }
  await checkRemoved(world, machines, ns, entries)
  checkPenalties(machines)
}

/** Notes what any machine holds of the group's log: of what was granted by one that was cut off right after, nobody was told. */
export async function findInGroup({ groupLedger }: World, machines: readonly Machine[]): Promise<void> {
  for (const { run } of machines) for await (const { bytes } of run?.group?.held.all() ?? []) groupLedger.find(bytes)
}

/** Whether an agent may write, as a log has it. */
export function isWriter(log: Namespace | undefined, agent: Uint8Array): boolean {
  return ['owner', 'admin', 'writer'].includes(log?.roleOf(agent) ?? '')
}

/**
 * Machines of honest members who can hear of each other. Copies of the owner's machine do so only by others, and not if each has
 * removed those whom the other one talks to.
 */
export function membersOf(machines: readonly Machine[]): Machine[] {
  const [owner] = machines as [Machine]
  const owners = machines.filter(({ id }) => equalBytes(id, owner.id))
  const isMember = ({ isHonest, id }: Machine, by: Machine) => isHonest && by.ns?.roleOf(id) !== undefined
  const between = machines.some((one) => !owners.includes(one) && owners.every((by) => isMember(one, by)))
  return between ? machines.filter((one) => isMember(one, owner)) : [owner]
}

/** Whether two machines of the owner have each what the other has not, for nobody goes between. */
export function ownersApart(machines: readonly Machine[]): boolean {
  const [owner] = machines as [Machine]
  const members = membersOf(machines)
  return machines.some((one) => equalBytes(one.id, owner.id) && !members.includes(one))
}

/** What an honest machine of a member told anybody is held by all members. */
function checkNothingLost(world: World, members: readonly Machine[], entries: readonly Entry[]): void {
  const held = new Set(entries.map(({ hash }) => toHex(hash)))
  for (const [hash, { machine, entry }] of world.ledger.told) {
    const mayBeHeard = members.includes(machine)
    if (mayBeHeard && !held.has(hash) && !world.ledger.excused.has(hash) && isShown(machine.ns as Namespace, entry))
      throw new Error(
        `${machine.name} told of a ${entry.header.kind} that is lost: ${hash.slice(0, 8)}, seq ${entry.header.seq}`,
      )
  }
}

/** Whether an entry is within the limit of its chain, or proves a fork: nobody needs to hold others. */
export function isShown({ membership }: Namespace, { header, hash }: Entry): boolean {
  const shown = membership.shownOf({ ...header, grant: header.grant ?? hash })
  return shown === undefined || header.seq < shown.below || shown.has(header.seq, toHex(hash))
}

/** What counts is what a second reading of the rules says, and nothing that was forged after its author was removed. */
function checkCounting(world: World, ns: Namespace, entries: readonly Entry[]): void {
  const ruling = new Ruling(ns.id, entries)
  for (const entry of entries) {
    const [does, should] = [ns.membership.counts(entry), ruling.counts(entry)]
    if (does !== should)
      throw new Error(
        `a ${entry.header.kind} ${does ? 'counts and should not' : 'does not count and should'}: ${toHex(entry.hash).slice(0, 8)}`,
      )
  }
  for (const { agent, role } of ns.membership.members) {
    if (ruling.roleOf(agent) !== role) throw new Error(`an agent is ${role} and should be ${ruling.roleOf(agent)}`)
  }
  const held = new Set(entries.map(({ hash }) => toHex(hash)))
  for (const { entry, why } of world.ledger.forbidden) {
    const { grant } = entry.header
    // Of what is held nowhere else, for it is beyond the cut, nobody is asked.
    if (!held.has(toHex(entry.hash))) continue
    const isAdopted = entries.some(
      ({ auth }) => auth?.kind === 'adopt' && grant !== undefined && equalBytes(auth.grant, grant),
    )
    if (!isAdopted && ns.membership.counts(entry))
      throw new Error(`a forged ${entry.header.kind} counts, though ${why}`)
  }
}

/** Who holds the same entries gives the same answers. */
function checkAgreement(members: readonly Machine[]): void {
  const answers = members.map(({ ns }) =>
    JSON.stringify([ns?.membership.members, ns?.membership.forks, ns?.membership.owed], hexed),
  )
  const at = answers.findIndex((answer) => answer !== answers[0])
  if (at >= 0) throw new Error(`${members[0]?.name} and ${members[at]?.name} hold the same and answer otherwise`)
}

/** For JSON. */
export function hexed(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? toHex(value) : value
}

/** Whatever an honest agent wrote that counts can be read by the owner, and says what was written. */
async function checkReadable(world: World, members: readonly Machine[], entries: readonly Entry[]): Promise<void> {
  const { ledger } = world
  const [owner] = members as [Machine]
  const ns = owner.ns as Namespace
  const agents = new Set(
    [...ledger.told.values()].filter(({ machine }) => machine.isHonest).map(({ machine }) => toHex(machine.id)),
  )
  for (const entry of entries) {
    const written = ledger.puts.get(toHex(entry.hash))
    if (written === undefined || !ns.membership.counts(entry) || !agents.has(toHex(entry.header.author))) continue
    const what = `${ledger.told.get(toHex(entry.hash))?.machine.name}'s put ${toHex(entry.hash).slice(0, 8)}`
    if (entry.body === undefined) {
      const version = await ns.catalog.get(artifactOf(ns, entry), `${entry.header.data?.gen}-${toHex(entry.hash)}`)
      if (version !== undefined) throw new Error(`${what} is listed and has no body at the owner's`)
      continue
    }
    const state = await readState(storedSecrets(ns), entry)
    if (state === undefined) {
      await checkMissingKey(members, entry, what)
      continue
    }
    const root = entry.header.data?.root
    if (written.text === undefined || root === undefined || entry.leaf === undefined) continue
    const key = await ns.artifactKeys.open(artifactOf(ns, entry), root.keyId)
    const text = Buffer.from(
      await inThreadEngine.open(entry.leaf.slice(), root.digest, key.content.encryption),
    ).toString()
    if (text !== written.text) throw new Error(`${what} says ${text} and not ${written.text}`)
  }
}

/**
 * What the owner cannot read nobody can give it: no honest machine that may write lists it. Then its author is named; or it goes on from a version that does not
 * count, or from one that does so, and the key is with that: adopted, all come, and it is listed only then.
 */
async function checkMissingKey(members: readonly Machine[], entry: Entry, what: string): Promise<void> {
  const [owner] = members as [Machine]
  const ns = owner.ns as Namespace
  const version = `${entry.header.data?.gen}-${toHex(entry.hash)}`
  for (const { name, id, ns: own } of members) {
    if (own === undefined || !isWriter(own, id)) continue
    if ((await own.catalog.get(artifactOf(own, entry), version)) !== undefined)
      throw new Error(`${what} cannot be read by ${owner.name}, and ${name} has the key`)
  }
  const isOwed = (await ns.healer.owedKeys()).some((author) => equalBytes(author, entry.header.author))
  if (!isOwed && !(await lacksAncestor(ns, entry)))
    throw new Error(`${what} cannot be read by ${owner.name}, and nobody is told`)
}

/** Whether a version that one goes on from, directly or not, is not held: it is not listed before that, nor are those between. */
async function lacksAncestor(ns: Namespace, entry: Entry): Promise<boolean> {
  const seen = new Set<string>()
  const open = [entry]
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    for (const hash of one.header.data?.parents ?? []) {
      if (seen.has(toHex(hash))) continue
      seen.add(toHex(hash))
      const parent = await ns.held.entry(hash)
      if (parent === undefined) return true
      open.push(parent)
    }
  }
  return false
}

function artifactOf(ns: Namespace, entry: Entry): Uint8Array {
  return ns.artifactOf(entry.header.data?.artifactSalt as Uint8Array)
}

/** Who holds the same entries and keys has the same bytes, of the log too. */
async function checkTables(readers: readonly Machine[]): Promise<void> {
  const [first, ...others] = readers
  if (first === undefined) return
  for (const other of others) {
    // Bodies of what no longer counts or has ended are not asked for again where a liar had left them out.
    const isAlike = sameRows(rowsOf(first, ['entries']), rowsOf(other, ['entries'])) === undefined
    const surplus = (await surplusOf(first)).symmetricDifference(await surplusOf(other))
    const some = [
      'places',
      'auth',
      'references',
      ...(surplus.size > 0 ? [] : (['tips', 'artifactKeys'] as const)),
    ] as const
    const tables = isAlike ? derivedTables : some
    const different = sameRows(rowsOf(first, tables, surplus), rowsOf(other, tables, surplus))
    const [hiddenHere, hiddenThere] = [await hiddenOf(first), await hiddenOf(other)]
    const hidden = hiddenHere.union(hiddenThere)
    const [one, two] = [await listOf(first, hidden), await listOf(other, hidden)]
    if (different === undefined && one === two) continue
    const what = `${isAlike ? '' : '(some without bodies) '}${different ?? 'what they list'} (${hiddenHere.size} and ${hiddenThere.size} hidden)`
    throw new Error(`${first.name} and ${other.name} hold the same and differ in ${what}`)
  }
}

/** What is listed, but for artifacts (hex) of which a version cannot be read. */
async function listOf({ ns }: Machine, except: ReadonlySet<string>): Promise<string> {
  const items = (await ns?.catalog.list({ limit: 1_000 }))?.items ?? []
  return items
    .filter(({ artifact }) => !except.has(toHex(artifact)))
    .map(({ versionId, state }) => `${versionId} ${state.name}`)
    .join()
}

/** The key of a row that is not in both, or not the same. */
function sameRows(one: ReadonlyMap<string, string>, two: ReadonlyMap<string, string>): string | undefined {
  return [...one.keys(), ...two.keys()].find((key) => one.get(key) !== two.get(key))
}

/** Artifacts (hex) with versions that cannot be read. */
async function hiddenOf({ ns }: Machine): Promise<Set<string>> {
  const artifacts = new Set<string>()
  for await (const { artifact } of ns?.catalog.hidden(undefined, {}) ?? []) artifacts.add(toHex(artifact))
  return artifacts
}

/** Hashes (hex) of what is held beyond the limits of chains. */
async function surplusOf({ ns }: Machine): Promise<Set<string>> {
  const surplus = new Set<string>()
  for await (const { bytes } of (ns as Namespace).held.all()) {
    const entry = decodeUnverifiedEntry(bytes)
    if (!isShown(ns as Namespace, entry)) surplus.add(toHex(entry.hash))
  }
  return surplus
}

/** @param except of which, by the hash (hex) at the end of their keys, no rows are given */
function rowsOf(
  { ns, image }: Machine,
  tables: readonly TableName[],
  except: ReadonlySet<string> = new Set(),
): Map<string, string> {
  const rows = new Map<string, string>()
  for (const table of tables) {
    const range = (ns as Namespace).keys.all(table)
    for (const [key, value] of image.range(range))
      if (!except.has(toHex(key.subarray(-32))))
        rows.set(`${table} ${toHex(key.subarray(range.gte.length))}`, toHex(value))
  }
  return rows
}

/**
 * Who was removed cannot read what was written by those who knew of it, with every entry and all own keys in hand: under an epoch whose
 * author knew of it, too, whoever sealed what to them; under another one, if the writer knew all that was ever sealed to them. (An epoch can
 * be without them by chance, and be given to them by who has not heard of the removal, or who took it for void while a fork of its chain was not settled.)
 */
async function checkRemoved(
  world: World,
  machines: readonly Machine[],
  ns: Namespace,
  entries: readonly Entry[],
): Promise<void> {
  const { ledger } = world
  for (const machine of machines.slice(1)) {
    const agent = toHex(machine.id)
    if (ns.roleOf(machine.id) !== undefined) continue
    const sealings = [...(ledger.sealings.get(agent) ?? [])]
    const revokes = (ledger.revokes.get(agent) ?? []).filter((entry) => ns.membership.counts(entry))
    const steady = revokes.filter((entry) => isSteady(entry, ns, entries))
    const kept = entries.filter((entry) => {
      const removed = ledger.puts.get(toHex(entry.hash))?.removed.get(agent)
      if (removed === undefined || !isRight(removed, revokes) || isShared(world, machine, ns, entry)) return false
      return isExcluded(world, entry, agent, steady) || sealings.every((hash) => removed.sealings.has(hash))
    })
    if (kept.length === 0) continue
    const spy = await spyOf(machine, ns, entries)
    for (const entry of kept) {
      const isNew = ledger.puts.get(toHex(entry.hash))?.text !== undefined
      const keys = [entry.header.keyId, isNew ? entry.header.data?.root?.keyId : undefined]
      for (const keyId of keys) {
        if (keyId === undefined) continue
        const isOpen = await spy.artifactKeys.open(artifactOf(ns, entry), keyId).then(
          () => true,
          () => false,
        )
        if (isOpen)
          throw new Error(
            `${machine.name} was removed, and reads what ${ledger.told.get(toHex(entry.hash))?.machine.name} wrote who knew it`,
          )
      }
    }
  }
}

/** Whether an artifact was shared with an agent, or with the group and it ever was in that, and the author of a put of it did not know that to be taken back. */
function isShared(world: World, { id }: Machine, ns: Namespace, entry: Entry): boolean {
  const { ledger } = world
  const artifact = artifactOf(ns, entry)
  const ended = ledger.puts.get(toHex(entry.hash))?.ended
  return [...ledger.shares].some(
    ([name, claims]) =>
      equalBytes(claims.artifact, artifact) &&
      ended?.has(name) !== true &&
      claims.audience.some((one) => (one.kind === 'group' ? wasInGroup(world, id) : equalBytes(one.id, id))),
  )
}

function wasInGroup({ groupLedger, machines }: World, agent: Uint8Array): boolean {
  const isOwners = machines.some(({ run }) => run?.group?.roleOf(agent) === 'owner')
  return isOwners || groupLedger.grants.has(toHex(agent))
}

/** Whether an agent was removed indeed by what somebody knew of it: whose revoke does not count after all removed nobody. */
function isRight({ grants, revokes }: Omit<KnownRemoval, 'sealings'>, counting: readonly Entry[]): boolean {
  const ended = counting.flatMap(({ hash, auth }) =>
    auth?.kind === 'revoke' && revokes.has(toHex(hash)) ? auth.grants.map(toHex) : [],
  )
  return grants.isSubsetOf(new Set(ended))
}

/** Whether an entry counted for everybody who ever held it: its chain has no fork at its place or below, or is one of the owner's, of which all branches count. */
function isSteady({ header }: Entry, { id }: Namespace, entries: readonly Entry[]): boolean {
  const { author, grant, incarnation } = header
  if (grant === undefined || equalBytes(grant, id)) return true
  const before = entries.filter(
    ({ header: one }) =>
      one.seq <= header.seq &&
      one.grant !== undefined &&
      equalBytes(one.grant, grant) &&
      equalBytes(one.author, author) &&
      equalBytes(one.incarnation, incarnation),
  )
  return new Set(before.map(({ header: { seq } }) => seq)).size === before.length
}

/** Whether an entry brings a key under an epoch whose author knew that all that the agent was ever granted had ended. */
function isExcluded({ ledger }: World, { keys }: Entry, agent: string, counting: readonly Entry[]): boolean {
  const [wrap] = keys?.wraps ?? []
  const known = wrap && ledger.excluded.get(toHex(wrap.under))?.get(agent)
  const grants = ledger.grants.get(agent)
  return known !== undefined && isRight(known, counting) && grants?.isSubsetOf(known.grants) === true
}

/** The namespace as an agent sees it that was handed every entry. */
async function spyOf(machine: Machine, ns: Namespace, entries: readonly Entry[]): Promise<Namespace> {
  const image = new StoreImage()
  const store = {
    get: async (key: Uint8Array) => image.get(key),
    getMany: async (keys: readonly Uint8Array[]) => keys.map((key) => image.get(key)),
    async *entries(range: Parameters<typeof image.range>[0]) {
      for (const [key, value] of image.range(range)) yield [key, value.slice()] as [Uint8Array, Uint8Array]
    },
    batch: async (changes: Parameters<typeof image.write>[0]) => image.write(changes, true),
  }
  const env = {
    ...(machine.ns ?? ns).env,
    store,
    agent: machine.agent,
    packs: async () => new MemoryBlocks(),
    verify: async (all: readonly Entry[]) => all.map(() => true),
  }
  const genesis = (await ns.held.bytes(ns.id)) as Uint8Array
  const spy = await Namespace.join(env, ns.id, genesis, () => [])
  const all: Uint8Array[] = []
  for (const { hash } of entries) {
    const bytes = await ns.held.bytes(hash)
    if (bytes !== undefined) all.push(bytes)
  }
  for (let stored = 1; stored > 0; ) stored = (await spy.receive(all)).stored
  return spy
}

/** Nobody holds against an honest node what it did. */
function checkPenalties(machines: readonly Machine[]): void {
  for (const { name, run, isHonest } of machines) {
    if (!isHonest) continue
    for (const { agent, misbehaviour } of run?.endpoint.penalties ?? []) {
      const by = machines.find(({ id }) => toHex(id) === agent)
      if (by?.isHonest === true && misbehaviour !== 'too-slow')
        throw new Error(`${name} holds ${misbehaviour} against ${by.name}`)
    }
  }
}
