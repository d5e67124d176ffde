import { describe, expect, test, vi } from 'vitest'
import { converge, NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { agentOf, forge, hold, readable } from '../../test/support/sharing-nodes.ts'
import { signCapability } from '../capability/index.ts'
import { bytesText, equalBytes, toHex } from '../encoding/index.ts'
import { decodeUnverifiedEntry, type EntryHeader } from '../log/index.ts'
import { sealShareBody } from '../sharing/index.ts'
import { type CopiedMember, copiedMember } from './copied-member.test-helper.ts'
import { damage } from './damage.test-helper.ts'
import type { Share } from './index.ts'
import { readKeyRow } from './key-rows.ts'
import { labelledBoxesKey } from './labelled-boxes.ts'

/** All hear of the fork, its author first: who knows of it tells nobody of what is beyond, but what it says again. Gives how many entries those were. */
async function learnOfTheFork({ owner, one, copy, members }: CopiedMember): Promise<number> {
  await owner.pull(copy)
  await one.pull(owner)
  const written = await one.ns.healer.run()
  await converge(...members)
  return written
}

const only = ([share]: readonly Share[]) => share ?? expect.fail('nothing was shared')

describe('what was shared on a branch that counts for nothing', () => {
  test('and taken back again opens nothing that others write who never held the share', async () => {
    const team = await copiedMember()
    const { owner, one, copy, admin, bob, artifact, members } = team
    const share = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
    // Bob hears of it at once, and tells nobody.
    await bob.pull(one)
    await hold(bob, [share])
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
    await owner.pull(copy)
    await one.pull(owner)
    await one.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await learnOfTheFork(team)
    await admin.update(artifact, 'two', 'report')
    await converge(...members)
    await bob.pull(owner)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
    expect(await readable(one, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('the others list once it is said again, once, and its audience reads what they write', async () => {
    const team = await copiedMember()
    const { owner, one, copy, admin, bob, artifact, members } = team
    const share = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)], message: 'have a look' }))
    expect(await owner.ns.sharing.of(artifact)).toEqual([])
    expect(await learnOfTheFork(team)).toBe(2)
    for (const node of [owner, one, admin, copy]) {
      const [listed, ...others] = await node.ns.sharing.of(artifact)
      expect(listed).toMatchObject({ share: { claims: share.claims, message: 'have a look' }, refusal: undefined })
      expect(others).toEqual([])
      expect(await node.ns.healer.run()).toBe(0)
    }
    expect((await one.ns.sharing.own()).of(artifact)).toHaveLength(1)
    // A fresh key, which all shares that are known get.
    await owner.ns.members.revoke({ agent: admin.id })
    await owner.update(artifact, 'two', 'report')
    await converge(...members)
    await bob.pull(owner)
    await hold(bob, [share])
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('and taken back there is taken back before it is said again: nobody hears of the one without the other', async () => {
    const team = await copiedMember()
    const { owner, one, copy, bob, artifact } = team
    const { claims } = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
    await one.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    const before = new Set((await Array.fromAsync(one.ns.held.all())).map(({ bytes }) => bytesText(bytes)))
    await owner.pull(copy)
    await one.pull(owner)
    for (const bytes of await Array.fromAsync(owner.ns.held.all())) before.add(bytesText(bytes.bytes))
    await one.ns.healer.run()
    const said = (await Array.fromAsync(one.ns.held.all()))
      .filter(({ bytes }) => !before.has(bytesText(bytes)))
      .map(({ bytes }) => decodeUnverifiedEntry(bytes).header)
      .sort((a, b) => a.seq - b.seq)
    expect(said.map(({ kind }) => kind)).toEqual(['revoke-capability', 'share', 'keys'])
    expect(said[1]?.data?.jti).toEqual(claims.jti)
  })

  test('is said again though another has written an entry of that name', async () => {
    const team = await copiedMember()
    const { owner, one, copy, admin, bob, artifact } = team
    const share = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
    const { jti } = share.claims
    await owner.pull(copy)
    await one.pull(owner)
    const [epoch] = admin.ns.keyring.epochHeads()
    if (epoch === undefined) return expect.fail('it has an epoch')
    const { artifactSalt } = share
    const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [], jti }
    const forged = forge(admin, { kind: 'share', keyId: epoch.id, data }, (place) => {
      const key = { secret: epoch.secret, namespace: admin.ns.id, artifact }
      const at = { namespace: admin.ns.id, author: admin.id, ...place }
      return { body: sealShareBody(key, new Uint8Array(8), at, admin.env.random(12)) }
    })
    expect((await admin.ns.receive([forged])).stored).toBe(1)
    await one.pull(admin)
    expect(await one.ns.shares.entriesOf(artifact, jti)).toHaveLength(2)
    await one.ns.sharing.of(artifact)
    const reading = vi.spyOn(one.ns.log, 'unverified')
    await learnOfTheFork(team)
    // There may be any number of them.
    expect(reading.mock.calls.map(([hash]) => toHex(hash))).not.toContain(toHex(decodeUnverifiedEntry(forged).hash))
    expect((await owner.ns.sharing.of(artifact)).map((listed) => listed.share.claims)).toEqual([share.claims])
  })

  test('its author does not say again once the branch is adopted', async () => {
    const team = await copiedMember()
    const { owner, one, copy, bob, artifact, members } = team
    await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await owner.pull(one)
    const [tip] = [...owner.ns.held.tips()].filter(({ author }) => Buffer.compare(author, one.id) === 0)
    await owner.pull(copy)
    await owner.ns.members.adopt({ hash: tip?.hash as Uint8Array })
    await converge(...members)
    expect(await one.ns.healer.run()).toBe(0)
    expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
  })

  test('its author does not say again, only whom it gave keys to, under another role', async () => {
    const team = await copiedMember()
    const { owner, one, copy, bob, artifact, members } = team
    const share = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
    await owner.pull(copy)
    await one.pull(owner)
    await owner.ns.members.revoke({ agent: one.id })
    await owner.ns.members.grant({ agent: one.id, role: 'writer' })
    await converge(...members)
    await one.ns.healer.run()
    await converge(...members)
    expect(await owner.ns.sharing.of(artifact)).toEqual([])
    await owner.update(artifact, 'two', 'report')
    await converge(...members)
    await hold(bob, [share])
    await bob.pull(owner)
    expect((await readable(bob, artifact))[2]).toBeUndefined()
  })
})

test('keys that were sealed for another’s share on a branch that counts for nothing are used no more once that has ended', async () => {
  const team = await copiedMember()
  const { owner, one, copy, admin, bob, artifact, members, join } = team
  const eve = await join(6)
  const withEve = await admin.ns.sharing.share({ artifact, audience: [agentOf(eve)] })
  await owner.pull(admin)
  await owner.ns.sharing.unshare({ artifact, audience: [agentOf(eve)] })
  // Written by who has not heard of bob, under a fresh key.
  const share = only(await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
  await owner.update(artifact, 'two', 'report')
  await one.pull(admin)
  await one.pull(owner)
  expect(await one.ns.healer.run()).toBeGreaterThan(0)
  await bob.pull(one)
  await hold(bob, [share])
  expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  await owner.pull(copy)
  await one.pull(owner)
  await admin.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
  await owner.pull(admin)
  await learnOfTheFork(team)
  await admin.update(artifact, 'three', 'report')
  await converge(...members)
  await bob.pull(owner)
  await eve.pull(owner)
  expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  await hold(eve, withEve)
  expect(await readable(eve, artifact)).toEqual({ 1: 'one' })
})

/** Kinds of what a node writes meanwhile, in order. */
async function writtenBy({ ns }: NamespaceNode, work: () => Promise<unknown>): Promise<EntryHeader['kind'][]> {
  const written: EntryHeader['kind'][] = []
  const stop = ns.subscribe((change) => {
    written.push(...change.written.map((bytes) => decodeUnverifiedEntry(bytes).header.kind))
  })
  await work()
  stop()
  return written
}

/** Hashes (hex) of what a node wrote and others are not told of. */
function hiddenOf({ ns, id }: NamespaceNode): string[] {
  const own = [...ns.held.tips()].filter(({ author }) => equalBytes(author, id))
  return own.flatMap((tip) => [...(ns.membership.shownOf(tip)?.hidden?.hashes ?? [])])
}

/** A node on which another one runs from now on with a copy of its store. */
const copyOf = async (node: NamespaceNode, seed: number, { time }: CopiedMember) =>
  await new NamespaceNode(seed, time, { copyOf: node, agent: node.agent }).open(node.ns.id)

/** A node hears of a fork of its chain from whoever has heard of both branches: who has heard of one only cannot tell it from the other. */
async function hearOfTheFork(node: NamespaceNode, copy: NamespaceNode, by: NamespaceNode): Promise<void> {
  await by.pull(copy)
  await by.pull(node)
  await node.pull(by)
}

/** Writes a version under a key that none was written under before. */
async function updateUnderFreshKey({ owner, join, artifact }: CopiedMember, text: string): Promise<void> {
  const audience = [agentOf(await join(9))]
  await owner.ns.sharing.share({ artifact, audience })
  await owner.ns.sharing.unshare({ artifact, audience })
  await owner.update(artifact, text, 'report')
}

/** Goes on beside what the node that it is a copy of writes, which hears of that by the owner. */
async function forkBeside(node: NamespaceNode, copy: NamespaceNode, { owner }: CopiedMember): Promise<void> {
  for (const text of ['on a branch', 'on it too', 'and once more'])
    await copy.write(`${text} ${toHex(copy.env.random(4))}`)
  await owner.pull(copy)
  await node.pull(owner)
}

describe('what stands on a branch that counts for nothing', () => {
  test('is read once, and nothing is committed for it, whatever others say meanwhile', async () => {
    const team = await copiedMember()
    const { one, admin, bob, artifact } = team
    await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await learnOfTheFork(team)
    const reading = vi.spyOn(one.ns.log, 'readableMany')
    const committing = vi.spyOn(one.store, 'batch')
    await one.ns.healer.run()
    const forOthers = committing.mock.calls.length
    for (const byte of [1, 2, 3]) {
      await admin.ns.sharing.revokeCapabilities([new Uint8Array(16).fill(byte)])
      await one.pull(admin)
      committing.mockClear()
      expect(await one.ns.healer.run()).toBe(0)
      expect(committing).toHaveBeenCalledTimes(forOthers)
    }
    const read = new Set(reading.mock.calls.flatMap(([hashes]) => hashes.map(toHex)))
    expect(hiddenOf(one).length).toBeGreaterThan(1)
    for (const hash of hiddenOf(one)) expect(read).not.toContain(hash)
  })

  test('is said again, once, when what said it stands on one too', async () => {
    const team = await copiedMember()
    const { owner, one, copy, bob, artifact, members } = team
    await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await owner.pull(copy)
    await one.pull(owner)
    await one.write('on the next chain')
    const another = await copyOf(one, 7, team)
    // What stands where the branches begin is their proof, and all are told of it.
    await one.write('beside the other copy')
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['share', 'keys'])
    await forkBeside(one, another, team)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['share', 'keys'])
    await converge(...members)
    expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
    expect(await one.ns.healer.run()).toBe(0)
  })

  test('is said again when what another said stands on one', async () => {
    const team = await copiedMember()
    const { owner, one, copy, admin, writer, bob, artifact } = team
    await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    // Under a fresh key, by who has not heard of bob: whoever has gives him that.
    await updateUnderFreshKey(team, 'two')
    for (const node of [one, writer]) for (const from of [admin, owner]) await node.pull(from)
    const another = await copyOf(writer, 8, team)
    await writer.write('beside the copy')
    for (const node of [one, writer]) expect(await writtenBy(node, () => node.ns.healer.run())).toEqual(['keys'])
    await admin.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await owner.pull(copy)
    for (const from of [writer, owner, admin]) await one.pull(from)
    expect(await one.ns.healer.run()).toBe(0)
    await forkBeside(one, another, team)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['keys'])
  })

  test('and was given under the role that its author has again is said again then', async () => {
    const team = await copiedMember()
    const { owner, one, copy, bob, artifact } = team
    await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await owner.pull(copy)
    await owner.ns.members.grant({ agent: one.id, role: 'admin' })
    await one.pull(owner)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['keys'])
    await owner.pull(one)
    await owner.ns.members.grant({ agent: one.id, role: 'writer' })
    await one.pull(owner)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['share'])
    await owner.pull(one)
    expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
  })

  test('is said again once where there is no room to note where', async () => {
    const team = await copiedMember()
    const { owner, one, copy, admin, artifact } = team
    const version = await one.ns.catalog.get(artifact)
    const { artifactSalt = expect.fail() } = (await one.ns.held.entry(version?.entry as Uint8Array))?.header.data ?? {}
    const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [] }
    const label = { jti: new Uint8Array(16).fill(7), epoch: undefined }
    const keyIds = Array.from({ length: 8 }, (_, at) => new Uint8Array(16).fill(at))
    const boxes = keyIds.map((keyId) => ({ keyId, tag: new Uint8Array(8), box: new Uint8Array(48), label }))
    const keys = { wraps: [], ephemeral: new Uint8Array(32), boxes }
    for (let count = 0; count < 150; count += 1)
      await one.ns.receive([forge(one, { kind: 'keys', keyId: keyIds[0], data }, () => ({ keys }))])
    await hearOfTheFork(one, copy, owner)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(keyIds.map(() => 'keys'))
    // Each row keeps those that sort first, so what was said just now is not in all of them.
    const hidden = hiddenOf(one)
    const isLeftOut = async (keyId: Uint8Array) => {
      const row = await one.store.get(labelledBoxesKey(one.ns.keys, artifact, keyId, label))
      return readKeyRow(row, keyId).boxed.every((hash) => hidden.includes(toHex(hash)))
    }
    expect(await Promise.all(keyIds.map(isLeftOut))).toContain(true)
    for (const byte of [1, 2]) {
      await admin.ns.sharing.revokeCapabilities([new Uint8Array(16).fill(byte)])
      await one.pull(admin)
      expect(await one.ns.healer.run()).toBe(0)
      await one.open()
      expect(await one.ns.healer.run()).toBe(0)
    }
  })

  test('is said again but what of it is damaged, and when what told of it is', async () => {
    const team = await copiedMember()
    const { one, copy, admin, writer, artifact, time } = team
    const audience = [20, 21, 22].map((seed) => agentOf(new NamespaceNode(seed, time)))
    const [first, ...others] = await one.ns.sharing.share({ artifact, audience })
    const ended: Uint8Array[] = []
    one.ns.subscribe(({ entries }) => ended.push(...[...entries].map(({ hash }) => hash)))
    await one.ns.sharing.revokeCapabilities([new Uint8Array(16).fill(9)])
    await hearOfTheFork(one, copy, writer)
    for (const hash of [first?.entry, ended[0]]) await damage(one, hash as Uint8Array)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['share', 'keys', 'share', 'keys'])
    await admin.pull(one)
    const listed = (await admin.ns.sharing.of(artifact)).map(({ share }) => share)
    const names = (shares: readonly Share[]) => shares.map(({ claims }) => toHex(claims.jti)).sort()
    expect(names(listed)).toEqual(names(others))
    // Its chain is whole: that is not its newest entry.
    await damage(one, listed[0]?.entry as Uint8Array)
    await one.open()
    await admin.ns.sharing.revokeCapabilities([new Uint8Array(16).fill(1)])
    await one.pull(admin)
    expect(await writtenBy(one, () => one.ns.healer.run())).toEqual(['share'])
    expect(await one.ns.healer.run()).toBe(0)
    await admin.pull(one)
    expect(await admin.ns.sharing.of(artifact)).toHaveLength(2)
  })

  test('is said again in batches of some 200 entries, however much it is', async () => {
    const team = await copiedMember()
    const { owner, one, copy, admin, writer, artifact } = team
    await updateUnderFreshKey(team, 'two')
    await one.pull(owner)
    const audience = Array.from({ length: 150 }, (_, at) => agentOf(new NamespaceNode(20 + at, team.time)))
    await one.ns.sharing.share({ artifact, audience })
    await hearOfTheFork(one, copy, writer)
    const batches: number[] = []
    one.ns.subscribe(({ appended }) => batches.push(appended))
    await one.ns.healer.run()
    expect(batches.reduce((sum, appended) => sum + appended, 0)).toBe(150 * 3)
    expect(Math.max(...batches)).toBeLessThanOrEqual(200)
    await admin.pull(one)
    const listed = await admin.ns.sharing.of(artifact)
    expect(listed.filter(({ share }) => equalBytes(share.claims.issuer, one.id))).toHaveLength(150)
  })
})

test.each([
  { gateways: 3, keys: 1 },
  { gateways: 15, keys: 9 },
])(
  'a link with $gateways gateways opens $keys keys to each of them once it is said again',
  async ({ gateways, keys }) => {
    const team = await copiedMember()
    const { owner, one, copy, writer, artifact, time, join } = team
    for (let number = 2; number <= keys; number += 1) await updateUnderFreshKey(team, `text ${number}`)
    await one.pull(owner)
    const audience = await Promise.all(Array.from({ length: gateways }, (_, at) => join(20 + at)))
    audience.sort((a, b) => Buffer.compare(a.id, b.id))
    const [grant] = one.ns.membership.grantsOf(one.id)
    const notBefore = Math.floor(time.nowMs / 1000)
    const share = await one.ns.sharing.recordLink(
      signCapability(one.agent, {
        kind: 'link',
        issuer: one.id,
        grant: grant?.hash as Uint8Array,
        namespace: one.ns.id,
        artifact,
        audience: audience.map(agentOf),
        jti: one.env.random(16),
        notBefore,
        expires: notBefore + 3_600,
        pinned: undefined,
        via: [],
        name: undefined,
        contentType: undefined,
        disposition: 'inline',
        ip: undefined,
        maxUses: undefined,
      }),
    )
    await hearOfTheFork(one, copy, writer)
    await one.ns.healer.run()
    await owner.pull(one)
    for (const gateway of audience) {
      await gateway.pull(owner)
      await hold(gateway, [share])
      expect(Object.values(await readable(gateway, artifact))).not.toContain('denied')
      expect(Object.keys(await readable(gateway, artifact))).toHaveLength(keys)
    }
    expect(await one.ns.healer.run()).toBe(0)
    await one.open()
    expect(await one.ns.healer.run()).toBe(0)
  },
)
