import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf } from '../../test/support/sharing-nodes.ts'
import { toHex } from '../encoding/index.ts'
import type { Share } from './share-book.ts'

const given = async ({ ns }: NamespaceNode) => {
  const own = await ns.sharing.own()
  const artifacts = [...own.artifacts].filter((artifact) => own.of(artifact).length > 0)
  return artifacts.map((artifact) => `${toHex(artifact)} ${own.of(artifact).length}`).sort()
}

test('what an agent shares is its own shares in force, whatever comes, wherever it was written', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  const [bob, carol] = [new NamespaceNode(3, time), new NamespaceNode(4, time)]
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  await converge(owner, writer)
  const [first, second, third] = [await owner.write('1'), await owner.write('2'), await writer.write('3')]
  await owner.ns.sharing.share({ artifact: first, audience: [agentOf(bob)] })
  await converge(owner, writer)
  const row = (artifact: Uint8Array, count: number) => `${toHex(artifact)} ${count}`
  expect(await given(owner)).toEqual([row(first, 1)])
  expect(await given(writer)).toEqual([])
  // After the first look, what is new, of others too, and what ends.
  await owner.ns.sharing.share({ artifact: first, audience: [agentOf(carol)], message: 'look' })
  await owner.ns.sharing.share({ artifact: second, audience: [agentOf(bob)], expiresIn: 60 })
  await writer.ns.sharing.share({ artifact: third, audience: [agentOf(bob)] })
  await writer.ns.sharing.share({ artifact: first, audience: [agentOf(carol)] })
  await converge(owner, writer)
  expect(await given(owner)).toEqual([row(first, 2), row(second, 1)].sort())
  expect(await given(writer)).toEqual([row(first, 1), row(third, 1)].sort())
  expect((await owner.ns.sharing.own()).of(first).map(({ message }) => message)).toContain('look')
  await owner.ns.sharing.unshare({ artifact: first, audience: [agentOf(bob)] })
  time.nowMs += 200_000
  expect(await given(owner)).toEqual([row(first, 1)])
  // Another machine of the same agent: its shares are this agent's as well.
  const other = new NamespaceNode(1, time, { copyOf: owner })
  await other.open(owner.ns.id)
  const fourth = await other.write('4')
  await other.ns.sharing.share({ artifact: fourth, audience: [agentOf(bob)] })
  await owner.pull(other)
  expect(await given(owner)).toEqual([row(first, 1), row(fourth, 1)].sort())
  await owner.ns.members.revoke({ agent: writer.id })
  await writer.pull(owner)
  expect(await given(writer)).toEqual([])
})

test('a share is to who gave it what its entry says to who reads it', async () => {
  const owner = await new NamespaceNode(1, new TestTime()).create()
  const artifact = await owner.write('1')
  const audience = [agentOf(new NamespaceNode(3, new TestTime())), agentOf(new NamespaceNode(4, new TestTime()))]
  const plain = await owner.ns.sharing.share({ artifact, audience })
  const other = await owner.ns.sharing.share({ artifact, audience, expiresIn: 60, fromNow: true, message: 'look' })
  const byName = (shares: readonly Share[]) => new Map(shares.map((share) => [toHex(share.entry), share]))
  const listed = async () => byName((await owner.ns.sharing.of(artifact)).map(({ share }) => share))
  const said = await listed()
  expect(said).toEqual(byName([...plain, ...other]))
  await owner.open()
  expect(await listed()).toEqual(said)
})
