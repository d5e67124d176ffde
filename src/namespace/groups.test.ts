import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { forge, groupOf, recordGroup } from '../../test/support/sharing-nodes.ts'
import { isGroupMemberProof, proveGroupMember } from '../capability/index.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { AgentKey, openSealed, Sealer } from '../identity/index.ts'
import { maxCuts, maxDescriptorsRecorded, maxForcedEpochs } from '../limits.ts'
import { decodeEntry, encodeAuthBody, encodeEntry, grantPrefix, signEntry } from '../log/index.ts'
import { type GroupDescriptor, newestDescriptor, type ProofFacts, readProof } from '../membership/index.ts'
import { groupKeyOf } from '../sharing/index.ts'
import type { ShownDescriptor } from './group-descriptor.ts'

const agents = (count: number): Uint8Array[] =>
  Array.from({ length: count }, (_, at) => new AgentKey(Buffer.alloc(32, `agent ${at} of many `)).publicKey)

/** An owner with a group, and agents who are in it with these roles. */
async function group(...roles: readonly ('admin' | 'writer')[]) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create({ isGroup: true })
  const others: NamespaceNode[] = []
  for (const [at, role] of roles.entries()) {
    const other = await new NamespaceNode(2 + at, time).join(owner)
    await owner.ns.members.grant({ agent: other.id, role })
    others.push(other)
  }
  await converge(owner, ...others)
  return { time, owner, others: others as [NamespaceNode, NamespaceNode, NamespaceNode] }
}

async function shown({ ns }: NamespaceNode): Promise<ShownDescriptor> {
  return (await ns.descriptors.own()) ?? expect.fail('there is no descriptor')
}

async function facts(node: NamespaceNode): Promise<ProofFacts> {
  const { group: id, proof } = await shown(node)
  return readProof(id, proof)
}

/** Without its keys, as proofs hold it. */
function publicOf(bytes: Uint8Array): Uint8Array {
  return encodeEntry({ ...decodeEntry(bytes), keysBytes: undefined })
}

/** The next entry of an admin: a rotate with that number, for nobody else. */
function rotateBy(admin: NamespaceNode, number: number, publicKey?: Uint8Array): Uint8Array {
  const { ns, env, id } = admin
  const secret = env.random(32)
  const grant = ns.membership.grantsOf(id)[0]?.hash ?? expect.fail('it has a grant')
  const key = publicKey ?? groupKeyOf(ns.id, secret).publicKey
  const body = encodeAuthBody({ kind: 'rotate', to: [grantPrefix(grant)], publicKey: key, number })
  const epoch = ns.keyring.admitEpoch(secret)
  const keys = ns.keyring.sealEpoch(epoch, [id], env.random(32))
  return forge(admin, { kind: 'rotate', keyId: epoch.id, data: undefined }, () => ({ keys, body }))
}

function epochOf({ ns }: NamespaceNode): GroupDescriptor {
  return ns.membership.groups.epoch ?? expect.fail('there is no epoch')
}

describe('a group', () => {
  test('is known outside by its epoch, and the proof names admins and no other member', async () => {
    const { owner, others } = await group('admin', 'writer')
    const [admin, member] = others
    await admin.ns.members.rotate()
    await converge(owner, admin, member)
    const { group: id, proof } = await shown(member)
    const descriptor = newestDescriptor([readProof(id, proof)])
    expect(descriptor).toEqual(epochOf(owner))
    expect(descriptor?.number).toBe(2)
    const bytes = proof.map(toHex).join()
    expect(bytes).toContain(toHex(admin.id))
    expect(bytes).not.toContain(toHex(member.id))
    // What is sealed to the epoch every member opens, and nobody else.
    const context = { kind: 'artifact' as const, namespace: id, subject: new Uint8Array(20), keyId: new Uint8Array(16) }
    const sealer = new Sealer(new Uint8Array(32).fill(3))
    const secret = new Uint8Array(32).fill(4)
    const box = sealer.seal(secret, descriptor?.publicKey as Uint8Array, context)
    for (const { ns } of [owner, admin, member]) {
      const key = ns.keyring.groupKey(descriptor?.epoch as Uint8Array) ?? expect.fail('a member has the key')
      expect(openSealed(sealer.ephemeral, [box], key, context)).toEqual(secret)
    }
    expect(openSealed(sealer.ephemeral, [box], member.agent, context)).toBeUndefined()
  })

  test('takes many agents in at once, in one batch, with 128 boxes to an entry', async () => {
    const { owner, others } = await group('writer')
    const [member] = others
    const before = owner.ns.totals.entries
    await owner.ns.members.grantAll({ agents: [...agents(298), member.id, member.id], role: 'writer' })
    expect(owner.ns.membership.members).toHaveLength(300)
    expect(owner.ns.totals.entries - before).toBe(298 + 3)
    expect(owner.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
    // And again, nothing.
    await owner.ns.members.grantAll({ agents: agents(298), role: 'writer' })
    expect(owner.ns.totals.entries - before).toBe(298 + 3)

    const late = await new NamespaceNode(77, new TestTime(), {
      agent: new AgentKey(Buffer.alloc(32, 'agent 5 of many ')),
    }).join(owner)
    await owner.ns.members.revokeAll({ agents: agents(2) })
    await converge(owner, late)
    expect(owner.ns.membership.members).toHaveLength(298)
    const { epoch, number, publicKey } = epochOf(owner)
    expect(number).toBe(2)
    expect(late.ns.keyring.groupKey(epoch)?.publicKey).toEqual(publicKey)
    const rotate = await owner.ns.held.entry(epochOf(owner).rotate)
    expect(rotate?.keys?.boxes).toHaveLength(128)
  })

  test('refuses to remove whom it does not have, and then removes nobody', async () => {
    const { owner, others } = await group('writer')
    const [member] = others
    const [stranger] = agents(1) as [Uint8Array]
    await expect(owner.ns.members.revokeAll({ agents: [member.id, stranger] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    expect(owner.ns.roleOf(member.id)).toBe('writer')
    await expect(member.ns.members.revokeAll({ agents: [owner.id] })).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(member.ns.members.grantAll({ agents: [stranger], role: 'writer' })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
    })
  })

  test('lets who joins later, or comes back after many epochs, open what was sealed to earlier ones', async () => {
    const { time, owner, others } = await group('writer')
    const [away] = others
    const first = epochOf(owner)
    for (let round = 0; round < 12; round++) {
      time.nowMs += 30 * 24 * 3_600_000
      await owner.ns.members.grant({ agent: agents(12)[round] as Uint8Array, role: 'writer' })
      await owner.ns.members.revoke({ agent: agents(12)[round] as Uint8Array })
    }
    const late = await new NamespaceNode(50, time).join(owner)
    await owner.ns.members.grant({ agent: late.id, role: 'writer' })
    await converge(owner, late, away)
    expect(epochOf(late).number).toBe(13)
    for (const { ns } of [late, away]) {
      expect(ns.keyring.groupKey(first.epoch)?.publicKey).toEqual(first.publicKey)
      expect(ns.keyring.groupKey(epochOf(owner).epoch)?.publicKey).toEqual(epochOf(owner).publicKey)
    }
  })

  test('has an epoch that nobody removed has, after two admins removed somebody each at once', async () => {
    const { owner, others } = await group('admin', 'admin', 'writer')
    const [ann, bob, kept] = others
    const [one, two] = agents(2) as [Uint8Array, Uint8Array]
    await owner.ns.members.grantAll({ agents: [one, two], role: 'writer' })
    await converge(owner, ann, bob, kept)
    await ann.ns.members.revoke({ agent: one })
    await bob.ns.members.revoke({ agent: two })
    await converge(owner, ann, bob, kept)
    const nodes = [owner, ann, bob, kept]
    for (const { ns } of nodes) expect(ns.membership.owed.rotation).toBe(true)
    expect(await kept.ns.healer.run()).toBe(0)
    await ann.ns.healer.run()
    await converge(...nodes)
    for (const node of nodes) {
      expect(node.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
      expect(epochOf(node)).toEqual(epochOf(owner))
      expect(epochOf(node).number).toBe(3)
      expect(node.ns.keyring.groupKey(epochOf(owner).epoch)?.publicKey).toEqual(epochOf(owner).publicKey)
    }
  })

  test('is owed another epoch where the one that others see was begun by who had not heard of a removal', async () => {
    const { owner, others } = await group('admin', 'writer')
    const [admin, member] = others
    await owner.ns.members.revoke({ agent: member.id })
    // Later by its clock, so outside it wins.
    await admin.ns.members.rotate()
    await converge(owner, admin)
    expect(owner.ns.membership.isGoodEpoch(epochOf(owner).epoch)).toBe(false)
    expect(owner.ns.membership.owed.rotation).toBe(true)
    await owner.ns.healer.run()
    await converge(owner, admin, member)
    expect(owner.ns.membership.owed.rotation).toBe(false)
    expect(member.ns.keyring.groupKey(epochOf(owner).epoch)).toBeUndefined()
    expect(newestDescriptor([await facts(owner)])).toEqual(epochOf(owner))
  })
})

describe('an admin who runs twice under one incarnation', () => {
  /** Both machines of an admin begin an epoch, the second one later, while the owner removes a member; then all but the member hear of all of it. */
  async function forked() {
    const { time, owner, others } = await group('admin', 'writer')
    const [admin, member] = others
    // Who forks is no writer, whose doings may bring about so many epochs and no more.
    for (let at = 0; at < maxForcedEpochs.count; at++) await admin.ns.members.rotate()
    await converge(owner, admin, member)
    const copy = await new NamespaceNode(2, time, { copyOf: admin }).open(owner.ns.id)
    const sharer = await new NamespaceNode(60, time).create()
    await owner.ns.members.revoke({ agent: member.id })
    for (const one of [admin, copy]) await one.ns.members.rotate()
    await member.pull(copy)
    expect(await sharer.ns.descriptors.record(await shown(copy))).toBe(true)
    await converge(owner, admin, copy)
    return { time, owner, admin, copy, member, sharer }
  }

  test('leaves nobody outside with an epoch that does not count in the group: another one begins above it', async () => {
    const { owner, admin, copy, member, sharer } = await forked()
    const id = owner.ns.id
    const nodes = [owner, admin, copy]
    const rival = sharer.ns.descriptors.newest(id) ?? expect.fail('it was told of one')
    // Who was removed can open it, and outside nothing tells that it does not count.
    expect(member.ns.keyring.groupKey(rival.epoch)?.publicKey).toEqual(rival.publicKey)
    expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(false)
    for (const { ns } of nodes) {
      expect(ns.membership.forks).toHaveLength(1)
      expect(ns.membership.groups.epoch?.rotate).not.toEqual(rival.rotate)
      expect(ns.membership.owed.rotation).toBe(true)
    }
    await owner.ns.healer.run()
    await converge(...nodes)
    for (const { ns } of nodes) expect(ns.membership.owed.rotation).toBe(false)
    expect(epochOf(owner).number).toBe(rival.number + 1)
    expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(true)
    expect(sharer.ns.descriptors.newest(id)).toEqual(epochOf(owner))
    await member.pull(owner)
    expect(member.ns.keyring.groupKey(epochOf(owner).epoch)).toBeUndefined()
  })

  test('is outdone by its own machines too, once, however often each looks', async () => {
    const { owner, admin, copy, sharer } = await forked()
    const before = sharer.ns.descriptors.newest(owner.ns.id)?.number ?? 0
    for (let round = 0; round < 3; round++) {
      for (const { ns } of [admin, copy]) await ns.healer.run()
      await converge(owner, admin, copy)
    }
    for (const node of [owner, admin, copy]) {
      expect(node.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
      expect(epochOf(node)).toEqual(epochOf(owner))
    }
    expect(epochOf(owner).number).toBe(before + 1)
  })

  /** An owner who holds two branches of its admin's chain, each with a rotate of that number. */
  async function branched(number: number) {
    const { owner, others } = await group('admin')
    const [admin] = others
    const branches = [rotateBy(admin, number), rotateBy(admin, number)]
    expect(await owner.ns.receive(branches)).toMatchObject({ stored: 2 })
    expect(owner.ns.membership.forks).toHaveLength(1)
    expect(epochOf(owner).number).toBe(1)
    return { owner, admin, branches }
  }

  test('is outdone whatever number it gave', async () => {
    const { owner, admin, branches } = await branched(1_000)
    const grant = owner.ns.membership.grantsOf(admin.id)[0]?.hash ?? expect.fail('it is one')
    const bytes = await Promise.all([owner.ns.id, grant].map((hash) => owner.ns.held.bytes(hash)))
    const before = bytes.map((one) => publicOf(one ?? expect.fail('it is held')))
    const told = branches.map((rotate) => readProof(owner.ns.id, [...before, publicOf(rotate)]))
    expect(newestDescriptor([...told, await facts(owner)])?.number).toBe(1_000)
    await owner.ns.healer.run()
    expect(epochOf(owner).number).toBe(1_001)
    expect(newestDescriptor([...told, await facts(owner)])).toEqual(epochOf(owner))
    expect(await owner.ns.healer.run()).toBe(0)
  })

  test('is not outdone where no number is higher, nor once its role has ended', async () => {
    for (const number of [Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]) {
      const { owner } = await branched(number)
      for (let at = 0; at < 5; at++) expect(await owner.ns.healer.run()).toBe(0)
    }
    const { owner, admin } = await branched(1_000)
    await owner.ns.members.revoke({ agent: admin.id })
    expect(epochOf(owner).number).toBe(2)
    expect(await owner.ns.healer.run()).toBe(0)
  })
})

describe('a removed admin', () => {
  /** Rotates that it signs after it was removed: at the end of its chain, behind its cut, and on a chain begun for that. */
  function forged({ agent, ns, env }: NamespaceNode, number: number): Uint8Array[] {
    const tip = [...ns.held.tips()].find(({ author }) => equalBytes(author, agent.publicKey)) ?? expect.fail('it wrote')
    const secret = env.random(32)
    const body = encodeAuthBody({
      kind: 'rotate',
      to: [grantPrefix(tip.grant)],
      publicKey: groupKeyOf(ns.id, secret).publicKey,
      number,
    })
    const epoch = ns.keyring.admitEpoch(secret)
    const keys = ns.keyring.sealEpoch(epoch, [agent.publicKey], env.random(32))
    const places = [
      { incarnation: tip.incarnation, seq: tip.seq + 1, previous: tip.hash },
      { incarnation: tip.incarnation, seq: 0, previous: undefined },
      { incarnation: env.random(16), seq: 0, previous: undefined },
    ]
    return places.map((place) => {
      const common = { namespace: ns.id, grant: tip.grant, heads: [], clock: env.clock.tick(), data: undefined }
      const header = { kind: 'rotate' as const, keyId: epoch.id, ...common, ...place }
      return encodeEntry({ ...signEntry(agent, header, { keys, body }).entry, keysBytes: undefined })
    })
  }

  test('proves no epoch to who knows of the removal, whatever it signs and leaves out', async () => {
    const { owner, others } = await group('admin')
    const [admin] = others
    await admin.ns.members.rotate()
    await converge(owner, admin)
    const before = await shown(admin)
    const grant = before.proof[1] as Uint8Array
    await owner.ns.members.revoke({ agent: admin.id })
    const after = await facts(owner)
    const genesis = before.proof[0] as Uint8Array
    for (const rotate of forged(admin, 1_000)) {
      const forgery = readProof(before.group, [genesis, grant, rotate])
      // Alone it looks well: who holds nothing newer cannot know.
      expect(newestDescriptor([forgery])?.number).toBe(1_000)
      expect(newestDescriptor([forgery, after])).toEqual(epochOf(owner))
      expect(newestDescriptor([after, readProof(before.group, before.proof), forgery])).toEqual(epochOf(owner))
    }
  })

  test('does not bring a namespace back to an epoch from before', async () => {
    const { time, owner, others } = await group('admin')
    const [admin] = others
    const sharer = await new NamespaceNode(60, time).create()
    const reader = await new NamespaceNode(61, time).join(sharer)
    await sharer.ns.members.grant({ agent: reader.id, role: 'reader' })
    await admin.ns.members.rotate()
    await converge(owner, admin)
    const before = await shown(admin)
    expect(await sharer.ns.descriptors.record(before)).toBe(true)
    expect(await sharer.ns.descriptors.record(before)).toBe(false)
    await owner.ns.members.revoke({ agent: admin.id })
    await converge(sharer, reader)
    const { id } = owner.ns
    // Who may write nothing is told, and goes by it at once.
    expect(await reader.ns.descriptors.record(await shown(owner))).toBe(true)
    expect(reader.ns.descriptors.newest(id)).toEqual(epochOf(owner))
    expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(true)
    const entries = sharer.ns.totals.entries
    const [genesis, grant] = before.proof as [Uint8Array, Uint8Array]
    for (const rotate of forged(admin, 1_000)) {
      expect(await sharer.ns.descriptors.record({ group: id, proof: [genesis, grant, rotate] })).toBe(false)
    }
    expect(await sharer.ns.descriptors.record(before)).toBe(false)
    expect(sharer.ns.totals.entries).toBe(entries)
    await reader.open()
    await converge(sharer, reader)
    for (const { ns } of [sharer, reader]) expect(ns.descriptors.newest(id)).toEqual(epochOf(owner))
  })
})

describe('an admin who told of an epoch of their own before anybody heard of their removal', () => {
  test('loses it as soon as the removal is told, whatever number it has', async () => {
    const { time, owner, others } = await group('admin')
    const [admin] = others
    const sharer = await new NamespaceNode(60, time).create()
    const reader = await new NamespaceNode(61, time).join(sharer)
    await sharer.ns.members.grant({ agent: reader.id, role: 'reader' })
    const before = await shown(owner)
    const { id } = owner.ns
    expect(await sharer.ns.descriptors.record(before)).toBe(true)
    await converge(sharer, reader)
    const grant = admin.ns.membership.grantsOf(admin.id)[0]?.hash ?? expect.fail('it is one')
    const [genesis] = before.proof as [Uint8Array]
    const admins = publicOf((await admin.ns.held.bytes(grant)) ?? expect.fail('its node has it'))
    const rotate = publicOf(rotateBy(admin, Number.MAX_SAFE_INTEGER))
    await owner.ns.members.revoke({ agent: admin.id })
    const forged = { group: id, proof: [genesis, admins, rotate] }
    for (const { ns } of [sharer, reader]) {
      expect(await ns.descriptors.record(forged)).toBe(true)
      expect(ns.descriptors.newest(id)?.number).toBe(Number.MAX_SAFE_INTEGER)
      expect(await ns.descriptors.record(await shown(owner))).toBe(true)
      expect(ns.descriptors.newest(id)).toEqual(epochOf(owner))
      // Told again, it is nothing.
      expect(await ns.descriptors.record(forged)).toBe(false)
      expect(ns.descriptors.newest(id)).toEqual(epochOf(owner))
    }
    await sharer.open()
    expect(sharer.ns.descriptors.newest(id)).toEqual(epochOf(owner))
  })
})

describe('the removal of admins', () => {
  /** What an admin who was removed can show of an epoch of its own. */
  async function claimOf(admin: NamespaceNode, grant: Uint8Array): Promise<ShownDescriptor> {
    const bytes = async (hash: Uint8Array) => publicOf((await admin.ns.held.bytes(hash)) ?? expect.fail('it is held'))
    const proof = [await bytes(admin.ns.id), await bytes(grant), publicOf(rotateBy(admin, 1_000_000))]
    return { group: admin.ns.id, proof }
  }
  const grantOf = ({ ns, id }: NamespaceNode) => ns.membership.grantsOf(id)[0]?.hash ?? expect.fail('it is one')

  test('is told of all of them, however many chains each of them began', async () => {
    const { time, owner, others: admins } = await group('admin', 'admin', 'admin')
    for (const { agent, ns, env, id } of admins) {
      const grant = ns.membership.grantsOf(id)[0]?.hash ?? expect.fail('it is one')
      const entries = Array.from({ length: maxCuts + 10 }, () => {
        const place = { namespace: ns.id, grant, incarnation: env.random(16), seq: 0, previous: undefined, heads: [] }
        const body = encodeAuthBody({ kind: 'revoke-capability', jtis: [env.random(16)] })
        const more = { kind: 'revoke-capability' as const, clock: env.clock.tick(), keyId: undefined, data: undefined }
        return signEntry(agent, { ...place, ...more }, { body }).bytes
      })
      expect((await owner.ns.receive(entries)).stored).toBe(entries.length)
    }
    const claims = await Promise.all(admins.map((admin) => claimOf(admin, grantOf(admin))))
    for (const { id } of admins) await owner.ns.members.revoke({ agent: id })
    const sharer = await new NamespaceNode(60, time).create()
    expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(true)
    for (const claim of claims) expect(await sharer.ns.descriptors.record(claim)).toBe(false)
    expect(sharer.ns.descriptors.newest(owner.ns.id)).toEqual(epochOf(owner))
  })

  test('is news though it comes with an epoch that is known', async () => {
    const { time, owner, others } = await group('admin')
    const [other] = others
    const admin = await new NamespaceNode(40, time).join(owner)
    await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
    await converge(owner, admin)
    const claim = await claimOf(admin, grantOf(admin))
    await owner.ns.members.revoke({ agent: admin.id })
    // Of who never heard that it was one.
    for (let round = 0; round < 2; round++) await other.ns.members.rotate()
    const sharer = await new NamespaceNode(60, time).create()
    const reader = await new NamespaceNode(61, time).join(sharer)
    await sharer.ns.members.grant({ agent: reader.id, role: 'reader' })
    expect(await sharer.ns.descriptors.record(await shown(other))).toBe(true)
    await converge(sharer, reader)
    await converge(owner, other)
    expect(epochOf(owner)).toEqual(epochOf(other))
    for (const { ns } of [sharer, reader]) {
      expect(ns.descriptors.newest(owner.ns.id)).toEqual(epochOf(owner))
      expect(await ns.descriptors.record(await shown(owner))).toBe(true)
      expect(await ns.descriptors.record(await shown(owner))).toBe(false)
      expect(await ns.descriptors.record(claim)).toBe(false)
      expect(ns.descriptors.newest(owner.ns.id)).toEqual(epochOf(owner))
    }
  })
})

test('what only somebody recorded who had been removed by then is recorded again, for those who do not have it', async () => {
  const { time, owner } = await group('writer')
  const sharer = await new NamespaceNode(60, time).create()
  const [former, writer] = [
    await new NamespaceNode(61, time).join(sharer),
    await new NamespaceNode(62, time).join(sharer),
  ]
  for (const { id } of [former, writer]) await sharer.ns.members.grant({ agent: id, role: 'writer' })
  await recordGroup(sharer, owner)
  await converge(sharer, former, writer)
  await sharer.ns.members.revoke({ agent: former.id })
  await owner.ns.members.rotate()
  await recordGroup(former, owner)
  const [entry] = (await Array.fromAsync(former.ns.held.all(), ({ bytes }) => bytes)).filter(
    (bytes) =>
      decodeEntry(bytes).header.kind === 'descriptor' && equalBytes(decodeEntry(bytes).header.author, former.id),
  )
  expect(await sharer.ns.receive([entry ?? expect.fail('it wrote it')])).toMatchObject({ stored: 1 })
  expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(true)
  expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(false)
  await writer.pull(sharer)
  for (const { ns } of [sharer, writer]) expect(ns.descriptors.newest(owner.ns.id)).toEqual(epochOf(owner))
})

describe('a group whose epochs changed more often than is written down', () => {
  test('has nothing sealed to one that whoever writes knows to be over', async () => {
    const { time, owner, others } = await group('writer', 'writer')
    const [member, other] = others
    const sharer = await new NamespaceNode(60, time).create()
    const writer = await new NamespaceNode(61, time).join(sharer)
    await sharer.ns.members.grant({ agent: writer.id, role: 'writer' })
    await converge(sharer, writer)
    const audience = [groupOf(owner)]
    await recordGroup(sharer, owner)
    const [artifact, later] = [await sharer.write('one'), await sharer.write('two')]
    await sharer.ns.sharing.share({ artifact, audience })
    for (let round = 0; round < 2 * maxDescriptorsRecorded.count; round++) {
      await owner.ns.members.rotate()
      await recordGroup(sharer, owner)
    }
    await converge(owner, member, other)
    await owner.ns.members.revoke({ agent: member.id })
    await recordGroup(sharer, owner)
    const before = sharer.ns.totals.entries
    await sharer.update(artifact, 'one again')
    await sharer.ns.sharing.share({ artifact: later, audience })
    // The version, the share, and once the epoch that both go by.
    expect(sharer.ns.totals.entries - before).toBe(3)
    await converge(sharer, writer)
    for (const node of [sharer, writer]) expect(await node.ns.healer.run()).toBe(0)
    for (const id of [artifact, later]) {
      const entries = await Array.fromAsync(sharer.ns.held.all(), ({ bytes }) => decodeEntry(bytes))
      const root = (await sharer.ns.catalog.get(id))?.root.keyId ?? expect.fail('it is there')
      const boxes = entries.flatMap(({ keys }) => keys?.boxes.filter(({ keyId }) => equalBytes(keyId, root)) ?? [])
      expect(boxes.map(({ label }) => toHex(label?.epoch ?? new Uint8Array(0)))).toEqual([toHex(epochOf(owner).epoch)])
    }
    expect(writer.ns.descriptors.newest(owner.ns.id)).toEqual(epochOf(owner))
  })

  test('has what others wrote given to it by who knows of the last, once that is written down', async () => {
    const { time, owner, others } = await group('writer', 'writer')
    const [member] = others
    const sharer = await new NamespaceNode(60, time).create()
    const writer = await new NamespaceNode(61, time).join(sharer)
    await sharer.ns.members.grant({ agent: writer.id, role: 'writer' })
    await recordGroup(sharer, owner)
    const artifact = await sharer.write('one')
    await converge(sharer, writer)
    await sharer.ns.sharing.share({ artifact, audience: [groupOf(owner)] })
    for (let round = 0; round < 2 * maxDescriptorsRecorded.count; round++) {
      await owner.ns.members.rotate()
      await recordGroup(sharer, owner)
    }
    await converge(owner, member)
    await owner.ns.members.revoke({ agent: member.id })
    await recordGroup(sharer, owner)
    await converge(sharer, writer)
    // Its author has not heard of the share that follows.
    await writer.update(artifact, 'two')
    await sharer.ns.sharing.unshare({ artifact, audience: [groupOf(owner)] })
    await sharer.update(artifact, 'two beside')
    await sharer.ns.sharing.share({ artifact, audience: [groupOf(owner)] })
    await owner.ns.members.rotate()
    await recordGroup(sharer, owner)
    await converge(sharer, writer)
    expect(await sharer.ns.healer.run()).toBe(0)
    expect(sharer.ns.healer.isPutOff).toBe(true)
    time.nowMs += maxDescriptorsRecorded.duringMs
    await recordGroup(sharer, owner)
    expect(await sharer.ns.healer.run()).toBeGreaterThan(0)
    expect(sharer.ns.healer.isPutOff).toBe(false)
  })
})

describe('an admin who begins epochs without end', () => {
  test('fills no namespace: it goes by them and writes some down, and every removal', async () => {
    const { time, owner, others } = await group('admin', 'admin')
    const [admin, other] = others
    const sharer = await new NamespaceNode(60, time).create()
    const { id } = owner.ns
    await sharer.ns.descriptors.record(await shown(owner))
    const before = sharer.ns.totals.entries
    for (let round = 0; round < 3 * maxDescriptorsRecorded.count; round++) {
      await admin.ns.members.rotate()
      expect(await sharer.ns.descriptors.record(await shown(admin))).toBe(true)
      expect(sharer.ns.descriptors.newest(id)).toEqual(epochOf(admin))
    }
    expect(sharer.ns.totals.entries - before).toBeLessThanOrEqual(maxDescriptorsRecorded.count)
    await converge(owner, admin, other)
    const flooded = sharer.ns.totals.entries
    await owner.ns.members.revoke({ agent: admin.id })
    expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(true)
    expect(sharer.ns.totals.entries - flooded).toBe(1)
    // Later there is room again.
    await other.pull(owner)
    await other.ns.members.rotate()
    expect(await sharer.ns.descriptors.record(await shown(other))).toBe(true)
    expect(sharer.ns.totals.entries - flooded).toBe(1)
    time.nowMs += maxDescriptorsRecorded.duringMs
    expect(await sharer.ns.descriptors.record(await shown(other))).toBe(true)
    expect(sharer.ns.totals.entries - flooded).toBe(2)
    await sharer.open()
    expect(sharer.ns.descriptors.newest(id)).toEqual(epochOf(other))
  })
})

describe('a key of a group that is no key', () => {
  test.each([
    ['no field element', new Uint8Array(32).fill(0xff)],
    ['of small order', new Uint8Array(32)],
  ])('begins no epoch: %s', async (_, publicKey) => {
    const { time, owner, others } = await group('admin')
    const [admin] = others
    await admin.ns.members.rotate()
    await converge(owner, admin)
    const before = epochOf(owner)
    const { group: id, proof } = await shown(owner)
    const [genesis, grant] = proof as [Uint8Array, Uint8Array]
    const rotate = rotateBy(admin, 1_000, publicKey)
    const sharer = await new NamespaceNode(60, time).create()
    const telling = sharer.ns.descriptors.record({ group: id, proof: [genesis, grant, publicOf(rotate)] })
    await expect(telling).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(await owner.ns.receive([rotate])).toMatchObject({ stored: 1 })
    expect(epochOf(owner)).toEqual(before)
    expect(await sharer.ns.descriptors.record(await shown(owner))).toBe(true)
  })
})

describe('the proof of a descriptor', () => {
  test('is refused when it is of another log, of no group, out of form or signed by the wrong one', async () => {
    const { time, owner, others } = await group('admin')
    const [admin] = others
    await admin.ns.members.rotate()
    await converge(owner, admin)
    const { group: id, proof } = await shown(owner)
    const [genesis, grant, rotate] = proof as [Uint8Array, Uint8Array, Uint8Array]
    const other = await new NamespaceNode(9, time).create({ isGroup: true })
    const [otherGenesis, otherRotate] = (await shown(other)).proof as [Uint8Array, Uint8Array]
    const plain = await new NamespaceNode(10, time).create()
    const plainGenesis = (await plain.ns.held.bytes(plain.ns.id)) as Uint8Array
    const entry = decodeEntry(rotate, { partial: true })
    const unsigned = encodeEntry({ ...entry, signature: new Uint8Array(64) })
    const mute = encodeEntry({ ...entry, body: undefined })
    const refused = expect.objectContaining({ code: 'CORRUPT' })
    for (const bad of [
      [],
      [rotate],
      [grant, genesis, rotate],
      [otherGenesis, otherRotate],
      [genesis, otherRotate],
      [genesis, genesis, rotate],
      [genesis, unsigned],
      [genesis, mute],
      [genesis, rotate.subarray(1)],
      [genesis, new Uint8Array(10)],
    ]) {
      expect(() => readProof(id, bad)).toThrow(refused)
    }
    expect(() => readProof(plain.ns.id, [plainGenesis])).toThrow(refused)
    expect(() =>
      readProof(
        id,
        Array.from({ length: 257 }, () => genesis),
      ),
    ).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
    // Well formed, and yet nothing follows from it.
    for (const empty of [[genesis], [genesis, grant], [genesis, rotate]]) {
      expect(newestDescriptor([readProof(id, empty)])).toBeUndefined()
      await expect(plain.ns.descriptors.record({ group: id, proof: empty })).rejects.toMatchObject({ code: 'CORRUPT' })
    }
  })

  test('of admins that a member or another admin names is refused', async () => {
    const { owner, others } = await group('admin', 'writer')
    const [admin, member] = others
    const { group: id, proof } = await shown(owner)
    const tip = [...admin.ns.held.tips()].find(({ author }) => equalBytes(author, admin.id))
    const grant = admin.ns.membership.grantsOf(admin.id)[0]?.hash as Uint8Array
    const body = encodeAuthBody({ kind: 'grant', agent: member.id, role: 'admin', sealed: false })
    const place = { incarnation: admin.env.incarnation, seq: (tip?.seq ?? -1) + 1, previous: tip?.hash }
    const common = { namespace: id, heads: [], clock: admin.env.clock.tick(), data: undefined, keyId: undefined }
    for (const under of [grant, id]) {
      const header = { kind: 'grant' as const, grant: under, ...common, ...place }
      const { bytes } = signEntry(admin.agent, header, { body })
      expect(() => readProof(id, [...proof, bytes])).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    }
  })

  test('gives one answer in whatever order proofs came to be known', async () => {
    const { owner, others } = await group('admin', 'admin')
    const [ann, bob] = others
    const known: ProofFacts[] = []
    for (const node of [ann, bob, owner, bob, ann]) {
      await node.ns.members.rotate()
      known.push(await facts(node))
      if (node === owner) await converge(owner, ann, bob)
    }
    await owner.ns.members.revoke({ agent: ann.id })
    await converge(owner, bob)
    known.push(await facts(bob))
    const expected = newestDescriptor(known)
    expect(expected).toEqual(epochOf(owner))
    for (let turn = 0; turn < known.length; turn++) {
      const turned = [...known.slice(turn), ...known.slice(0, turn)]
      expect(newestDescriptor(turned)).toEqual(expected)
      expect(newestDescriptor(turned.reverse())).toEqual(expected)
    }
  })
})

describe('what the members of a group are in a namespace', () => {
  test('is said by admins, ends, and is told apart from what they are by name', async () => {
    const { time, owner, others } = await group('writer')
    const [member] = others
    const host = await new NamespaceNode(70, time).create()
    const writer = await new NamespaceNode(71, time).join(host)
    await host.ns.members.grant({ agent: writer.id, role: 'writer' })
    await converge(host, writer)
    const descriptor = await shown(owner)
    const { id } = owner.ns
    const roles = () => [...host.ns.membership.groups.roles].map(([name, { role }]) => [name, role])
    await expect(writer.ns.descriptors.record(descriptor, 'reader')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await host.ns.descriptors.record(descriptor, 'writer')
    expect(roles()).toEqual([[toHex(id), 'writer']])
    await host.ns.members.grant({ agent: member.id, role: 'reader' })
    await host.ns.members.grantAll({ agents: [member.id, owner.id, host.id], role: 'writer', via: id })
    expect(host.ns.roleOf(member.id)).toBe('writer')
    await host.ns.descriptors.record(descriptor, 'none')
    expect(roles()).toEqual([])
    await host.ns.members.revokeAll({ agents: [member.id, owner.id, host.id, writer.id], via: id })
    expect(host.ns.roleOf(member.id)).toBe('reader')
    expect(host.ns.roleOf(owner.id)).toBeUndefined()
    expect(host.ns.roleOf(writer.id)).toBe('writer')
  })
})

describe('the proof that an agent is in a group', () => {
  test('holds for that group, epoch, requester and provider, and no other', async () => {
    const { owner, others } = await group('writer')
    const [member] = others
    const { epoch, publicKey } = epochOf(owner)
    const between = { requester: member.id, provider: owner.id }
    const key = member.ns.keyring.groupKey(epoch) ?? expect.fail('it is a member')
    const proof = proveGroupMember(key, { group: owner.ns.id, epoch, ...between })
    expect(isGroupMemberProof(proof, publicKey, between)).toBe(true)
    const [stranger] = agents(1) as [Uint8Array]
    for (const other of [{ group: stranger }, { epoch: new Uint8Array(16) }])
      expect(isGroupMemberProof({ ...proof, ...other }, publicKey, between)).toBe(false)
    for (const others of [{ requester: stranger }, { provider: stranger }])
      expect(isGroupMemberProof(proof, publicKey, { ...between, ...others })).toBe(false)
    await owner.ns.members.rotate()
    expect(isGroupMemberProof(proof, epochOf(owner).publicKey, between)).toBe(false)
    const own = proveGroupMember(member.agent, { group: owner.ns.id, epoch, ...between })
    expect(isGroupMemberProof(own, publicKey, between)).toBe(false)
  })
})

describe('an admin who goes to extremes', () => {
  test('with the highest number that an epoch may have makes no others begin epochs without end, and is over once it is removed', async () => {
    for (const number of [Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER]) {
      const { owner, others } = await group('admin', 'writer')
      const [admin, member] = others
      await owner.ns.receive([rotateBy(admin, number)])
      await owner.ns.members.revoke({ agent: member.id })
      const before = owner.ns.totals.entries
      for (let at = 0; at < 5; at++) await owner.ns.healer.run()
      expect(owner.ns.totals.entries - before).toBeLessThanOrEqual(2)
      await owner.ns.members.revoke({ agent: admin.id })
      for (let at = 0; at < 5; at++) await owner.ns.healer.run()
      expect(owner.ns.membership.owed.rotation).toBe(false)
      expect(owner.ns.membership.isGoodEpoch(epochOf(owner).epoch)).toBe(true)
    }
  })

  test('with a clock from far ahead does not keep others from saying what a group’s members are', async () => {
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const admin = await new NamespaceNode(2, time).join(owner)
    await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
    const { owner: team } = await group()
    await owner.ns.descriptors.record(await shown(team), 'reader')
    await converge(owner, admin)
    const { group: id, proof } = await shown(team)
    const body = encodeAuthBody({ kind: 'descriptor', group: id, proof, role: 'writer' })
    const grant = admin.ns.membership.grantsOf(admin.id)[0]?.hash as Uint8Array
    const place = { namespace: owner.ns.id, grant, incarnation: admin.ns.env.incarnation, seq: 0, previous: undefined }
    const clock = { wallMs: 2 ** 48 - 1, counter: 2 ** 32 - 1 }
    const draft = { kind: 'descriptor' as const, keyId: undefined, data: undefined, heads: [], clock, ...place }
    const { bytes } = signEntry(admin.agent, draft, { body })
    await owner.ns.receive([bytes])
    const roleOf = ({ ns }: NamespaceNode) => ns.membership.groups.roles.get(toHex(id))?.role
    expect(roleOf(owner)).toBe('writer')
    await owner.ns.descriptors.record(await shown(team), 'none')
    expect(roleOf(owner)).toBe(undefined)
    await owner.ns.descriptors.record(await shown(team), 'reader')
    await converge(owner, admin)
    for (const node of [owner, admin]) expect(roleOf(node)).toBe('reader')
    // The grants that it gave are no hindrance either.
    expect(owner.ns.membership.groups.hasRole(id)).toBe(true)
  })
})

test('a group of a thousand begins its next epoch for all who stay, and for nobody who goes; sharing with it is one box', async () => {
  const { time, owner, others } = await group('writer', 'writer')
  const [stays, goes] = others
  await owner.ns.members.grantAll({ agents: agents(1_000), role: 'writer' })
  await owner.ns.members.revoke({ agent: goes.id })
  expect(owner.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
  const { epoch } = owner.ns.descriptors.newest(owner.ns.id) ?? owner.ns.membership.groups.epoch ?? expect.fail()
  for (const node of [stays, goes]) await node.pull(owner)
  const last = new AgentKey(Buffer.alloc(32, 'agent 999 of many '))
  const member = await new NamespaceNode(99, time, { agent: last }).join(owner)
  await member.pull(owner)
  expect([stays, member, goes].map(({ ns }) => ns.keyring.groupKey(epoch) !== undefined)).toEqual([true, true, false])

  const host = await new NamespaceNode(100, time).create()
  const artifact = await host.write('for all of them')
  await recordGroup(host, owner)
  const [share] = await host.ns.sharing.share({ artifact, audience: [groupOf(owner)] })
  const bytes = await host.ns.held.bytes(share?.entry ?? expect.fail())
  const { keys } = decodeEntry(bytes ?? expect.fail())
  expect(keys?.boxes.filter(({ label }) => label !== undefined)).toHaveLength(1)
})
