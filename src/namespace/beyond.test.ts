import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { toHex } from '../encoding/index.ts'
import { rowsWithin } from './beyond.ts'

test('a writer who begins chains without end keeps no other chain from being told of', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const [admin, writer, hostile] = [2, 3, 4].map((seed) => new NamespaceNode(seed, time)) as [
    NamespaceNode,
    NamespaceNode,
    NamespaceNode,
  ]
  await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
  for (const { id } of [writer, hostile]) await owner.ns.members.grant({ agent: id, role: 'writer' })
  const machines = Array.from({ length: 9 }, (_, at) => new NamespaceNode(10 + at, time, { agent: hostile.agent }))
  for (const node of [admin, writer, ...machines]) {
    await node.join(owner)
    await converge(owner, node)
    await node.write('something')
    await owner.pull(node)
  }
  const { membership } = owner.ns
  const rows = owner.ns.held.vector()
  expect(rows).toHaveLength(12)
  expect(rowsWithin(rows, membership, 12)).toBe(rows)
  const authors = (max: number) => rowsWithin(rows, membership, max).map(({ author }) => toHex(author))
  const [ownerId, adminId, writerId, hostileId] = [owner, admin, writer, hostile].map(({ id }) => toHex(id))
  expect(authors(5).toSorted()).toEqual([ownerId, adminId, writerId, hostileId, hostileId].toSorted())
  expect(authors(2).toSorted()).toEqual([ownerId, adminId].toSorted())
  // In the order of the vector.
  expect(rowsWithin(rows, membership, 7)).toEqual(rows.filter((row) => rowsWithin(rows, membership, 7).includes(row)))
})
