import { sha256, toHex } from '../../src/encoding/index.ts'
import type { ReplicatedLog } from '../../src/exchange/index.ts'
import {
  decodeUnverifiedEntry,
  type Entry,
  encodeAuthBody,
  encodeEntry,
  type HeaderDraft,
  signEntry,
} from '../../src/log/index.ts'
import type { Namespace } from '../../src/namespace/index.ts'
import type { Chance } from './chance.ts'
import { type Machine, SimulatedAgent } from './machine.ts'

/** Entries of another namespace, and bytes that are no entry. */
function rubbish(chance: Chance): Uint8Array {
  const stranger = new SimulatedAgent(chance.bytes(32))
  const body = encodeAuthBody({ kind: 'genesis', type: 'namespace', nonce: chance.bytes(16) })
  const draft: HeaderDraft = {
    kind: 'genesis',
    namespace: undefined,
    grant: undefined,
    incarnation: chance.bytes(16),
    seq: 0,
    previous: undefined,
    heads: [],
    clock: { wallMs: 1, counter: 0 },
    keyId: undefined,
    data: undefined,
  }
  return chance.is(0.5) ? chance.bytes(1 + chance.int(200)) : signEntry(stranger, draft, { body }).bytes
}

/** A log whose keeper serves it without bodies, out of order, again, in part, and with rubbish in between. */
export function disguised(chance: Chance): (log: Namespace) => ReplicatedLog {
  const habit = chance.weighted({ strip: 4, shuffle: 2, rubbish: 2, honest: 2, withhold: 2 })
  const stripped = (bytes: Uint8Array): Uint8Array => {
    const entry = decodeUnverifiedEntry(bytes)
    const isVersionOrShare = entry.header.kind === 'put' || entry.header.kind === 'share'
    return isVersionOrShare ? encodeEntry({ ...entry, body: undefined, leaf: undefined }) : bytes
  }
  const spoiled = (bytes: Uint8Array): Uint8Array => (habit === 'strip' && chance.is(0.7) ? stripped(bytes) : bytes)
  return (log) => ({
    id: log.id,
    held: {
      get vectorHash() {
        return log.held.vectorHash
      },
      vector: () => log.held.vector(),
      async *entriesBeyond(theirs, options) {
        let held: Uint8Array | undefined
        for await (const bytes of log.held.entriesBeyond(theirs, options)) {
          if (habit === 'rubbish' && chance.is(0.05)) yield rubbish(chance)
          if (habit === 'withhold' && chance.is(0.1)) continue
          if (habit === 'shuffle' && chance.is(0.3)) {
            if (held !== undefined) yield held
            held = bytes
            continue
          }
          yield spoiled(bytes)
          if (habit === 'shuffle' && chance.is(0.1)) yield bytes
        }
        if (held !== undefined) yield held
      },
      has: (hash) => log.held.has(hash),
      bytes: async (hash) => {
        const bytes = await log.held.bytes(hash)
        return bytes && spoiled(bytes)
      },
      incomplete: () => log.held.incomplete(),
      authIds: () => log.held.authIds(),
      authEntries: (options) => log.held.authEntries(options),
      async *artifactEntries(artifact, options) {
        for await (const { hash, bytes } of log.held.artifactEntries(artifact, options))
          yield { hash, bytes: spoiled(bytes) }
      },
      evidenceAgainst: (claims) => log.held.evidenceAgainst(claims),
      farewellFor: (agent, theirs) => log.held.farewellFor(agent, theirs),
      claim: () => log.held.claim(),
    },
    receive: (batch, options) => log.receive(batch, options),
    roleOf: (agent) => log.roleOf(agent),
    memberAgents: () => log.memberAgents(),
    allows: (question) => log.allows(question),
    isIssued: (claims) => log.isIssued(claims),
    healer: log.healer,
    hadRole: (agent) => log.hadRole(agent),
    provesRole: (agent, claim) => log.provesRole(agent, claim),
    subscribe: (listener) =>
      log.subscribe((change) => listener({ ...change, written: change.written.map((bytes) => spoiled(bytes)) })),
  })
}

/**
 * Signs what the agent of a machine has no right to, or cannot have written in turn: beside entries of its own chains, after where they were
 * ended, on new ones, in the past by its clock. Hands it to its own node and at times straight to another one, as one
 * would that does not yet know.
 */
export async function lie(
  machine: Machine,
  ns: Namespace,
  machines: readonly Machine[],
  chance: Chance,
): Promise<void> {
  const { ledger } = machine.world
  const own = ns.held.vector().filter(({ author }) => Buffer.compare(author, machine.id) === 0)
  const grants = (ledger.grants.get(toHex(machine.id)) ?? new Set<string>()).values().toArray()
  const tip = chance.pick(own)
  const grant = tip?.grant ?? new Uint8Array(Buffer.from(chance.pick(grants) ?? '', 'hex'))
  if (grant.length !== 32) return
  const style = chance.weighted({ beside: 5, after: 3, anew: 2 })
  let previous = tip === undefined || style === 'anew' ? undefined : await ns.held.entry(tip.hash)
  if (style === 'beside') {
    for (let back = 1 + chance.int(4); back > 0 && previous !== undefined; back--) {
      const before: Uint8Array | undefined = previous.header.previous
      previous = before && (await ns.held.entry(before))
    }
  }
  const incarnation = tip === undefined || style === 'anew' ? chance.bytes(16) : tip.incarnation
  const made: Uint8Array[] = []
  for (let left = 1 + chance.int(3); left > 0; left--) {
    const { entry, bytes } = await forge(machine, ns, { grant, incarnation, previous }, machines, chance)
    ledger.sign(bytes)
    forbid(machine, entry)
    made.push(bytes)
    previous = entry
  }
  const hearers = [ns, ...(chance.is(0.6) ? [chance.pick(machines)?.ns] : [])]
  for (const hearer of hearers) await hearer?.receive(made)
}

interface Place {
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly previous: Entry | undefined
}

async function forge(machine: Machine, ns: Namespace, place: Place, machines: readonly Machine[], chance: Chance) {
  const { previous, grant, incarnation } = place
  const wallMs = Math.max(0, (previous?.header.clock.wallMs ?? machine.world.time.now()) + chance.between(-4e6, 1e6))
  const base = {
    namespace: ns.id,
    grant,
    incarnation,
    seq: previous === undefined ? 0 : previous.header.seq + 1,
    previous: previous?.hash,
    heads: [],
    clock: { wallMs: Math.floor(wallMs), counter: 0 },
    keyId: undefined,
    data: undefined,
  }
  const whom = (chance.pick(machines) as Machine).id
  const kind = chance.weighted({ delete: 3, grant: 3, revoke: 3, adopt: 1, put: 3 })
  if (kind === 'grant') {
    const role = chance.pick(['admin', 'writer', 'replica'] as const) as 'admin'
    const agent = chance.is(0.3) ? new SimulatedAgent(chance.bytes(32)).publicKey : whom
    const body = encodeAuthBody({ kind, agent, role, sealed: false })
    return signEntry(machine.agent, { ...base, kind }, { body })
  }
  const ends = ns.membership.grantsOf(whom).filter(({ hash }) => Buffer.compare(hash, ns.id) !== 0)
  if (kind === 'revoke' && ends.length > 0) {
    const hashes = ends.map(({ hash }) => hash).sort(Buffer.compare)
    const body = encodeAuthBody({ kind, agent: whom, grants: hashes, cuts: [] })
    return signEntry(machine.agent, { ...base, kind }, { body })
  }
  const target = chance.pick(ns.held.vector())
  if (kind === 'adopt' && target !== undefined) {
    const { author: agent, hash, seq } = target
    const body = encodeAuthBody({ kind, agent, grant: target.grant, incarnation: target.incarnation, seq, hash })
    return signEntry(machine.agent, { ...base, kind }, { body })
  }
  const { items } = await ns.catalog.list({ limit: 50 })
  const victim = chance.pick(items)
  const salt = victim && (await ns.held.entry(victim.entry))?.header.data?.artifactSalt
  const data = {
    artifactSalt: salt ?? chance.bytes(16),
    parents: [victim?.entry ?? chance.bytes(32)],
    gen: 0,
    root: undefined,
    versions: [],
  }
  if (kind !== 'put' || victim === undefined) return signEntry(machine.agent, { ...base, kind: 'delete', data }, {})
  const keyId = chance.bytes(16)
  const leaf = chance.bytes(40)
  const root = { ...victim.root, keyId, digest: sha256(leaf), inline: true, sizeBytes: 12, storedBytes: 40 }
  const put = { ...base, kind: 'put' as const, keyId, data: { ...data, gen: victim.number + 1, root } }
  return signEntry(machine.agent, put, { body: chance.bytes(60), leaf })
}

/** Notes what can never count: the owner has ended the chain, the forged entry is not before its cut. */
function forbid(machine: Machine, entry: Entry): void {
  const { ledger } = machine.world
  for (const { entry: said, machine: by } of ledger.told.values()) {
    if (said.auth?.kind !== 'revoke' || by.name !== 'owner') continue
    const { grant } = entry.header
    if (grant === undefined || !said.auth.grants.some((hash) => Buffer.compare(hash, grant) === 0)) continue
    ledger.forbidden.push({ entry, why: `the owner had ended its chain (${toHex(said.hash).slice(0, 8)})` })
    return
  }
}
