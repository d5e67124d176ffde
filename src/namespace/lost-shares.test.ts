import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf, forge, hold, readable } from '../../test/support/sharing-nodes.ts'
import { bytesText } from '../encoding/index.ts'
import { decodeUnverifiedEntry } from '../log/index.ts'
import { sealShareBody } from '../sharing/index.ts'
import type { Share } from './index.ts'

/** A writer runs on two machines with copies of one store, and nobody has heard of the fork yet. */
async function copied() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const [one, admin, bob, eve] = (await Promise.all(
    [2, 3, 4, 5].map((seed) => new NamespaceNode(seed, time).join(owner)),
  )) as [NamespaceNode, NamespaceNode, NamespaceNode, NamespaceNode]
  await owner.ns.grant({ agent: one.id, role: 'writer' })
  await owner.ns.grant({ agent: admin.id, role: 'admin' })
  const artifact = await owner.write('one', 'report')
  await converge(owner, one, admin, bob, eve)
  await one.write('before')
  await converge(owner, one, admin, bob, eve)
  const copy = await new NamespaceNode(2, time, { copyOf: one }).open(owner.ns.id)
  await one.write('beside what the copy writes')
  for (const text of ['on the other branch', 'there too', 'and there']) await copy.write(text)
  return { owner, one, copy, admin, bob, eve, artifact, members: [owner, one, copy, admin] }
}

type Team = Awaited<ReturnType<typeof copied>>

/** All hear of the fork, its author first: who knows of it tells nobody of what is beyond, but what it says again. Gives how many entries those were. */
async function learnOfTheFork({ owner, one, copy, members }: Team): Promise<number> {
  await owner.pull(copy)
  await one.pull(owner)
  const written = await one.ns.heal()
  await converge(...members)
  return written
}

const only = ([share]: readonly Share[]) => share ?? expect.fail('nothing was shared')

describe('what was shared on a branch that counts for nothing', () => {
  test('and taken back again opens nothing that others write who never held the share', async () => {
    const team = await copied()
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
    const team = await copied()
    const { owner, one, copy, admin, bob, artifact, members } = team
    const share = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)], message: 'have a look' }))
    expect(await owner.ns.sharing.of(artifact)).toEqual([])
    expect(await learnOfTheFork(team)).toBe(2)
    for (const node of [owner, one, admin, copy]) {
      const [listed, ...others] = await node.ns.sharing.of(artifact)
      expect(listed).toMatchObject({ share: { claims: share.claims, message: 'have a look' }, refusal: undefined })
      expect(others).toEqual([])
      expect(await node.ns.heal()).toBe(0)
    }
    expect((await one.ns.sharing.own()).of(artifact)).toHaveLength(1)
    // A fresh key, which all shares that are known get.
    await owner.ns.revoke({ agent: admin.id })
    await owner.update(artifact, 'two', 'report')
    await converge(...members)
    await bob.pull(owner)
    await hold(bob, [share])
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('and taken back there is taken back before it is said again: nobody hears of the one without the other', async () => {
    const team = await copied()
    const { owner, one, copy, bob, artifact } = team
    const { claims } = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
    await one.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    const before = new Set((await Array.fromAsync(one.ns.allEntries())).map(({ bytes }) => bytesText(bytes)))
    await owner.pull(copy)
    await one.pull(owner)
    for (const bytes of await Array.fromAsync(owner.ns.allEntries())) before.add(bytesText(bytes.bytes))
    await one.ns.heal()
    const said = (await Array.fromAsync(one.ns.allEntries()))
      .filter(({ bytes }) => !before.has(bytesText(bytes)))
      .map(({ bytes }) => decodeUnverifiedEntry(bytes).header)
      .sort((a, b) => a.seq - b.seq)
    expect(said.map(({ kind }) => kind)).toEqual(['revoke-capability', 'share', 'keys'])
    expect(said[1]?.data?.jti).toEqual(claims.jti)
  })

  test('is said again though another has written an entry of that name', async () => {
    const team = await copied()
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
    await learnOfTheFork(team)
    expect((await owner.ns.sharing.of(artifact)).map((listed) => listed.share.claims)).toEqual([share.claims])
  })

  test('its author does not say again once the branch is adopted', async () => {
    const team = await copied()
    const { owner, one, copy, bob, artifact, members } = team
    await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await owner.pull(one)
    const [tip] = [...owner.ns.tips()].filter(({ author }) => Buffer.compare(author, one.id) === 0)
    await owner.pull(copy)
    await owner.ns.adopt({ hash: tip?.hash as Uint8Array })
    await converge(...members)
    expect(await one.ns.heal()).toBe(0)
    expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
  })

  test('its author does not say again, only whom it gave keys to, under another role', async () => {
    const team = await copied()
    const { owner, one, copy, bob, artifact, members } = team
    const share = only(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
    await owner.pull(copy)
    await one.pull(owner)
    await owner.ns.revoke({ agent: one.id })
    await owner.ns.grant({ agent: one.id, role: 'writer' })
    await converge(...members)
    await one.ns.heal()
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
  const team = await copied()
  const { owner, one, copy, admin, bob, eve, artifact, members } = team
  const withEve = await admin.ns.sharing.share({ artifact, audience: [agentOf(eve)] })
  await owner.pull(admin)
  await owner.ns.sharing.unshare({ artifact, audience: [agentOf(eve)] })
  // Written by who has not heard of bob, under a fresh key.
  const share = only(await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
  await owner.update(artifact, 'two', 'report')
  await one.pull(admin)
  await one.pull(owner)
  expect(await one.ns.heal()).toBeGreaterThan(0)
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
