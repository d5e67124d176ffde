import type { ShareClaims } from '../../src/capability/index.ts'
import { inThreadEngine } from '../../src/content/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { decodeUnverifiedEntry, type Entry } from '../../src/log/index.ts'
import { type Namespace, NamespaceKeys, type Share } from '../../src/namespace/index.ts'
import { readState, storedSecrets } from '../../src/namespace/secrets.ts'
import { Access, isForGroup } from './access.ts'
import { foundersApart, isMistaken } from './in-step.ts'
import { checkRebuilt, findInGroup, hexed, isShown, isWriter, membersOf, ownersApart } from './invariants.ts'
import type { Machine, World } from './machine.ts'
import { type Reach, reachesIn } from './reach.ts'

/** A version as everybody who holds its entry sees it. */
interface Version {
  readonly entry: Entry
  readonly artifact: Uint8Array
  readonly gen: number
  readonly body: string
  readonly root: string
}

/** All that there is to hold answers against. */
interface Evidence {
  readonly world: World
  readonly machines: readonly Machine[]
  readonly ns: Namespace
  readonly group: Namespace | undefined
  readonly access: Access
  /** All that count, live or ended. */
  readonly versions: readonly Version[]
  /** Versions (hex of the entry) that are listed. */
  readonly live: ReadonlySet<string>
  /** By key (hex), the lowest number of a version that counts and is under it. */
  readonly firstGen: ReadonlyMap<string, number>
}

/** How often what was checked: it says something only if all of it happens. */
export type SharingTally = Record<'read' | 'refused' | 'late' | 'closed' | 'apart', number>

/**
 * What must be true of shares once all machines are in step and every artifact was written to by somebody who knows all of it.
 *
 * @param last hashes (hex) of what was written then
 */
export async function checkSharing(
  world: World,
  machines: readonly Machine[],
  last: ReadonlySet<string>,
): Promise<SharingTally> {
  const evidence = await evidenceOf(world, machines)
  checkOwed(evidence)
  await checkListed(evidence)
  const apart = evidence.group === undefined ? [] : foundersApart(machines, evidence.group)
  const tally: SharingTally = { read: 0, refused: 0, late: 0, closed: 0, apart: 0 }
  for (const machine of machines) {
    if (
      !machine.isHonest ||
      machine.isStubborn ||
      evidence.access.isMember(machine.id) ||
      isMistaken(machine, evidence.ns) ||
      // Who left, or put an older disk back, had told it alone: it goes by a removal that nobody else knows of.
      machine.knowsMore ||
      apart.includes(machine)
    )
      continue
    await checkFollower(evidence, machine, last, tally)
  }
  const reachOf = reachesIn(world)
  const seen = new Set<string>()
  for (const machine of machines) {
    if (seen.has(toHex(machine.id))) continue
    seen.add(toHex(machine.id))
    const reach = reachOf(machine.agent)
    await checkLast(evidence, machine, reach, last, tally)
    checkApart(evidence, machine, reach, tally)
    checkClosed(evidence, machine, reach, tally)
  }
  return tally
}

async function evidenceOf(world: World, machines: readonly Machine[]): Promise<Evidence> {
  const [owner] = machines as [Machine]
  const ns = owner.ns as Namespace
  const entries = await entriesOf(ns)
  for (const { header } of entries) {
    if (header.kind !== 'share' || header.data === undefined) continue
    for (const { share } of await ns.sharing.of(ns.artifactOf(header.data.artifactSalt))) {
      const { claims } = share
      const name = toHex(claims.jti)
      if (claims.kind === 'share' && !world.ledger.shares.has(name)) world.ledger.unsent.set(name, claims)
    }
  }
  const founder = machines.find(({ run }) => run?.group !== undefined && run.group.roleOf(run.machine.id) === 'owner')
  const group = founder?.run?.group
  await findInGroup(world, machines)
  const access = new Access(world, entries, group === undefined ? [] : await entriesOf(group), {
    nowMs: world.time.now(),
    isSplit: ownersApart(machines),
  })
  const versions = entries.flatMap((entry): Version[] => {
    const { data, keyId } = entry.header
    if (entry.header.kind !== 'put' || data?.root === undefined || !ns.membership.counts(entry)) return []
    const artifact = ns.artifactOf(data.artifactSalt)
    return [{ entry, artifact, gen: data.gen, body: toHex(keyId as Uint8Array), root: toHex(data.root.keyId) }]
  })
  const firstGen = new Map<string, number>()
  for (const { gen, body, root } of versions) {
    for (const key of [body, root]) firstGen.set(key, Math.min(firstGen.get(key) ?? gen, gen))
  }
  const live = new Set<string>()
  for (const { artifact } of (await ns.catalog.list({ limit: 1_000 })).items) {
    const { items } = await ns.catalog.listVersions(artifact, { limit: 1_000 })
    for (const { entry } of items) live.add(toHex(entry))
  }
  return { world, machines, ns, group, access, versions, live, firstGen }
}

async function entriesOf(log: Namespace): Promise<Entry[]> {
  return (await Array.fromAsync(log.held.all())).map(({ bytes }) => decodeUnverifiedEntry(bytes, { partial: true }))
}

/** What the members of the namespace and of the group are owed was done, for there was time. */
function checkOwed({ ns, group }: Evidence): void {
  for (const log of [ns, group]) {
    const { rotation, boxes } = log?.membership.owed ?? { rotation: false, boxes: [] }
    if (rotation || boxes.length > 0)
      throw new Error(
        `${log?.membership.isGroup ? 'the group' : 'the namespace'} is owed ${rotation ? 'a rotation' : 'boxes'} after all`,
      )
  }
}

/** What is shared the owner sees, if anybody does who may give it the key. */
async function checkListed({ world, access, ns, machines }: Evidence): Promise<void> {
  const lists = async (log: Namespace | undefined, { artifact, jti }: ShareClaims) =>
    ((await log?.sharing.of(artifact)) ?? []).find(({ share }) => equalBytes(share.claims.jti, jti))?.share
  // What is beyond the limit of its chain nobody is told of, and some hold it and others do not.
  const isTold = async (log: Namespace | undefined, share: Share | undefined) => {
    const entry = share && (await log?.held.entry(share.entry))
    return entry !== undefined && isShown(log as Namespace, entry)
  }
  const members = membersOf(machines)
  for (const claims of world.ledger.shares.values()) {
    if (access.hasEnded(claims) || (await lists(ns, claims))) continue
    for (const { name, id, ns: own } of members) {
      if (!isWriter(ns, id)) continue
      if (await isTold(own, await lists(own, claims))) throw new Error(`${name} sees a share that the owner does not`)
    }
    const isHeld = (await ns.shares.entriesOf(claims.artifact, claims.jti)).length > 0
    const isOwed = (await ns.healer.owedKeys()).some((author) => equalBytes(author, claims.issuer))
    if (isHeld && !isOwed) throw new Error('the owner cannot see a share, and is not told')
  }
}

/** Whoever follows artifacts can read all of them that it should, and has nothing of any others. */
async function checkFollower(
  evidence: Evidence,
  machine: Machine,
  last: ReadonlySet<string>,
  tally: SharingTally,
): Promise<void> {
  const { access, versions, live, firstGen, world, machines } = evidence
  const { name, id, partial } = machine
  for (const version of versions) {
    const { artifact, gen, entry, body, root } = version
    const after = access.after(id, artifact)
    const written = world.ledger.puts.get(toHex(entry.hash))
    if (after === undefined || gen <= after || !live.has(toHex(entry.hash)) || written === undefined) continue
    // Whoever knows of a share takes a key for it that opens nothing from before.
    const isOpen = (key: string) => after === 0 || last.has(toHex(entry.hash)) || (firstGen.get(key) ?? 0) > after
    const what = `${name} follows an artifact, and of its version ${gen} (${toHex(entry.hash).slice(0, 8)})`
    const held = await partial?.held.entry(entry.hash)
    if (partial === undefined || held === undefined) throw new Error(`${what} it has nothing`)
    const isListed = (await partial.catalog.get(artifact, `${gen}-${toHex(entry.hash)}`)) !== undefined
    if (isOpen(body) && ((await readState(storedSecrets(partial), held)) === undefined || !isListed))
      throw new Error(`${what} it cannot open the body`)
    if (isOpen(root) && isOpen(body)) await checkText(partial, held, artifact, written.text, what)
    if (isOpen(body)) tally[after > 0 ? 'late' : 'read'] += 1
  }
  if (partial === undefined) return
  // A follower has what both of them have.
  for (const artifact of ownersApart(machines)
    ? []
    : new Map(versions.map((version) => [toHex(version.artifact), version.artifact])).values()) {
    if (access.after(id, artifact) === 0) await checkSameCatalog(evidence, machine, artifact)
  }
  const shared = [...machine.mail.values()].map(({ capability }) => capability.claims)
  for (const { header, auth, keys, body, leaf } of await entriesOf(partial)) {
    const { data, kind } = header
    const of = shared.filter(({ artifact }) => data && equalBytes(artifact, partial.artifactOf(data.artifactSalt)))
    const isFor = of.some(({ after }) => kind !== 'put' || (data?.gen ?? 0) > after)
    const isBare = keys === undefined && leaf === undefined && (auth !== undefined || body === undefined)
    if (!isFor && !isBare) throw new Error(`${name} has what is secret of a ${kind} that was never shared with it`)
  }
  // What was taken back before the last start it could open all the same, and listed.
  const held = shared.map(({ artifact, jti, audience }) => {
    return { artifact, jti, groups: audience.flatMap(({ kind, id }) => (kind === 'group' ? [id] : [])) }
  })
  await world.time.until(partial.holdCapabilities(held))
  await world.time.until(checkRebuilt(machine, partial))
}

/** Whoever has the same entries of an artifact lists the same. Bodies that a liar kept from the owner a follower may have. */
async function checkSameCatalog({ ns }: Evidence, { name, partial }: Machine, artifact: Uint8Array): Promise<void> {
  for await (const hidden of ns.catalog.hidden(undefined, {})) if (equalBytes(hidden.artifact, artifact)) return
  const [here, there] = await Promise.all(
    [ns, partial].map(async (log) => {
      const { items } = (await log?.catalog.listVersions(artifact, { limit: 1_000 })) ?? { items: [] }
      return JSON.stringify(items, hexed)
    }),
  )
  if (here !== there)
    throw new Error(`${name} lists other versions of an artifact than the owner: ${there} and not ${here}`)
}

async function checkText(
  log: Namespace,
  { header, leaf }: Entry,
  artifact: Uint8Array,
  text: string | undefined,
  what: string,
): Promise<void> {
  const root = header.data?.root
  if (root === undefined || leaf === undefined) throw new Error(`${what} it has no content`)
  const key = await log.artifactKeys.open(artifact, root.keyId).catch(() => undefined)
  if (key === undefined) throw new Error(`${what} it cannot open the content`)
  const said = Buffer.from(await inThreadEngine.open(leaf.slice(), root.digest, key.content.encryption)).toString()
  if (text !== undefined && said !== text) throw new Error(`${what} it reads ${said} and not ${text}`)
}

/** What was written when all was known is for those who should have it: nobody else can open it, or was given it. */
async function checkLast(
  { access, versions, machines, ns }: Evidence,
  { id, name }: Machine,
  reach: Reach,
  last: ReadonlySet<string>,
  tally: SharingTally,
): Promise<void> {
  if (access.mayHoldKeys(id)) return
  for (const { entry, artifact, body, root, gen } of versions) {
    if (!last.has(toHex(entry.hash)) || access.isReader(id)) continue
    const after = access.possiblyAfter(id, artifact)
    if (after !== undefined && after < gen) continue
    if (reach.keys.has(body) || reach.keys.has(root)) {
      const left = reach.keysLeft()
      if (left.has(body) || left.has(root))
        throw new Error(`${name} should not read any more, and opens what was written when all knew`)
    } else tally.refused += 1
    if (access.isMember(id)) continue
    const given = machines.find((one) => equalBytes(one.id, id) && one.image.get(placeKey(ns.id, entry.hash)))
    const held = await given?.partial?.held.entry(entry.hash)
    // Whoever may read what comes later has what is before in public: numbers fall back when the versions of a fork stop counting.
    const isPublic = after !== undefined && held !== undefined && held.body === undefined && held.keys === undefined
    if (given !== undefined && !isPublic)
      throw new Error(`${given.name} should not read any more, and was given what was written when all knew`)
  }
}

function placeKey(id: Uint8Array, hash: Uint8Array): Uint8Array {
  return new NamespaceKeys(id).key('places', hash)
}

/** Who never had a role reaches nothing of what was never shared with it, and of what was from some version on nothing from before. */
function checkApart({ access, versions }: Evidence, { id, name }: Machine, reach: Reach, tally: SharingTally): void {
  if (access.everMember(id)) return
  for (const { artifact, gen, body, root } of versions) {
    const after = access.everAfter(id, artifact)
    if (after !== undefined && gen > after) continue
    tally.apart += 1
    if (reach.keys.has(body) || reach.keys.has(root))
      throw new Error(
        `${name} opens version ${gen} of what was ${after === undefined ? 'never' : 'only later'} shared with it`,
      )
  }
}

/** Who was removed opens nothing that somebody wrote who knew that all that it ever had of the artifact was taken back. */
function checkClosed(
  { world, access, versions }: Evidence,
  { id, name }: Machine,
  reach: Reach,
  tally: SharingTally,
): void {
  // `checkRemoved` is about those who had a role.
  if (access.everMember(id)) return
  for (const { entry, artifact, body, root } of versions) {
    const written = world.ledger.puts.get(toHex(entry.hash))
    const shares = access.everShared(id, artifact)
    if (written === undefined || shares.length === 0) continue
    const isClosed = shares.every(
      (claims) =>
        (written.ended.has(toHex(claims.jti)) && access.hasEnded(claims)) ||
        // What is shared later, by who has not heard of the group's epoch, is given by them.
        (isForGroup(claims) &&
          written.shares.has(toHex(claims.jti)) &&
          written.groupEpoch !== undefined &&
          access.isLastingEpoch(written.groupEpoch) &&
          !reach.groupEpochs.has(written.groupEpoch)),
    )
    if (!isClosed) continue
    tally.closed += 1
    const author = world.ledger.told.get(toHex(entry.hash))?.machine.name
    if (reach.keys.has(body) || (written.text !== undefined && reach.keys.has(root)))
      throw new Error(`${name} lost its right, and opens ${toHex(entry.hash).slice(0, 8)} of ${author} who knew it`)
  }
}
