import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { compareDerived, deriveFromLog, keySpaces, NamespaceKeys } from './index.ts'
import type { Share } from './share-book.ts'
import { derivedTables } from './tables.ts'

/** What somebody does next; numbers choose among what there is. */
interface Step {
  readonly kind:
    | 'write'
    | 'update'
    | 'delete'
    | 'grant'
    | 'revoke'
    | 'rotate'
    | 'adopt'
    | 'pull'
    | 'copy'
    | 'heal'
    | 'skew'
    | 'share'
    | 'unshare'
  readonly who: number
  readonly whom: number
  readonly what: number
}

const roles = ['admin', 'writer', 'reader', 'replica'] as const
const agents = 5

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(
    ...(['write', 'write', 'update', 'update', 'delete', 'grant', 'grant', 'revoke', 'rotate', 'adopt'] as const),
    ...(['write', 'write', 'update', 'pull', 'pull', 'pull', 'pull', 'pull', 'copy', 'copy', 'heal', 'skew'] as const),
    ...(['share', 'share', 'unshare', 'heal'] as const),
  ),
  who: fc.nat({ max: agents + 1 }),
  whom: fc.nat({ max: agents + 1 }),
  what: fc.nat({ max: 1_000 }),
})

/** Whom artifacts are shared with besides members: never one of them. */
const stranger = 99

/** Plays steps among agents and copies of their machines; whoever may not do a thing does not. Gives all machines, and what was shared. */
async function play(steps: readonly Step[]): Promise<{ nodes: NamespaceNode[]; shares: Share[] }> {
  const time = new TestTime()
  const outsider = new NamespaceNode(stranger, time)
  const shares: Share[] = []
  const owner = await new NamespaceNode(1, time).create()
  const nodes = [owner]
  for (let at = 1; at < agents; at++) nodes.push(await new NamespaceNode(1 + at, time).join(owner))
  for (const [at, role] of (['admin', 'admin', 'writer', 'writer'] as const).entries()) {
    await owner.ns.members.grant({ agent: (nodes[at + 1] as NamespaceNode).id, role })
  }
  await owner.write('common')
  for (const node of nodes.slice(1)) await node.pull(owner)
  // A writer and an admin run from copies of one store, under one incarnation: what they write next is a fork.
  for (const at of [3, 1]) {
    const original = nodes[at] as NamespaceNode
    await original.write('before the copy')
    nodes.push(await new NamespaceNode(1 + at, time, { copyOf: original }).open(original.ns.id))
  }
  for (const { kind, who, whom, what } of steps) {
    const node = nodes[who % nodes.length] as NamespaceNode
    const other = nodes[whom % nodes.length] as NamespaceNode
    const artifacts = (await node.ns.catalog.list({ limit: 1_000 })).items.map(({ artifact }) => artifact)
    const artifact = artifacts[what % Math.max(1, artifacts.length)]
    const audience = [{ kind: 'agent' as const, id: what % 3 === 0 ? other.id : outsider.id }]
    const tips = [...node.ns.held.tips()].sort((a, b) => Buffer.compare(a.hash, b.hash))
    try {
      if (kind === 'write') await node.write(`text ${what}`)
      else if (kind === 'update' && artifact !== undefined)
        await node.update(artifact, what % 2 ? `again ${what}` : undefined)
      else if (kind === 'delete' && artifact !== undefined) await node.delete(artifact)
      else if (kind === 'grant') await node.ns.members.grant({ agent: other.id, role: roles[what % 4] as 'admin' })
      else if (kind === 'revoke') await node.ns.members.revoke({ agent: other.id })
      else if (kind === 'rotate') await node.ns.members.rotate()
      else if (kind === 'adopt') await node.ns.members.adopt({ hash: tips[what % tips.length]?.hash as Uint8Array })
      else if (kind === 'heal') await node.ns.healer.run()
      else if (kind === 'skew') time.nowMs += (what - 500) * 60_000
      else if (kind === 'share' && artifact !== undefined) {
        const terms = what % 5 === 0 ? { expiresIn: 1 + what } : { fromNow: what % 2 === 0 }
        shares.push(...(await node.ns.sharing.share({ artifact, audience, ...terms })))
      } else if (kind === 'unshare' && artifact !== undefined) await node.ns.sharing.unshare({ artifact, audience })
      else if (kind === 'pull' && node !== other) await node.pull(other)
      else if (kind === 'copy' && nodes.length < agents + 3) {
        const seed = node.agent.publicKey
        const index = nodes.findIndex(({ id }) => toHex(id) === toHex(seed))
        nodes.push(await new NamespaceNode(1 + index, time, { copyOf: node }).open(node.ns.id))
      }
    } catch (error) {
      if (!isHubError(error) || !['ACCESS_DENIED', 'NOT_FOUND', 'INVALID_ARGUMENT', 'CONFLICT'].includes(error.code))
        throw error
    }
  }
  return { nodes, shares }
}

/** Every entry that anyone has, once. */
async function allEntries(nodes: readonly NamespaceNode[]): Promise<Uint8Array[]> {
  const entries = new Map<string, Uint8Array>()
  for (const { ns } of nodes) {
    for await (const { place, bytes } of ns.held.all()) entries.set(toHex(place), bytes)
  }
  return [...entries.values()]
}

/** Hands entries over in an order that a shuffle decides, again until all that link are in. */
async function feedTo(node: NamespaceNode, entries: readonly Uint8Array[], random: () => number): Promise<void> {
  for (let stored = 1; stored > 0; ) {
    stored = 0
    const order = entries.map((bytes) => ({ bytes, rank: random() })).sort((a, b) => a.rank - b.rank)
    for (let at = 0; at < order.length; ) {
      const size = 1 + Math.floor(random() * 12)
      const got = await node.ns.receive(order.slice(at, at + size).map(({ bytes }) => bytes))
      expect(got.refused).toEqual([])
      stored += got.stored
      at += size
    }
  }
}

/** Rows of the log and of all that follows from it, as hex. */
async function rowsOf({ ns, store }: NamespaceNode): Promise<string[]> {
  const rows: string[] = []
  for (const table of ['entries', ...derivedTables] as const) {
    for await (const [key, value] of store.entries(ns.keys.all(table)))
      rows.push(`${table} ${toHex(key)}=${toHex(value)}`)
  }
  return rows
}

async function expectAsRebuilt({ ns }: NamespaceNode): Promise<void> {
  const scratch = new NamespaceKeys(ns.id, keySpaces.scratch)
  expect(await deriveFromLog(ns, scratch, {})).toEqual([])
  expect(await compareDerived(ns, scratch, ns.keys)).toEqual([])
}

function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

test('the same entries leave the same bytes in any order and grouping, for members and for strangers; what came bit by bit is what a rebuild makes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 80, size: 'max' }), fc.nat(), async (steps, seed) => {
      const { nodes, shares } = await play(steps)
      for (const node of nodes) await expectAsRebuilt(node)
      const entries = await allEntries(nodes)
      const time = new TestTime()
      const random = generator(seed)
      // As the owner, as a member that may have come and gone, and as somebody who never was one.
      const held = shares.map(({ claims: { artifact, jti } }) => ({ artifact, jti, groups: [] }))
      for (const agent of [1, 2, stranger]) {
        const [one, two] = [new NamespaceNode(agent, time), new NamespaceNode(agent, time)]
        for (const node of [one, two]) {
          await node.join(nodes[0] as NamespaceNode)
          if (node === one) await node.ns.holdCapabilities(held)
          await feedTo(node, entries, random)
          if (node === two) await node.ns.holdCapabilities(held)
          await expectAsRebuilt(node)
        }
        expect(await rowsOf(two)).toEqual(await rowsOf(one))
        expect(one.ns.totals.entries).toBe(entries.length)
        expect(toHex(two.ns.held.vectorHash)).toBe(toHex(one.ns.held.vectorHash))
        await two.open()
        expect(two.ns.membership.members).toEqual(one.ns.membership.members)
        expect(two.ns.membership.forks).toEqual(one.ns.membership.forks)
      }
    }),
    { numRuns: 20 },
  )
}, 240_000)

test('nodes that exchange what each lacks end with the same log, whatever happened before', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 80, size: 'max' }), async (steps) => {
      const { nodes } = await play(steps)
      for (let moved = 1, round = 0; moved > 0; round++) {
        expect(round).toBeLessThan(12)
        moved = 0
        for (const to of nodes) for (const from of nodes) if (to !== from) moved += (await to.pull(from)).stored
      }
      expect(new Set(nodes.map(({ ns }) => toHex(ns.held.vectorHash))).size).toBe(1)
      const [first, ...others] = nodes as [NamespaceNode, ...NamespaceNode[]]
      for (const { ns } of others) {
        expect(ns.membership.members).toEqual(first.ns.membership.members)
        expect(await ns.catalog.counts()).toEqual(await first.ns.catalog.counts())
      }
    }),
    { numRuns: 25 },
  )
}, 240_000)
