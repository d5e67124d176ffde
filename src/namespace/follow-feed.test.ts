import { expect, test } from 'vitest'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'

test('a cursor that is further than the feed is NOT_FOUND: it is of a feed that is gone', async () => {
  const time = new TestTime()
  const node = await new NamespaceNode(1, time).create()
  await node.write('in the backup')
  const restored = new NamespaceNode(1, time, { copyOf: node })
  await node.write('after the backup')
  await restored.open(node.ns.id)
  const cursor = node.ns.feedCursor
  await expect(restored.ns.feed({ after: cursor }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const waiting = node.ns.feed({ after: cursor }).next()
  await node.write('the next')
  expect(await waiting).toMatchObject({ value: { kind: 'created', cursor: cursor + 1 } })
})
