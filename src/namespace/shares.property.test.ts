import fc from 'fast-check'
import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import {
  agentOf,
  createGroup,
  groupOf,
  hold,
  holdGroup,
  readable,
  recordGroup,
} from '../../test/support/sharing-nodes.ts'
import { artifactIdOf as artifactOf, equalBytes, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { type AgentKey, openSealed, unwrapKey } from '../identity/index.ts'
import { epochSettleMs } from '../limits.ts'
import { decodeEntry, type Entry } from '../log/index.ts'
import { Keyring } from '../sharing/index.ts'
import type { Namespace } from './namespace.ts'
import type { Share } from './share-book.ts'

const kinds = [
  ...(['share', 'share', 'share', 'unshare', 'unshare', 'update', 'update', 'update', 'write', 'heal'] as const),
  ...(['pull', 'pull', 'pull', 'pull', 'grant', 'revoke', 'rotate', 'later'] as const),
  ...(['join', 'leave', 'turn', 'record', 'record'] as const),
]
const step = fc.record({
  kind: fc.constantFrom(...kinds),
  who: fc.nat(1_000),
  whom: fc.nat(1_000),
  what: fc.nat(1_000),
})
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** A namespace with members, outsiders who see all that is written in it, and a group that outsiders come into and leave. */
interface World {
  readonly time: TestTime
  readonly members: readonly NamespaceNode[]
  readonly outsiders: readonly NamespaceNode[]
  readonly group: NamespaceNode
  /** The machines of the outsiders in the group, in the same order. */
  readonly inGroup: readonly NamespaceNode[]
  readonly shares: Share[]
  /** Lowest number of a version that was ever for an outsider, by artifact; 0 for whoever ever had a role. */
  readonly first: Map<string, number>
}

async function begin(): Promise<World> {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const make = (from: number, count: number) =>
    Promise.all(Array.from({ length: count }, (_, at) => new NamespaceNode(from + at, time).join(owner)))
  const [others, outsiders] = [await make(10, 3), await make(20, 3)]
  for (const [at, role] of (['admin', 'writer', 'writer'] as const).entries()) {
    await owner.ns.members.grant({ agent: (others[at] as NamespaceNode).id, role })
  }
  const { owner: group, members: inGroup } = await createGroup(50, time, outsiders)
  await group.ns.members.revoke({ agent: (outsiders[2] as NamespaceNode).id })
  await recordGroup(owner, group)
  await owner.write('common')
  for (const node of [...others, ...outsiders]) await node.pull(owner)
  return { time, members: [owner, ...others], outsiders, group, inGroup, shares: [], first: new Map() }
}

async function play(world: World, { kind, who, whom, what }: Step): Promise<void> {
  const { members, outsiders, group, inGroup } = world
  const node = members[who % members.length] as NamespaceNode
  const { ns } = node
  const artifacts = (await ns.catalog.list({ limit: 1_000 })).items.map(({ artifact }) => artifact)
  const artifact = artifacts[what % Math.max(1, artifacts.length)] ?? new Uint8Array(20)
  const outsider = outsiders[whom % outsiders.length] as NamespaceNode
  const other = members[whom % members.length] as NamespaceNode
  const audience = [whom % 4 === 0 ? groupOf(group) : agentOf(outsider)]
  if (kind === 'write') await node.write(`text ${what}`)
  else if (kind === 'update') await node.update(artifact, `again ${what} ${world.time.nowMs}`)
  else if (kind === 'share') {
    const terms = what % 4 === 0 ? { expiresIn: 1 + (what % 100) } : { fromNow: what % 3 === 0 }
    const shares = await ns.sharing.share({ artifact, audience, ...terms })
    world.shares.push(...shares)
    for (const { claims } of shares) {
      const after = claims.kind === 'share' ? claims.after : 0
      for (const { id } of whom % 4 === 0 ? outsiders : [outsider]) {
        const name = toHex(id) + toHex(artifact)
        world.first.set(name, Math.min(world.first.get(name) ?? Number.POSITIVE_INFINITY, after + 1))
      }
    }
  } else if (kind === 'unshare') await ns.sharing.unshare({ artifact, audience })
  else if (kind === 'heal') await ns.healer.run()
  else if (kind === 'pull' && node !== other) await node.pull(other)
  else if (kind === 'grant') {
    const role = what % 2 === 0 ? 'reader' : 'writer'
    const agent = what % 3 === 0 ? outsider.id : other.id
    await ns.members.grant({ agent, role })
    world.first.set(toHex(agent), 0)
  } else if (kind === 'revoke') await ns.members.revoke({ agent: what % 2 === 0 ? outsider.id : other.id })
  else if (kind === 'rotate') await ns.members.rotate()
  else if (kind === 'later') world.time.nowMs += what * 100
  else if (kind === 'join') await group.ns.members.grant({ agent: outsider.id, role: 'writer' })
  else if (kind === 'leave') await group.ns.members.revoke({ agent: outsider.id })
  else if (kind === 'turn') await (inGroup[whom % inGroup.length] as NamespaceNode).pull(group)
  else if (kind === 'record') await recordGroup(node, inGroup[what % inGroup.length] as NamespaceNode)
}

/** All write what is owed until nothing is, and until nobody waits any more for what may have been known elsewhere. */
async function healAll({ time, members, outsiders }: World): Promise<void> {
  for (const waited of [false, true]) {
    if (waited) time.nowMs += epochSettleMs
    for (let written = 1; written > 0; ) {
      written = 0
      for (const node of members) written += await node.ns.healer.run()
      await converge(...members, ...outsiders)
    }
  }
}

function nameOf({ claims }: Share): string {
  return toHex(claims.jti)
}

async function namesInForce(ns: Namespace, artifact: Uint8Array): Promise<string[]> {
  const known = await ns.sharing.of(artifact)
  return known.flatMap(({ share, refusal }) => (refusal === undefined ? [nameOf(share)] : [])).sort()
}

/** Ids of all keys of artifacts that anything opens that these agents' keys open, whatever it is labelled with. */
function reachableKeys(namespace: Uint8Array, entries: readonly Entry[], keys: readonly AgentKey[]): Set<string> {
  const found = new Set<string>()
  const own = keys[0] as AgentKey
  const keyring = new Keyring(namespace, own)
  for (const { header, keys: section, auth } of entries) {
    if (auth !== undefined && section !== undefined && header.keyId !== undefined)
      keyring.admit(header.keyId, section, true)
  }
  for (const { header, keys: section } of entries) {
    if (header.data === undefined || section === undefined) continue
    const subject = artifactOf(namespace, header.data.artifactSalt)
    for (const { keyId, under, box } of section.wraps) {
      const epoch = keyring.epoch(under)
      const context = { kind: 'artifact' as const, namespace, subject, keyId }
      if (epoch !== undefined && unwrapKey(box, epoch.wrapping, context) !== undefined) found.add(toHex(keyId))
    }
    for (const box of section.boxes) {
      const context = { kind: 'artifact' as const, namespace, subject, keyId: box.keyId }
      const opens = keys.some((key) => openSealed(section.ephemeral as Uint8Array, [box], key, context) !== undefined)
      if (opens) found.add(toHex(box.keyId))
    }
  }
  return found
}

test('whatever happened apart: once all know of it, the next version opens for everyone who should read it and for no one else', async () => {
  const tally = { allowed: 0, denied: 0, late: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 25, maxLength: 60, size: 'max' }), async (steps) => {
      const world = await begin()
      for (const one of steps) {
        try {
          await play(world, one)
        } catch (error) {
          const expected = ['ACCESS_DENIED', 'NOT_FOUND', 'INVALID_ARGUMENT', 'CONFLICT', 'UNAVAILABLE']
          if (!isHubError(error) || !expected.includes(error.code)) throw error
        }
      }
      const { members, outsiders, group, inGroup, shares, first } = world
      const [owner] = members as [NamespaceNode]
      const all = [...members, ...outsiders]
      await converge(group, ...inGroup)
      await recordGroup(owner, group)
      await converge(...all)
      await healAll(world)
      // Whoever may write does, each an artifact in turn: all of them know all.
      const writers = members.filter(({ id }) => ['owner', 'admin', 'writer'].includes(owner.ns.roleOf(id) ?? ''))
      const { items } = await owner.ns.catalog.list({ limit: 1_000 })
      for (const [at, { artifact }] of items.entries()) {
        await (writers[at % writers.length] as NamespaceNode).update(artifact, `last of ${at}`)
      }
      await converge(...all)
      for (const node of writers) expect([await node.ns.healer.run(), await node.ns.healer.owedKeys()]).toEqual([0, []])

      const entries = (await Array.fromAsync(owner.ns.held.all())).map(({ bytes }) => decodeEntry(bytes))
      for (const [at, { artifact }] of items.entries()) {
        const newest = (await owner.ns.catalog.get(artifact)) ?? expect.fail('it is there')
        const inForce = shares.filter(
          (share) => equalBytes(share.claims.artifact, artifact) && owner.ns.sharing.isInForce(share),
        )
        // Whoever may write sees all of them, under whatever key they were given.
        const given = [...new Set(inForce.map(nameOf))].sort()
        for (const { ns } of writers) expect(await namesInForce(ns, artifact)).toEqual(given)
        for (const node of members) {
          const isReader = owner.ns.roleOf(node.id) !== undefined
          if (isReader) expect(await node.read(artifact)).toBe(`last of ${at}`)
        }
        for (const [of, outsider] of outsiders.entries()) {
          const isIn = group.ns.roleOf(outsider.id) !== undefined
          // From now on goes by numbers: where versions count no more that there were, the next ones have numbers from before.
          const isShared = inForce.some(
            ({ claims }) =>
              (claims.kind !== 'share' || claims.after < newest.number) &&
              claims.audience.some(({ kind, id }) => (kind === 'agent' ? equalBytes(id, outsider.id) : isIn)),
          )
          const isMember = owner.ns.roleOf(outsider.id) !== undefined
          const machine = inGroup[of] as NamespaceNode
          await hold(outsider, shares)
          await holdGroup(outsider, machine)
          const groupKeys = machine.ns.membership.epochs.flatMap(({ id }) => machine.ns.keyring.groupKey(id) ?? [])
          const keys = reachableKeys(owner.ns.id, entries, [outsider.agent, ...groupKeys])
          if (isShared || isMember) {
            tally.allowed++
            expect(await outsider.read(artifact)).toBe(`last of ${at}`)
          } else {
            tally.denied++
            const body = entries.find(({ hash }) => equalBytes(hash, newest.entry))?.header.keyId
            expect(keys.has(toHex(newest.root.keyId))).toBe(false)
            expect(keys.has(toHex(body ?? expect.fail('it has a body')))).toBe(false)
          }
          // Who was only ever to have what came later has nothing of what was before.
          const from = Math.min(
            ...[toHex(outsider.id), toHex(outsider.id) + toHex(artifact)].map(
              (name) => first.get(name) ?? Number.POSITIVE_INFINITY,
            ),
          )
          for (const number of Object.keys(await readable(outsider, artifact)).map(Number)) {
            if (from > 1) tally.late++
            expect(number).toBeGreaterThanOrEqual(from)
          }
        }
      }
    }),
    { numRuns: 25, endOnFailure: true },
  )
  // Of each there were some, or this showed nothing.
  expect(Math.min(tally.allowed, tally.denied, tally.late)).toBeGreaterThan(0)
}, 240_000)
