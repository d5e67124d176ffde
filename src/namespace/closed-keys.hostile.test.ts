import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf, forge } from '../../test/support/sharing-nodes.ts'
import { epochSettleMs } from '../limits.ts'
import { decodeEntry, encodeAuthBody } from '../log/index.ts'
import type { EpochSecret } from '../sharing/index.ts'
import {
  expectOpened,
  give,
  giveMany,
  healAll,
  keysOf,
  manyByName,
  misled,
  onlyWraps,
  rubbish,
} from './closed-keys.test-helper.ts'

/** What the artifact that the writer wrote is named by. */
async function namesOf(writer: NamespaceNode, artifact: Uint8Array) {
  const put = await writer.ns.held.entry((await writer.ns.catalog.get(artifact))?.entry ?? artifact)
  const { keyId, data } = put?.header ?? {}
  if (keyId === undefined || data === undefined) throw new Error('the writer lists it')
  return { keyId, salt: data.artifactSalt }
}

describe('a key that is closed is not held to be open', () => {
  test('for a wrap of it under a good epoch that does not open, after a start either', async () => {
    const { owner, writer, hostile, members, artifact } = await misled()
    const { keyId, salt } = await namesOf(writer, artifact)
    await give(
      members,
      keysOf(hostile, salt, onlyWraps([rubbish(keyId, writer.ns.membership.owed.epoch as Uint8Array)])),
    )
    for (const node of members) await node.open()
    for (const { ns } of members) expect(await ns.healer.owedKeys()).toContainEqual(writer.id)
    await healAll(members)
    expect(await owner.read(artifact)).toBe('one')
  })

  test('for more ways to it that lead nowhere than are looked at together, after a start either', async () => {
    const { owner, writer, hostile, members, artifact } = await misled()
    const { keyId, salt } = await namesOf(writer, artifact)
    for (let at = 0; at < 66; at++) {
      const item = { key: hostile.ns.artifactKeys.fresh(artifact), recipient: hostile.id }
      const keys = hostile.ns.keyring.sealKeys(artifact, [item], hostile.env.random(32))
      const boxes = keys.boxes.map((box) => ({ ...box, keyId }))
      await give([hostile, writer], keysOf(hostile, salt, { ...keys, boxes }))
    }
    await writer.open()
    expect(await writer.ns.healer.run()).toBeGreaterThan(0)
    await converge(...members)
    expect(await owner.read(artifact)).toBe('one')
  })

  test('for an admin who says that it is wrapped under an epoch which it began and gave to nobody', async () => {
    const { owner, hostile, writer, admin, members, artifact, epoch } = await misled()
    const own = admin.ns.keyring.admitEpoch(admin.env.random(32))
    const sealed = admin.ns.keyring.sealEpoch(own, [admin.id], admin.env.random(32))
    const to = [admin.ns.membership.grantsOf(admin.id)[0]?.hash.subarray(0, 8) ?? expect.fail('it has a grant')]
    const draft = { kind: 'rotate' as const, keyId: own.id, data: undefined }
    const keys = { ...sealed, wraps: [rubbish(epoch, own.id)] }
    await give(
      members,
      forge(admin, draft, () => ({ keys, body: encodeAuthBody({ kind: 'rotate', to }) })),
    )
    expect(owner.ns.membership.isEpoch(own.id)).toBe(true)
    const honest = [owner, hostile, writer]
    await healAll(honest)
    expect(await owner.read(artifact)).toBe('one')
  })

  test('for a key by name either that such an epoch is said to wrap', async () => {
    const { owner, writer, hostile, admin, members } = await misled()
    await healAll(members)
    const { artifact, keys, entry } = manyByName(hostile, owner)
    await give(members, entry)
    const own = admin.ns.keyring.admitEpoch(admin.env.random(32))
    const sealed = admin.ns.keyring.sealEpoch(own, [admin.id], admin.env.random(32))
    const to = [admin.ns.membership.grantsOf(admin.id)[0]?.hash.subarray(0, 8) ?? expect.fail('it has a grant')]
    const draft = { kind: 'rotate' as const, keyId: own.id, data: undefined }
    await give(
      members,
      forge(admin, draft, () => ({ keys: sealed, body: encodeAuthBody({ kind: 'rotate', to }) })),
    )
    const salt = decodeEntry(entry).header.data?.artifactSalt ?? expect.fail('it is of an artifact')
    await give(members, keysOf(admin, salt, onlyWraps(keys.map(({ id }) => rubbish(id, own.id)))))
    const honest = [owner, writer, hostile]
    await healAll(honest)
    expect(await Promise.all(keys.map(({ id }) => writer.ns.artifactKeys.open(artifact, id)))).toHaveLength(keys.length)
  })
})

describe('nobody has what is closed wait for ever', () => {
  test.for(['the admin who was removed', 'a writer'] as const)(
    '%s, by beginning its epoch again and again with entries before it that nobody has',
    async (who) => {
      const { time, owner, writer, removed, hostile, members, artifact, epoch } = await misled()
      const by = who === 'a writer' ? hostile : removed
      const secret = removed.ns.keyring.epoch(epoch) ?? expect.fail('it began it')
      const to = [owner.ns.membership.grantsOf(writer.id)[0]?.hash.subarray(0, 8) ?? expect.fail('it has a grant')]
      let written = 0
      for (let round = 0; round < 6 && written === 0; round++) {
        const keys = removed.ns.keyring.sealEpoch(secret, [writer.id], removed.env.random(32))
        const draft = { kind: 'rotate' as const, keyId: epoch, data: undefined, heads: [by.env.random(32)] }
        await give(
          [by, writer],
          forge(by, draft, () => ({ keys, body: encodeAuthBody({ kind: 'rotate', to }) })),
        )
        written += await writer.ns.healer.run()
        if (round === 0) expect([written, writer.ns.healer.isPutOff]).toEqual([0, true])
        time.nowMs += epochSettleMs / 2
      }
      expect(written).toBe(1)
      await converge(...members)
      expect(await owner.read(artifact)).toBe('one')
    },
  )

  test('a writer, by writing under it again and again with entries before it that nobody has', async () => {
    const { time, owner, writer, hostile, members, artifact, epoch } = await misled()
    let written = 0
    for (let round = 0; round < 6 && written === 0; round++) {
      const wraps = [rubbish(hostile.env.random(16), epoch)]
      await give(members, keysOf(hostile, hostile.env.random(16), onlyWraps(wraps), [hostile.env.random(32)]))
      written += await writer.ns.healer.run()
      time.nowMs += epochSettleMs / 2
    }
    expect(written).toBe(1)
    await converge(...members)
    expect(await owner.read(artifact)).toBe('one')
  })
})

describe('what heals is bounded by what was written', () => {
  test('many keys that one entry seals by name are wrapped in one entry, once', async () => {
    const { owner, hostile, writer, members } = await misled()
    await healAll(members)
    const { artifact, keys, entry } = manyByName(hostile, owner)
    await give(members, entry)
    expect(await healAll(members)).toBe(1)
    for (const { id } of keys) expect((await writer.ns.artifactKeys.open(artifact, id)).id).toEqual(id)
  })

  test('what is wrapped without being seen to be is not wrapped again', async () => {
    const { owner, hostile, members } = await misled()
    await healAll(members)
    const { artifact, entry } = manyByName(hostile, owner)
    await give(members, entry)
    // As if the ways of others had left no room for it.
    const rows = owner.ns.keys.all('artifactKeys')
    const before = await Array.fromAsync(owner.env.store.entries(rows))
    expect(await owner.ns.healer.run()).toBe(1)
    await owner.env.store.batch(
      before.map(([key, value]) => ({ type: 'put', key, value })),
      { sync: false },
    )
    expect(await owner.ns.healer.owedKeys()).toEqual([hostile.id])
    expect(await owner.ns.healer.run()).toBe(0)
    expect(artifact).toHaveLength(20)
  })

  test('thousands that a writer sealed to nobody keep no other from being given, live or after a start', async () => {
    const { owner, hostile, writer, admin, members } = await misled()
    await healAll(members)
    for (let at = 0; at < 6; at++) await give(members, manyByName(hostile, hostile).entry)
    const some = manyByName(admin, owner)
    await give(members, some.entry)
    for (const isStarted of [false, true]) {
      const { artifact, keys, entry } = isStarted ? manyByName(admin, owner) : some
      if (isStarted) {
        await give(members, entry)
        await owner.open()
      }
      expect(await owner.ns.healer.run()).toBe(1)
      await converge(...members)
      for (const { id } of keys) expect((await writer.ns.artifactKeys.open(artifact, id)).id).toEqual(id)
    }
  })

  test('more epochs than are kept in mind are given one after the other', async () => {
    const { writer, admin, members } = await misled()
    const epochs: EpochSecret[] = []
    for (let at = 0; at < 70; at++) {
      const epoch = writer.ns.keyring.admitEpoch(writer.env.random(32))
      epochs.push(epoch)
      await give(members, keysOf(writer, writer.env.random(16), onlyWraps([rubbish(writer.env.random(16), epoch.id)])))
    }
    await healAll(members)
    for (const { id } of epochs) expect(admin.ns.keyring.epoch(id)).toBeDefined()
    for (const { ns } of members) expect(await ns.healer.owedKeys()).toEqual([])
  })

  test('more keys by name than are kept in mind are given one after the other', async () => {
    const { writer, admin, members } = await misled()
    await healAll(members)
    const sealed = await giveMany(members, () => manyByName(writer, writer), 6)
    await healAll(members)
    await expectOpened(admin, sealed)
    for (const { ns } of members) expect(await ns.healer.owedKeys()).toEqual([])
  })
})

test('what was under such an epoch before anybody was known to be removed is found once that is known', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const join = async (seed: number) => await new NamespaceNode(seed, time).join(owner)
  const [removed, writer, other] = [await join(10), await join(11), await join(12)]
  await owner.ns.members.grant({ agent: removed.id, role: 'admin' })
  for (const { id } of [writer, other]) await owner.ns.members.grant({ agent: id, role: 'writer' })
  await converge(owner, removed, writer, other)
  await owner.ns.members.revoke({ agent: removed.id })
  await removed.ns.members.rotate()
  await writer.pull(removed)
  const artifact = await writer.write('one')
  // The other has what was written, but not that its epoch began.
  const by = Buffer.from(writer.id)
  const entries = await Array.fromAsync(writer.ns.held.entriesBeyond(other.ns.held.vector()))
  await other.ns.receive(entries.filter((bytes) => by.equals(decodeEntry(bytes).header.author)))
  await other.open()
  expect(await other.ns.healer.owedKeys()).toEqual([])
  await other.pull(owner)
  expect(await other.ns.healer.owedKeys()).toEqual([writer.id])
  expect(await other.ns.catalog.get(artifact)).toBeUndefined()
})

test('a key by name that comes when nothing else changes is given at the next look', async () => {
  const { owner, admin, members } = await misled()
  await healAll(members)
  expect(owner.ns.healer.isPutOff).toBe(false)
  await give(members, manyByName(admin, owner).entry)
  expect(owner.ns.healer.isPutOff).toBe(true)
  expect(await owner.ns.healer.run()).toBe(1)
  expect(owner.ns.healer.isPutOff).toBe(false)
})

test('a replica, which opens nothing, goes by what is said to be wrapped', async () => {
  const { owner, writer, members, join } = await misled()
  const replica = await join(40)
  await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
  await converge(...members, replica)
  expect(await replica.ns.healer.owedKeys()).toEqual([writer.id])
  await healAll(members)
  await replica.pull(owner)
  expect(await replica.ns.healer.owedKeys()).toEqual([])
  await replica.open()
  expect(await replica.ns.healer.owedKeys()).toEqual([])
})

test('a key by name is not open for a wrap under an epoch that is closed itself', async () => {
  const { writer, hostile, admin, members, epoch } = await misled()
  const { artifact, keys, entry } = manyByName(hostile, writer)
  await give(members, entry)
  const closed = writer.ns.keyring.epoch(epoch) ?? expect.fail('it was given it')
  const salt = decodeEntry(entry).header.data?.artifactSalt ?? expect.fail('it is of an artifact')
  const wraps = keys.map((key) => writer.ns.keyring.wrap(key, artifact, closed))
  await give(members, keysOf(writer, salt, onlyWraps(wraps)))
  const owed = (await writer.ns.healer.owedKeys()).map((id) => Buffer.from(id).toString('hex'))
  expect(owed).toContain(Buffer.from(hostile.id).toString('hex'))
  await writer.ns.healer.run()
  await converge(...members)
  for (const { id } of keys) expect((await admin.ns.artifactKeys.open(artifact, id)).id).toEqual(id)
})

test('what does not count any more is not owed', async () => {
  const { owner, writer, admin, members, artifact } = await misled()
  const { ns } = owner
  expect(await ns.healer.owedKeys()).toEqual([writer.id])
  // Nothing of its chain counts.
  const [grant = expect.fail('it has a grant')] = ns.membership.grantsOf(writer.id)
  const body = encodeAuthBody({ kind: 'revoke', agent: writer.id, grants: [grant.hash], cuts: [] })
  await give(
    [owner, admin],
    forge(owner, { kind: 'revoke', keyId: undefined, data: undefined }, () => ({ body })),
  )
  for (const one of [owner, admin]) expect(await one.ns.healer.owedKeys()).toEqual([])
  expect(members).toContain(writer)
  expect(await ns.catalog.get(artifact)).toBeUndefined()
})

test.for(['as it comes', 'after a start'])('a share alone under such an epoch is found, %s', async (when) => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const join = async (seed: number) => await new NamespaceNode(seed, time).join(owner)
  const [removed, writer, bob] = [await join(10), await join(11), await join(20)]
  await owner.ns.members.grant({ agent: removed.id, role: 'admin' })
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  const artifact = await owner.write('old')
  await converge(owner, removed, writer)
  await owner.ns.members.revoke({ agent: removed.id })
  await owner.ns.healer.run()
  expect(await owner.ns.healer.owedKeys()).toEqual([])
  await removed.ns.members.rotate()
  await writer.pull(removed)
  await writer.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  await converge(owner, writer)
  if (when === 'after a start') for (const node of [owner, writer]) await node.open()
  expect(await owner.ns.healer.owedKeys()).toEqual([writer.id])
  await healAll([owner, writer])
  expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
  expect(await owner.ns.healer.owedKeys()).toEqual([])
})

test('an entry under an epoch that is closed has those who hold it look, though nothing else changed', async () => {
  const { writer, hostile, epoch } = await misled()
  await writer.ns.healer.run()
  expect(writer.ns.healer.isPutOff).toBe(false)
  const closed = writer.ns.keyring.admitEpoch(writer.env.random(32))
  expect(closed.id).not.toEqual(epoch)
  await give(
    [hostile, writer],
    keysOf(hostile, hostile.env.random(16), onlyWraps([rubbish(hostile.env.random(16), closed.id)])),
  )
  expect(writer.ns.healer.isPutOff).toBe(true)
  expect(await writer.ns.healer.run()).toBe(1)
  expect(writer.ns.healer.isPutOff).toBe(false)
})

test('of two epochs that began at one time none is left out of the next because a writer says that it is wrapped', async () => {
  const { owner, writer, hostile, admin, members, join } = await misled()
  await healAll(members)
  await owner.ns.members.rotate()
  await admin.ns.members.rotate()
  const before = { owner: owner.ns.membership.owed.epoch, admin: admin.ns.membership.owed.epoch }
  const artifacts = [await owner.write('by the owner'), await admin.write('by the admin')]
  await converge(...members)
  const [better] = hostile.ns.membership.epochs
  const epoch = hostile.ns.keyring.epoch(better?.id as Uint8Array) ?? expect.fail('it was sealed to it')
  const [worse] = Object.values(before).filter((id) => Buffer.compare(id as Uint8Array, epoch.id) !== 0) as [Uint8Array]
  const own = hostile.ns.membership.grantsOf(hostile.id)[0]?.hash.subarray(0, 8) ?? expect.fail('it has a grant')
  const keys = {
    ...hostile.ns.keyring.sealEpoch(epoch, [hostile.id], hostile.env.random(32)),
    wraps: [rubbish(worse, epoch.id)],
  }
  const body = encodeAuthBody({ kind: 'keys', to: [own] })
  await give(
    members,
    forge(hostile, { kind: 'keys', keyId: epoch.id, data: undefined }, () => ({ keys, body })),
  )
  await owner.ns.members.revoke({ agent: writer.id })
  const late = await join(40)
  await owner.ns.members.grant({ agent: late.id, role: 'reader' })
  await converge(owner, late)
  for (const artifact of artifacts) expect(await late.read(artifact)).toMatch(/^by the /)
})

describe('what begins or ceases to count after one looked has it look again', () => {
  /** The writer loses its role by what that agent says, and what it wrote comes to others only after that. */
  async function ended(by: 'owner' | 'admin') {
    const { owner, removed, writer, hostile, admin, join } = await misled()
    const other = await join(40)
    await owner.ns.members.grant({ agent: other.id, role: 'writer' })
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(other.ns.held.vector()))
    const isOf = (node: NamespaceNode, bytes: Uint8Array) =>
      Buffer.compare(decodeEntry(bytes).header.author, node.id) === 0
    await other.ns.receive(entries.filter((bytes) => !isOf(writer, bytes)))
    const says = by === 'owner' ? owner : admin
    const [grant = expect.fail('it has a grant')] = says.ns.membership.grantsOf(writer.id)
    const body = encodeAuthBody({ kind: 'revoke', agent: writer.id, grants: [grant.hash], cuts: [] })
    await give(
      [owner, other],
      forge(says, { kind: 'revoke', keyId: undefined, data: undefined }, () => ({ body })),
    )
    await other.ns.receive(entries.filter((bytes) => isOf(writer, bytes)))
    expect(await other.ns.healer.owedKeys()).toEqual([])
    return {
      owner,
      removed,
      writer,
      hostile,
      admin,
      other,
      grant,
      entries: entries.filter((bytes) => isOf(writer, bytes)),
    }
  }

  test('by an adopt', async () => {
    const { owner, writer, other, grant, entries } = await ended('owner')
    const { header, hash } = decodeEntry(entries.at(-1) ?? expect.fail('it wrote something'))
    const place = { incarnation: header.incarnation, seq: header.seq, hash }
    const body = encodeAuthBody({ kind: 'adopt', agent: writer.id, grant: grant.hash, ...place })
    await give(
      [other],
      forge(owner, { kind: 'adopt', keyId: undefined, data: undefined }, () => ({ body })),
    )
    expect(await other.ns.healer.owedKeys()).toEqual([writer.id])
  })

  test('by the removal of who ended it', async () => {
    const { owner, writer, admin, other } = await ended('admin')
    const [grant = expect.fail('it has a grant')] = owner.ns.membership.grantsOf(admin.id)
    const body = encodeAuthBody({ kind: 'revoke', agent: admin.id, grants: [grant.hash], cuts: [] })
    await give(
      [other],
      forge(owner, { kind: 'revoke', keyId: undefined, data: undefined }, () => ({ body })),
    )
    expect(await other.ns.healer.owedKeys()).toEqual([writer.id])
  })

  test('by the fork of who began an epoch', async () => {
    const { owner, hostile, admin, members, join } = await misled()
    await healAll(members)
    expect(await owner.ns.healer.owedKeys()).toEqual([])
    const agent = (await join(41)).id
    await admin.write('begins a chain')
    const body = encodeAuthBody({ kind: 'grant', agent, role: 'reader', sealed: false, via: undefined })
    const another = forge(admin, { kind: 'grant', keyId: undefined, data: undefined }, () => ({ body }))
    await admin.ns.members.rotate()
    await converge(...members)
    const artifact = await hostile.write('under the epoch of who forks')
    await converge(...members)
    expect(await owner.ns.healer.owedKeys()).toEqual([])
    await give([owner], another)
    expect(await owner.ns.healer.owedKeys()).toEqual([hostile.id])
    expect(await owner.read(artifact)).toBe('under the epoch of who forks')
  })
})
