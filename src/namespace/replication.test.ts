import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'
import { decodeEntry, encodeEntry, signEntry } from '../log/index.ts'
import { openWrappedBody, type WrappedBody } from '../sharing/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import { type Tip, tipChange, tipOf, tipRemoval } from './chains.ts'
import { differences } from './derived.test-helper.ts'
import { feedStart } from './index.ts'
import { NamespaceKeys } from './tables.ts'

/** An owner with a namespace, and agents that have joined it; nobody has been granted anything. */
async function setUp(count: number) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const others: NamespaceNode[] = []
  for (let at = 0; at < count; at++) others.push(await new NamespaceNode(2 + at, time).join(owner))
  return { time, owner, others: others as [NamespaceNode, NamespaceNode, NamespaceNode] }
}

/** The changes by which the store has an entry no more. */
function entryRows(namespace: Uint8Array, { chain, seq, hash }: Tip): KeyValueChange[] {
  const keys = new NamespaceKeys(namespace)
  return [keys.entry(chain, seq, hash), keys.key('places', hash)].map((key) => ({ type: 'del', key }))
}

/** A copy of an entry, of a version without what it says. */
function withoutBody(bytes: Uint8Array): Uint8Array {
  const entry = decodeEntry(bytes)
  return entry.header.kind === 'put' ? encodeEntry({ ...entry, body: undefined, leaf: undefined }) : bytes
}

describe('a namespace that others have', () => {
  test('shows a reader what was written before and after the grant, and keeps a stranger’s copy closed', async () => {
    const { owner, others } = await setUp(2)
    const [reader, stranger] = others
    const before = await owner.write('before')
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const after = await owner.write('after')
    await converge(owner, reader, stranger)

    expect(await reader.names()).toEqual(['after', 'before'])
    expect(await reader.read(before)).toBe('before')
    expect(await reader.read(after)).toBe('after')
    expect(reader.ns.roleOf(reader.id)).toBe('reader')
    expect(await stranger.names()).toEqual([])
    expect((await stranger.ns.catalog.counts()).versions).toBe(2)
    expect(await Array.fromAsync(stranger.ns.catalog.liveRoots())).toHaveLength(2)
    await expect(stranger.ns.artifactKeys.open(before, new Uint8Array(16))).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
    })
    for (const node of [owner, reader, stranger]) expect(await differences(node.ns)).toEqual([])
    expect(toHex(reader.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
  })

  test('lets writers write and nobody else', async () => {
    const { owner, others } = await setUp(3)
    const [writer, reader, stranger] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await converge(owner, writer, reader, stranger)
    const artifact = await writer.write('from the writer')
    await converge(owner, writer, reader, stranger)
    expect(await owner.read(artifact)).toBe('from the writer')
    await owner.update(artifact, 'then the owner')
    await converge(owner, writer, reader)
    expect(await writer.read(artifact)).toBe('then the owner')
    expect(await writer.read(artifact, 1)).toBe('from the writer')
    const entries = reader.ns.totals.entries
    await expect(reader.write('no')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(stranger.write('no')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(reader.update(artifact, 'no')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(reader.delete(artifact)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(writer.ns.members.grant({ agent: stranger.id, role: 'reader' })).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
    })
    await expect(writer.ns.members.revoke({ agent: reader.id })).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(writer.ns.members.rotate()).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(owner.ns.members.grant({ agent: owner.id, role: 'reader' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    await expect(owner.ns.members.revoke({ agent: stranger.id })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(reader.ns.totals.entries).toBe(entries)
  })

  test('keeps concurrent versions of both, and a delete ends what it saw', async () => {
    const { owner, others } = await setUp(1)
    const [writer] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    const artifact = await owner.write('one')
    await converge(owner, writer)
    await owner.update(artifact, 'two of the owner')
    await writer.update(artifact, 'two of the writer')
    await converge(owner, writer)
    const [mine, theirs] = [await owner.ns.catalog.get(artifact), await writer.ns.catalog.get(artifact)]
    expect(mine).toEqual(theirs)
    expect(mine?.siblings).toHaveLength(1)
    expect(await owner.read(artifact, mine?.siblings[0] as string)).toMatch(/^two of the/)
    await owner.delete(artifact)
    await converge(owner, writer)
    expect(await writer.names()).toEqual([])
    for (const node of [owner, writer]) expect(await differences(node.ns)).toEqual([])
  })

  test('opens again as it was: members, keys, hidden versions', async () => {
    const { owner, others } = await setUp(2)
    const [writer, replica] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
    await converge(owner, writer, replica)
    const artifact = await writer.write('kept')
    await converge(owner, writer, replica)
    for (const node of [owner, writer, replica]) {
      const [hash, members] = [toHex(node.ns.held.vectorHash), node.ns.membership.members]
      await node.open()
      expect(toHex(node.ns.held.vectorHash)).toBe(hash)
      expect(node.ns.membership.members).toEqual(members)
      expect(await differences(node.ns)).toEqual([])
    }
    expect(await writer.read(artifact)).toBe('kept')
    expect(await replica.names()).toEqual([])
    expect(replica.ns.roleOf(replica.id)).toBe('replica')
  })
})

describe('removing a member', () => {
  test('ends what it writes from then on, back-dated or not, and keeps what counted', async () => {
    const { time, owner, others } = await setUp(2)
    const [writer, reader] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await converge(owner, writer, reader)
    await writer.write('in time')
    await converge(owner, writer, reader)
    await owner.ns.members.revoke({ agent: writer.id })
    await writer.write('late, and not told')
    time.nowMs -= 3_600_000
    await writer.write('back-dated')
    time.nowMs += 7_200_000
    // The reader sees them before the revoke, and shows them until it comes.
    await reader.pull(writer)
    expect(await reader.names()).toHaveLength(3)
    await converge(owner, writer, reader)
    for (const node of [owner, reader, writer]) {
      expect(await node.names()).toEqual(['in time'])
      expect(await differences(node.ns)).toEqual([])
    }
    expect(writer.ns.roleOf(writer.id)).toBeUndefined()
    await expect(writer.write('no')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  test('leaves it nothing to open of what is written then, with all ciphertext and its keys in hand', async () => {
    const { owner, others } = await setUp(2)
    const [former, reader] = others
    await owner.ns.members.grant({ agent: former.id, role: 'reader' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const shared = await owner.write('shared')
    await converge(owner, former, reader)
    expect(await former.read(shared)).toBe('shared')
    await owner.ns.members.revoke({ agent: former.id })
    const later = await owner.write('later')
    await owner.update(shared, 'shared no more')
    await converge(owner, former, reader)

    expect(former.ns.totals.entries).toBe(owner.ns.totals.entries)
    expect(await former.ns.catalog.get(later)).toBeUndefined()
    expect(await former.read(shared)).toBe('shared')
    for await (const { entry } of former.ns.catalog.liveRoots(shared)) {
      const { header } = (await former.ns.held.entry(entry)) ?? {}
      if (header?.data?.gen === 2) {
        await expect(former.ns.artifactKeys.open(shared, header.keyId as Uint8Array)).rejects.toMatchObject({
          code: 'ACCESS_DENIED',
        })
      }
    }
    expect(await reader.read(shared)).toBe('shared no more')
    expect(await reader.read(shared, 1)).toBe('shared')
    expect(await reader.read(later)).toBe('later')
  })

  test('seals the next epoch to who reads, and not to a replica', async () => {
    const { owner, others } = await setUp(3)
    const [writer, reader, replica] = others
    for (const [{ id }, role] of [
      [writer, 'writer'],
      [reader, 'reader'],
      [replica, 'replica'],
    ] as const)
      await owner.ns.members.grant({ agent: id, role })
    await converge(owner, writer, reader, replica)
    await owner.ns.members.revoke({ agent: writer.id })
    const artifact = await owner.write('since')
    await converge(owner, reader, replica)
    expect(await reader.read(artifact)).toBe('since')
    expect([replica.ns.keyring.size, await replica.names()]).toEqual([0, []])
  })

  test('goes on under the old key and epoch where nobody left', async () => {
    const { owner } = await setUp(0)
    const artifact = await owner.write('one')
    const keyId = (await owner.ns.catalog.get(artifact))?.root.keyId as Uint8Array
    await owner.ns.members.rotate()
    await owner.update(artifact, 'two')
    expect((await owner.ns.catalog.get(artifact))?.root.keyId).toEqual(keyId)
  })

  test('shows a newcomer the history of earlier epochs', async () => {
    const { owner, others } = await setUp(2)
    const [former, newcomer] = others
    const first = await owner.write('first')
    for (let round = 0; round < 5; round++) {
      await owner.ns.members.grant({ agent: former.id, role: 'reader' })
      await owner.ns.members.revoke({ agent: former.id })
      await owner.update(first, `round ${round}`)
    }
    await owner.ns.members.grant({ agent: newcomer.id, role: 'reader' })
    await converge(owner, newcomer)
    expect(await newcomer.read(first)).toBe('round 4')
    expect(await newcomer.read(first, 1)).toBe('first')
    expect(await newcomer.read(first, 3)).toBe('round 1')
    expect(await differences(newcomer.ns)).toEqual([])
  })

  test('that only a writer knows of makes it seal its keys by name, and whoever may rotates', async () => {
    const { owner, others } = await setUp(3)
    const [admin, writer, former] = others
    await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: former.id, role: 'reader' })
    const old = await owner.write('old')
    await converge(owner, admin, writer, former)
    // Two admins at once: one rotates for a newcomer while the other removes a member, so that no epoch excludes the former.
    await owner.ns.members.revoke({ agent: former.id })
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(writer.ns.held.vector()))
    const withoutRotate = entries.filter((bytes) => decodeEntry(bytes).header.kind !== 'rotate')
    expect(withoutRotate.length).toBe(entries.length - 1)
    await writer.ns.receive(withoutRotate)
    expect(writer.ns.membership.owed.rotation).toBe(true)
    expect(await writer.ns.healer.run()).toBe(0)
    const artifact = await writer.write('by name')
    await writer.update(old, 'old, by name')
    await former.pull(writer)
    expect(await former.ns.catalog.get(artifact)).toBeUndefined()
    expect(await former.read(old)).toBe('old')
    await admin.pull(writer)
    expect(await admin.read(artifact)).toBe('by name')
    expect(await admin.read(old)).toBe('old, by name')
    expect(await admin.ns.healer.run()).toBeGreaterThan(0)
    expect(admin.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
    await converge(owner, admin, writer, former)
    await writer.update(artifact, 'under an epoch again')
    await converge(owner, admin, writer, former)
    expect(await owner.read(artifact)).toBe('under an epoch again')
    expect(await former.names()).toEqual(['old'])
    for (const node of [owner, admin, writer, former]) expect(await differences(node.ns)).toEqual([])
  })
})

describe('many members', () => {
  test('are sealed to in as many entries as it takes, by a rotate and by name', async () => {
    const { owner, others } = await setUp(2)
    const [writer, last] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    const crowd = Array.from({ length: 140 }, (_, at) => new AgentKey(new Uint8Array(32).fill(100 + at)).publicKey)
    await Promise.all(crowd.map((agent) => owner.ns.members.grant({ agent, role: 'reader' })))
    await owner.ns.members.grant({ agent: last.id, role: 'reader' })
    await converge(owner, writer, last)
    await owner.ns.members.revoke({ agent: crowd[0] as Uint8Array })
    expect(owner.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(writer.ns.held.vector()))
    const kinds = entries.map((bytes) => decodeEntry(bytes).header.kind)
    expect(kinds).toEqual(['revoke', 'rotate', 'keys'])
    await writer.ns.receive([entries[0] as Uint8Array])
    const artifact = await writer.write('to each by name')
    await last.pull(writer)
    expect(await last.read(artifact)).toBe('to each by name')
    await converge(owner, writer, last)
    const after = await owner.write('under the epoch')
    await converge(owner, last)
    expect(await last.read(after)).toBe('under the epoch')
    for (const node of [owner, writer, last]) expect(await differences(node.ns)).toEqual([])
  })

  test('who act at once, on one node, share batches without getting into each other’s way', async () => {
    const { owner, others } = await setUp(3)
    const [admin, writer, reader] = others
    await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
    await converge(owner, admin)
    const grant = await Array.fromAsync(owner.ns.held.entriesBeyond([]))
    const artifacts = await Promise.all([
      admin.write('a'),
      admin.ns.members.grant({ agent: writer.id, role: 'writer' }).then(() => admin.write('b')),
      admin.ns.members.grant({ agent: reader.id, role: 'reader' }).then(() => admin.write('c')),
      admin.ns.members.rotate().then(() => admin.write('d')),
      admin.ns.receive(grant).then(() => admin.write('e')),
      admin.ns.members.revoke({ agent: reader.id }).then(
        () => admin.write('f'),
        () => admin.write('f'),
      ),
    ])
    await converge(owner, admin, writer, reader)
    for (const node of [owner, admin, writer]) {
      expect(await node.names()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
      for (const artifact of artifacts) expect(await node.read(artifact)).toHaveLength(1)
    }
    for (const node of [owner, admin, writer, reader]) expect(await differences(node.ns)).toEqual([])
  })
})

describe('two admins', () => {
  test('who act at once converge, and the lower rank gives way', async () => {
    const { owner, others } = await setUp(3)
    const [one, two, writer] = others
    await owner.ns.members.grant({ agent: one.id, role: 'admin' })
    await owner.ns.members.grant({ agent: two.id, role: 'admin' })
    await converge(owner, one, two, writer)
    await one.ns.members.grant({ agent: writer.id, role: 'writer' })
    await converge(owner, one, two, writer)
    await writer.write('kept')
    await converge(owner, one, two, writer)
    // One removes the writer while the other gives it another role, and the owner removes the first.
    await one.ns.members.revoke({ agent: writer.id })
    await two.ns.members.grant({ agent: writer.id, role: 'reader' })
    await expect(one.ns.members.revoke({ agent: two.id })).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await owner.ns.members.revoke({ agent: one.id })
    await converge(owner, one, two, writer)
    const roles = [owner, one, two, writer].map((node) => [one, two, writer].map(({ id }) => node.ns.roleOf(id)))
    // What the first did before its cut counts; its revoke came after. The other’s took the role away that was there.
    for (const row of roles) expect(row).toEqual([undefined, 'admin', 'reader'])
    for (const node of [owner, one, two, writer]) {
      expect(await node.names()).toEqual(['kept'])
      expect(await differences(node.ns)).toEqual([])
      expect(toHex(node.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
    }
  })

  test('an admin’s late grant brings back what was written under it', async () => {
    const { owner, others } = await setUp(2)
    const [admin, writer] = others
    await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
    await converge(owner, admin)
    await admin.ns.members.grant({ agent: writer.id, role: 'writer' })
    await converge(admin, writer)
    await writer.write('under a grant of a removed admin')
    await owner.ns.members.revoke({ agent: admin.id })
    // As long as it does not know of it the admin tells of what it wrote.
    await owner.pull(admin)
    await converge(owner, admin, writer)
    // The cut is where the owner saw the admin's chain end: before the grant.
    expect(await owner.names()).toEqual([])
    const grant = (await Array.fromAsync(admin.ns.log.auth())).find(({ bytes }) => {
      const { auth } = decodeEntry(bytes)
      return auth?.kind === 'grant' && equalBytes(auth.agent, writer.id)
    })
    await owner.ns.members.adopt({ hash: grant?.hash as Uint8Array })
    await converge(owner, admin, writer)
    for (const node of [owner, admin, writer]) {
      expect(await node.names()).toEqual(['under a grant of a removed admin'])
      expect(await differences(node.ns)).toEqual([])
    }
  })
})

describe('forks', () => {
  test('of a copied store with the same incarnation are proven, cut, and repaired by an adopt', async () => {
    const { time, owner, others } = await setUp(1)
    const [writer] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await converge(owner, writer)
    await writer.write('common')
    await converge(owner, writer)
    const twin = await new NamespaceNode(2, time, { copyOf: writer }).open(writer.ns.id)
    await writer.write('of the first')
    await writer.write('of the first too')
    await twin.write('of the twin')
    await converge(owner, writer)
    expect(await owner.names()).toHaveLength(3)
    await converge(owner, writer, twin)
    for (const node of [owner, writer, twin]) {
      expect(await node.names()).toEqual(['common'])
      expect(node.ns.membership.forks).toHaveLength(1)
      expect(await differences(node.ns)).toEqual([])
    }
    // Both go on under chains of their own.
    await writer.write('on a new chain')
    await twin.write('on another')
    await converge(owner, writer, twin)
    expect(await owner.names()).toEqual(['common', 'on a new chain', 'on another'])
    const [tip] = [...owner.ns.held.tips()].filter(({ seq, author }) => seq === 2 && equalBytes(author, writer.id))
    await owner.ns.members.adopt({ hash: tip?.hash as Uint8Array })
    await converge(owner, writer, twin)
    for (const node of [owner, writer, twin]) {
      expect(node.ns.membership.forks).toEqual([])
      expect((await node.names()).sort()).toEqual([
        'common',
        'of the first',
        'of the first too',
        'on a new chain',
        'on another',
      ])
      expect(await differences(node.ns)).toEqual([])
      await node.open()
      expect(node.ns.membership.forks).toEqual([])
    }
    // A restart of the twin does not go back to the shared incarnation.
    await twin.write('after a restart')
    await converge(owner, writer, twin)
    expect(owner.ns.membership.forks).toEqual([])
    expect(await owner.names()).toContain('after a restart')
  })

  test('of the owner’s own chain count on both branches', async () => {
    const { time, owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const twin = await new NamespaceNode(1, time, { copyOf: owner }).open(owner.ns.id)
    await owner.write('one')
    await twin.write('two')
    await twin.write('three')
    await converge(owner, twin, reader)
    for (const node of [owner, twin, reader]) {
      expect((await node.names()).sort()).toEqual(['one', 'three', 'two'])
      expect(node.ns.membership.forks).toEqual([])
      expect(await differences(node.ns)).toEqual([])
    }
    await owner.write('four')
    await converge(owner, twin, reader)
    expect(await reader.names()).toHaveLength(4)
  })
})

describe('receiving', () => {
  test('refuses what no honest peer sends, and leaves what does not link', async () => {
    const { time, owner, others } = await setUp(1)
    const [writer] = others
    const elsewhere = await new NamespaceNode(9, time).create()
    await elsewhere.write('elsewhere')
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(writer.ns.held.vector()))
    const foreign = await Array.fromAsync(elsewhere.ns.held.entriesBeyond([]))
    const flipped = Uint8Array.from(entries[0] as Uint8Array)
    const at = Buffer.from(flipped).indexOf(Buffer.from(decodeEntry(flipped).signature))
    flipped[at] = (flipped[at] as number) ^ 1
    const got = await writer.ns.receive([...foreign, flipped, Uint8Array.of(1, 2, 3), entries[1] as Uint8Array])
    expect(got).toMatchObject({ stored: 0, known: 0 })
    expect(got.unlinked).toHaveLength(1)
    expect(got.refused).toHaveLength(foreign.length + 2)
    expect(writer.ns.totals.entries).toBe(1)
    expect(await writer.ns.receive([...entries].reverse())).toMatchObject({ stored: 2, unlinked: [], refused: [] })
    expect(await writer.ns.receive(entries)).toMatchObject({ stored: 0, known: 2 })
  })

  test('stores nothing of agents whom no grant names', async () => {
    const { time, owner, others } = await setUp(1)
    const [writer] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await converge(owner, writer)
    await writer.write('mine')
    // Another agent signs entries that stand under the writer's grant.
    const thief = new NamespaceNode(77, time)
    const forged: Uint8Array[] = []
    const own = (await Array.fromAsync(writer.ns.held.entriesBeyond(owner.ns.held.vector()))).map((bytes) =>
      decodeEntry(bytes),
    )
    for (const { header, keys, body, leaf } of own) {
      const { author: _, keysHash: _k, bodyHash: _b, ...draft } = header
      forged.push(signEntry(thief.agent, draft, { keys, body, leaf }).bytes)
    }
    const got = await owner.ns.receive(forged)
    expect(got.stored).toBe(0)
    expect(got.unlinked).toHaveLength(1)
  })

  test('shows hidden versions at once when a grant comes ahead of its place in the chain', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    for (let at = 0; at < 30; at++) await owner.write(`snippet ${at}`)
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(reader.ns.held.vector()))
    expect((await reader.ns.receive([entries.at(-1) as Uint8Array])).unlinked).toHaveLength(1)
    await reader.ns.receive(entries.slice(0, 10))
    expect((await reader.names()).length).toBeGreaterThan(5)
    await reader.ns.receive(entries.slice(10))
    expect(await reader.names()).toHaveLength(30)
    expect(await differences(reader.ns)).toEqual([])
  })

  test('goes on with what keys have come for after it was cut off', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    for (let at = 0; at < 5; at++) await owner.write(`snippet ${at}`)
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const batch = reader.store.batch.bind(reader.store)
    let left = 1
    reader.store.batch = async (changes, options) => {
      if (left-- === 0) throw new Error('the power went out')
      await batch(changes, options)
    }
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(reader.ns.held.vector()))
    const withoutGrant = entries.slice(0, -1)
    await reader.ns.receive(withoutGrant)
    left = 1
    await expect(reader.ns.receive(entries.slice(-1))).rejects.toThrow('the power went out')
    reader.store.batch = batch
    await reader.open()
    expect(await reader.names()).toHaveLength(5)
    expect(await differences(reader.ns)).toEqual([])
  })

  test('takes back the bodies that a peer lacked', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const artifact = await owner.write('whole')
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(reader.ns.held.vector()))
    await reader.ns.receive(entries.map(withoutBody))
    expect(await reader.names()).toEqual([])
    const incomplete = await Array.fromAsync(reader.ns.held.incomplete())
    expect(incomplete).toHaveLength(1)
    const whole = await owner.ns.held.bytes(incomplete[0] as Uint8Array)
    await reader.ns.receive([whole as Uint8Array])
    expect(await reader.read(artifact)).toBe('whole')
    expect(await Array.fromAsync(reader.ns.held.incomplete())).toEqual([])
    expect(await differences(reader.ns)).toEqual([])
  })

  test('takes the body of a copy that comes while one without it is being stored', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const artifact = await owner.write('whole')
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(reader.ns.held.vector()))
    const received = [entries.map(withoutBody), entries, entries].map((batch) => reader.ns.receive(batch))
    expect((await Promise.all(received)).map(({ known }) => known)).toEqual([0, entries.length, entries.length])
    expect(await reader.read(artifact)).toBe('whole')
    expect(await Array.fromAsync(reader.ns.held.incomplete())).toEqual([])
    expect(await differences(reader.ns)).toEqual([])
  })

  test('reads what was opened ahead beside this thread, of entries that are signed, and opens the rest itself', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await converge(owner, reader)
    const before = [...owner.ns.held.tips()]
    for (const name of ['a', 'b', 'c', 'd']) await owner.write(name)
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(before))
    const { headerBytes, keysBytes, body, leaf, signature } = decodeEntry(entries[2] as Uint8Array)
    const forged = encodeEntry({ headerBytes, keysBytes, body, leaf, signature: signature.toReversed() })
    const asked: WrappedBody[] = []
    const openBodies = async (bodies: readonly WrappedBody[]) => {
      asked.push(...bodies)
      return bodies.map((one, at) => (at === 0 ? openWrappedBody(one) : undefined))
    }
    Object.assign(reader.env, { openBodies })
    const received = await reader.ns.receive([...entries.slice(0, 2), forged])
    expect(received).toMatchObject({ stored: 2, refused: [{ code: 'CORRUPT' }] })
    expect(asked).toHaveLength(2)
    expect(await reader.names()).toEqual(['a', 'b'])
    expect(await differences(reader.ns)).toEqual([])
    // What it says is believed: it was opened by its key, in its place.
    Object.assign(reader.env, { openBodies: async () => [openWrappedBody(asked[0] as WrappedBody)] })
    await reader.ns.receive(entries.slice(2, 3))
    expect(await reader.names()).toEqual(['a', 'a', 'b'])
  })

  test('leaves no tip recorded of what was lost at the end of a chain, came again and was followed in one batch', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await owner.write('kept')
    await converge(owner, reader)
    const tipOfOwner = () =>
      [...owner.ns.held.tips()].find(({ author }) => equalBytes(author, owner.id)) ?? expect.fail('it wrote')
    const kept = tipOfOwner()
    await owner.write('lost')
    await converge(owner, reader)
    const { chain, seq, hash } = tipOfOwner()
    const keys = new NamespaceKeys(reader.ns.id)
    const lost = [keys.entry(chain, seq, hash), keys.key('places', hash)]
    await reader.store.batch(
      lost.map((key) => ({ type: 'del', key })),
      { sync: true },
    )
    await reader.open()
    await owner.write('after')
    const again = await Array.fromAsync(owner.ns.held.entriesBeyond([kept]))
    expect((await reader.ns.receive(again)).stored).toBe(2)
    await reader.open()
    expect([...reader.ns.held.tips()].map((tip) => toHex(tip.hash))).toEqual([toHex(tipOfOwner().hash)])
    expect(await Array.fromAsync(reader.store.entries(keys.all('tips')))).toHaveLength(1)
  })

  test('keeps the tip recorded of a chain that was lost whole and came again', async () => {
    const { owner, others } = await setUp(2)
    const [writer, reader] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await converge(owner, writer, reader)
    await writer.write('lost')
    await converge(owner, writer, reader)
    const recorded = await Array.fromAsync(reader.store.entries(new NamespaceKeys(reader.ns.id).all('tips')))
    const { chain, seq, hash } =
      [...reader.ns.held.tips()].find(({ author }) => equalBytes(author, writer.id)) ?? expect.fail('it wrote')
    expect(seq).toBe(0)
    const keys = new NamespaceKeys(reader.ns.id)
    const lost = [keys.entry(chain, seq, hash), keys.key('places', hash)]
    await reader.store.batch(
      lost.map((key) => ({ type: 'del', key })),
      { sync: true },
    )
    await reader.open()
    const again = await owner.ns.held.bytes(hash)
    expect((await reader.ns.receive([again ?? expect.fail('it is held')])).stored).toBe(1)
    expect(await Array.fromAsync(reader.store.entries(keys.all('tips')))).toEqual(recorded)
  })

  test.each<[string, (tips: readonly Tip[], reader: NamespaceNode) => Promise<KeyValueChange[]>]>([
    ['the newest entry of a branch', async ([lower], { ns }) => entryRows(ns.id, lower as Tip)],
    ['the newest entry of the longest branch', async ([, higher], { ns }) => entryRows(ns.id, higher as Tip)],
    [
      'what the tip of a branch is now',
      async ([lower], { ns }) => {
        const keys = new NamespaceKeys(ns.id)
        const { header } = (await ns.held.entry((lower as Tip).hash)) ?? expect.fail('it is held')
        const before = (await ns.held.entry(header.previous as Uint8Array)) ?? expect.fail('it is held')
        return [tipRemoval(keys, lower as Tip), tipChange(keys, tipOf(before, (lower as Tip).chain))]
      },
    ],
  ])('finds out at its start that of a forked chain %s was lost, and has it again', async (_, loss) => {
    const { time, owner, others } = await setUp(2)
    const [writer, reader] = others
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await converge(owner, writer, reader)
    await writer.write('before')
    const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(owner.ns.id)
    for (const name of ['one', 'two']) await copy.write(name)
    for (const name of ['a', 'b', 'c']) await writer.write(name)
    await reader.pull(copy)
    await reader.pull(writer)
    const tips = () => [...reader.ns.held.tips()].filter(({ author }) => equalBytes(author, writer.id))
    const all = tips()
    expect(all).toHaveLength(2)
    const recorded = await Array.fromAsync(reader.store.entries(new NamespaceKeys(reader.ns.id).all('tips')))
    await reader.store.batch(await loss(all, reader), { sync: true })
    await reader.open()
    for (const { hash } of tips()) expect(await reader.ns.held.has(hash)).toBe(true)
    await reader.pull(copy)
    await reader.pull(writer)
    expect(tips()).toEqual(all)
    expect(await Array.fromAsync(reader.store.entries(new NamespaceKeys(reader.ns.id).all('tips')))).toEqual(recorded)
  })

  test('counts content that is not here in full until it is settled, and then by its leaves', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const artifact = await owner.writeLarge(new Uint8Array(7_000_000).fill(7), 'large')
    await converge(owner, reader)
    const { root } = (await reader.ns.catalog.get(artifact)) ?? {}
    if (root === undefined) throw new Error('it is not listed')
    expect(reader.ns.totals.leafBytes).toBe(root.storedBytes)
    expect(await reader.ns.settle(artifact, root)).toBe(false)
    for (const [name, bytes] of owner.blocks.held) reader.blocks.held.set(name, bytes)
    expect(await differences(reader.ns)).toEqual([])
    expect(await reader.ns.settle(artifact, root)).toBe(true)
    expect(reader.ns.totals).toEqual(owner.ns.totals)
    expect(owner.ns.totals.leafBytes).toBeLessThan(root.storedBytes)
    expect(await differences(reader.ns)).toEqual([])
  })
})

describe('the feed', () => {
  test('tells each change once, in order, across a restart', async () => {
    const { owner, others } = await setUp(1)
    const [reader] = others
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const a = await owner.write('a')
    await converge(owner, reader)
    const seen: string[] = []
    let cursor = feedStart
    const take = async (count: number) => {
      for await (const event of reader.ns.feed.follow({ after: cursor })) {
        seen.push(`${event.kind} ${toHex(event.artifact).slice(0, 4)}`)
        cursor = event.cursor
        if (--count === 0) break
      }
    }
    await take(1)
    await owner.update(a, 'a2')
    const b = await owner.write('b')
    await converge(owner, reader)
    await reader.open()
    await take(2)
    const waiting = take(1)
    await owner.delete(a)
    await converge(owner, reader)
    await waiting
    const [hexA, hexB] = [a, b].map((artifact) => toHex(artifact).slice(0, 4))
    expect(seen).toEqual([`created ${hexA}`, `updated ${hexA}`, `created ${hexB}`, `deleted ${hexA}`])
  })
})
