import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { equalBytes } from '../encoding/index.ts'
import { boxedKeyBytes, boxTagBytes } from '../identity/index.ts'
import { epochSettleMs, maxForcedEpochs } from '../limits.ts'
import { decodeEntry, encodeAuthBody, grantPrefix, signEntry } from '../log/index.ts'

/** An owner with a namespace, and agents that have joined it and been granted these roles. */
async function team(...roles: readonly ('admin' | 'writer' | 'reader')[]) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const others: NamespaceNode[] = []
  for (const [at, role] of roles.entries()) {
    const other = await new NamespaceNode(2 + at, time).join(owner)
    await owner.ns.members.grant({ agent: other.id, role })
    others.push(other)
  }
  await converge(owner, ...others)
  return { time, owner, others }
}

/** Hands over what `from` has itself written and `to` lacks, and nothing that others wrote. */
async function pullOwnOf(to: NamespaceNode, from: NamespaceNode): Promise<void> {
  const entries = await Array.fromAsync(from.ns.held.entriesBeyond(to.ns.held.vector()))
  await to.ns.receive(entries.filter((bytes) => equalBytes(decodeEntry(bytes).header.author, from.id)))
}

/** A `keys` entry by a writer that says to seal the epoch in force to a grant, with a box that nobody can open. */
async function writeRubbish(writer: NamespaceNode, to: Uint8Array): Promise<void> {
  const { ns, agent } = writer
  const [grant] = ns.membership.grantsOf(writer.id)
  const tip = ns.held.vector().find(({ author }) => equalBytes(author, writer.id))
  const [epoch] = ns.membership.epochs
  const keyId = epoch?.id as Uint8Array
  const draft = {
    kind: 'keys' as const,
    namespace: ns.id,
    grant: grant?.hash as Uint8Array,
    incarnation: tip?.incarnation ?? new Uint8Array(16).fill(7),
    seq: tip === undefined ? 0 : tip.seq + 1,
    previous: tip?.hash,
    heads: [],
    clock: ns.env.clock.tick(),
    keyId,
    data: undefined,
  }
  const box = { keyId, tag: new Uint8Array(boxTagBytes), box: new Uint8Array(boxedKeyBytes) }
  const keys = { wraps: [], ephemeral: new Uint8Array(32).fill(9), boxes: [box] }
  const { bytes } = signEntry(agent, draft, { keys, body: encodeAuthBody({ kind: 'keys', to: [grantPrefix(to)] }) })
  await ns.receive([bytes])
}

test('an epoch whose author knew what is missing here is given to nobody, until that comes or some time has passed', async () => {
  const { owner, others } = await team('admin', 'admin', 'admin', 'writer', 'reader')
  const [remover, informed, ruler, writer, former] = others as [
    NamespaceNode,
    NamespaceNode,
    NamespaceNode,
    NamespaceNode,
    NamespaceNode,
  ]
  await remover.ns.members.revoke({ agent: former.id })
  await informed.pull(remover)
  await informed.ns.members.rotate()
  const secret = await informed.write('not for the former member')
  for (const node of [ruler, writer]) {
    await pullOwnOf(node, informed)
    expect(node.ns.roleOf(former.id)).toBe('reader')
    expect(await node.ns.healer.run()).toBe(0)
    expect(node.ns.healer.isPutOff).toBe(true)
  }
  // Nor is it wrapped under another that it is sealed to.
  await ruler.ns.members.rotate()
  await former.pull(ruler)
  await former.pull(informed)
  expect(former.ns.keyring.size).toBeGreaterThan(1)
  expect(await former.ns.catalog.get(secret)).toBeUndefined()
  // The rest comes: everybody else reads what was written, and nothing is owed in the end.
  await converge(owner, remover, informed, ruler, writer)
  for (let written = 1; written > 0; ) {
    written = (await owner.ns.healer.run()) + (await writer.ns.healer.run())
    await converge(owner, remover, informed, ruler, writer)
  }
  for (const node of [owner, remover, ruler, writer]) expect(await node.read(secret)).toBe('not for the former member')
  expect(owner.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
  expect(writer.ns.healer.isPutOff).toBe(false)
})

test('what an epoch’s author knew and never comes is waited for a bounded time', async () => {
  const { time, owner, others } = await team('admin', 'admin')
  const [away, informed] = others as [NamespaceNode, NamespaceNode]
  await away.write('never told the owner')
  await informed.pull(away)
  await informed.ns.members.rotate()
  const late = await new NamespaceNode(20, time).join(owner)
  await owner.ns.members.grant({ agent: late.id, role: 'reader' })
  await pullOwnOf(owner, informed)
  const artifact = await informed.write('for all')
  await pullOwnOf(owner, informed)
  expect(owner.ns.membership.owed.boxes.map(({ agent }) => agent)).toEqual([late.id])
  expect(await owner.ns.healer.run()).toBe(0)
  time.nowMs += epochSettleMs / 2
  expect(await owner.ns.healer.run()).toBe(0)
  expect(owner.ns.healer.isPutOff).toBe(true)
  time.nowMs += epochSettleMs / 2
  expect(await owner.ns.healer.run()).toBe(1)
  expect(owner.ns.healer.isPutOff).toBe(false)
  await late.pull(owner)
  expect(await late.read(artifact)).toBe('for all')
})

test('a box that a writer only says to have sealed is sealed again by who decides on members', async () => {
  const { time, owner, others } = await team('admin', 'writer')
  const [admin, writer] = others as [NamespaceNode, NamespaceNode]
  const late = await new NamespaceNode(20, time).join(owner)
  // Granted under the epoch before, while another begins.
  await admin.ns.members.grant({ agent: late.id, role: 'reader' })
  await owner.ns.members.rotate()
  await converge(owner, admin, writer)
  await writeRubbish(writer, writer.ns.membership.grantsOf(late.id)[0]?.hash as Uint8Array)
  await converge(owner, admin, writer)
  expect(owner.ns.membership.owed.boxes).toEqual([])
  const artifact = await owner.write('for all')
  expect(await owner.ns.healer.run()).toBe(1)
  await converge(owner, late)
  expect(await late.read(artifact)).toBe('for all')
  expect(await owner.ns.healer.run()).toBe(0)
})

test('a writer who seals to former members over and over brings about few epochs, and nothing is written for them to read', async () => {
  const { time, owner, others } = await team('writer', 'reader', 'reader')
  const [writer, reader, former] = others as [NamespaceNode, NamespaceNode, NamespaceNode]
  const ended = owner.ns.membership.grantsOf(former.id)[0]?.hash as Uint8Array
  await owner.ns.members.revoke({ agent: former.id })
  await converge(owner, writer, reader)
  // Grants that are not there are nobody's.
  await writeRubbish(writer, new Uint8Array(32).fill(5))
  await owner.pull(writer)
  expect(owner.ns.membership.owed.rotation).toBe(false)
  const forced = async () => {
    const before = owner.ns.membership.epochs.length
    for (let times = 0; times < 10; times++) {
      await writeRubbish(writer, ended)
      await owner.pull(writer)
      expect(owner.ns.membership.owed.rotation || owner.ns.membership.epochs.length > before).toBe(true)
      await owner.ns.healer.run()
      await owner.write(`number ${times} at ${time.nowMs}`)
      await converge(owner, writer, reader)
    }
    return owner.ns.membership.epochs.length - before
  }
  expect(await forced()).toBeLessThanOrEqual(maxForcedEpochs.count)
  expect(owner.ns.membership.owed.rotation).toBe(true)
  expect(owner.ns.healer.isPutOff).toBe(true)
  expect(await reader.names()).toHaveLength(10)
  await former.pull(owner)
  expect(await former.names()).toEqual([])
  expect(await owner.ns.healer.owedKeys()).toEqual([owner.id])
  // It may be no malice, so in the end there is an epoch again, and what was sealed by name is for who comes later too.
  time.nowMs += maxForcedEpochs.duringMs + 1
  expect(await owner.ns.healer.run()).toBe(1 + 8)
  expect(await owner.ns.healer.owedKeys()).toEqual([])
  expect(owner.ns.membership.owed.rotation).toBe(false)
  await converge(owner, writer, reader)
  expect(await forced()).toBeLessThanOrEqual(maxForcedEpochs.count)
  // A removal is not put off.
  await owner.ns.members.revoke({ agent: writer.id })
  expect(owner.ns.membership.owed.rotation).toBe(false)
})
