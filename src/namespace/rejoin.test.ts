import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { differences } from './derived.test-helper.ts'
import { forgetNamespace, removeRows } from './index.ts'

test('who leaves a namespace and joins it again forks nothing, though those who are there lack what it wrote before', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  const other = await new NamespaceNode(3, time).join(owner)
  for (const { id } of [writer, other]) await owner.ns.members.grant({ agent: id, role: 'writer' })
  await converge(owner, writer, other)
  await writer.write('before')
  // The owner is away.
  await converge(writer, other)

  const { id } = owner.ns
  await writer.ns.close()
  await writer.store.batch(forgetNamespace(id), { sync: true })
  await removeRows(writer.store, id)
  await writer.join(owner)
  await converge(owner, writer)
  await writer.write('after')
  await converge(owner, writer, other)

  for (const node of [owner, writer, other]) {
    expect(node.ns.membership.forks).toEqual([])
    expect(await node.names()).toEqual(['after', 'before'])
    expect(await differences(node.ns)).toEqual([])
  }
  // It stays with its chain.
  const chains = owner.ns.held.vector().length
  await writer.open()
  await writer.write('after a restart')
  await converge(owner, writer, other)
  expect(owner.ns.held.vector()).toHaveLength(chains)
})
