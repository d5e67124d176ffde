import { expect, test } from 'vitest'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { orderedUint64 } from '../encoding/index.ts'
import { keptFeedRows } from './feed.ts'
import { feedStart } from './feed-eras.ts'
import { NamespaceKeys } from './tables.ts'

test('a cursor that is further than the feed is NOT_FOUND: it is of a feed that is gone', async () => {
  const time = new TestTime()
  const node = await new NamespaceNode(1, time).create()
  await node.write('in the backup')
  const restored = new NamespaceNode(1, time, { copyOf: node })
  await node.write('after the backup')
  await restored.open(node.ns.id)
  const cursor = node.ns.feed.cursor
  await expect(restored.ns.feed.follow({ after: cursor }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const waiting = node.ns.feed.follow({ after: cursor }).next()
  await node.write('the next')
  expect(await waiting).toMatchObject({ value: { kind: 'created', cursor: { row: cursor.row + 1 } } })
})

test('a cursor from what was lost when an older copy was put back is NOT_FOUND, however far the feed has come again', async () => {
  const time = new TestTime()
  const node = await new NamespaceNode(1, time).create()
  await node.write('in the backup')
  const kept = node.ns.feed.cursor
  const restored = new NamespaceNode(1, time, { copyOf: node })
  await node.write('lost')
  await node.write('lost as well')
  const lost = node.ns.feed.cursor
  // As a node that finds that its data was put back: under another incarnation.
  Object.assign(restored, { env: { ...restored.env, incarnation: new Uint8Array(16).fill(9) } })
  await restored.open(node.ns.id)
  for (const name of ['again', 'and', 'again']) await restored.write(name)
  expect(restored.ns.feed.cursor.row).toBeGreaterThan(lost.row)
  await expect(restored.ns.feed.follow({ after: lost }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const names: unknown[] = []
  const first = restored.ns.feed.cursor
  for await (const { cursor } of restored.ns.feed.follow({ after: kept })) {
    names.push(cursor.row)
    if (cursor.row === first.row) break
  }
  expect(names).toHaveLength(3)
  await restored.open()
  await expect(restored.ns.feed.follow({ after: lost }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const waiting = restored.ns.feed.follow({ after: first }).next()
  await restored.write('the next')
  expect(await waiting).toMatchObject({ value: { kind: 'created', cursor: { row: first.row + 1 } } })
})

test('the cursor of now is after what can be read already and before what cannot, while a batch is under way', async () => {
  const node = await new NamespaceNode(1, new TestTime()).create()
  await node.write('before')
  const { row } = node.ns.feed.cursor
  const { batch } = node.store
  const [started, apply, applied, end] = [0, 1, 2, 3].map(() => Promise.withResolvers<void>())
  node.store.batch = async (...given) => {
    started?.resolve()
    await apply?.promise
    await batch.apply(node.store, given)
    applied?.resolve()
    await end?.promise
  }
  const writing = node.write('the next')
  await started?.promise
  expect((await node.ns.feed.cursorNow()).row).toBe(row)
  apply?.resolve()
  await applied?.promise
  const { items } = await node.ns.catalog.list({ limit: 10 })
  expect(items).toHaveLength(2)
  const now = node.ns.feed.cursorNow()
  end?.resolve()
  await writing
  expect((await now).row).toBe(row + 1)
})

test('a cursor of a log that was left is NOT_FOUND in the one that takes its place, which tells everything from its start', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  await owner.write('first')
  const joins = async () => {
    const reader = await new NamespaceNode(2, time).join(owner)
    if (owner.ns.roleOf(reader.id) === undefined) await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await reader.pull(owner)
    return reader
  }
  const { cursor: before } = (await joins()).ns.feed
  for (const name of ['second', 'third', 'fourth']) await owner.write(name)
  time.nowMs += 1
  const { ns } = await joins()
  await expect(ns.feed.follow({ after: before }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const kinds: string[] = []
  for await (const { kind, cursor } of ns.feed.follow({ after: feedStart })) {
    kinds.push(kind)
    if (cursor.row === ns.feed.cursor.row) break
  }
  expect(kinds).toEqual(['created', 'created', 'created', 'created'])
})

test('of a feed the newest rows are kept, counted from its first one', async () => {
  const node = await new NamespaceNode(1, new TestTime()).create()
  await node.write('first')
  const { row } = node.ns.feed.cursor
  const keys = new NamespaceKeys(node.ns.id)
  const keyOf = (number: number) => keys.key('feed', orderedUint64(number))
  const value = (await node.store.get(keyOf(row))) ?? expect.fail('there is a row')
  // As if as many had been written as are kept.
  await node.store.batch([{ type: 'put', key: keyOf(row + keptFeedRows - 1), value }], { sync: true })
  await node.open()
  await node.write('one more')
  expect(await node.store.get(keyOf(row))).toBeUndefined()
  expect(node.ns.feed.cursor.row).toBe(row + keptFeedRows)
  await expect(node.ns.feed.follow({ after: feedStart }).next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
})
