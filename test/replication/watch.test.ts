import { expect, test } from 'vitest'
import type { ArtifactEvent } from '../../node/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { eventually, type TestNode, TestNodes } from './nodes.ts'

/** Collects events until it is stopped. */
function collect(events: AsyncIterable<ArtifactEvent>) {
  const seen: ArtifactEvent[] = []
  const done = (async () => {
    for await (const event of events) seen.push(event)
  })()
  done.catch(() => {})
  return { seen, done }
}

const brief = (events: readonly ArtifactEvent[]) =>
  events.map(({ kind, artifact }) => [kind, artifact?.name, artifact?.version])

test('what any member does is seen as it happens, from the call on', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer'])
  const [writer] = others as [TestNode]
  const { artifact } = owner.node.client
  await artifact.createSnippet({ name: 'before', content: 'x' })
  await eventually(() => writer.node.client.artifact.get({ name: 'before' }))
  const stop = new AbortController()
  const watching = collect(writer.node.client.artifact.watch({ namespace: 'shared', signal: stop.signal }))
  const { id } = await artifact.createSnippet({ name: 'one', content: '1' })
  await artifact.update({ artifactId: id, content: '2' })
  await eventually(() => writer.node.client.artifact.get({ artifactId: id, version: 2 }))
  await writer.node.client.artifact.delete({ artifactId: id })
  await eventually(() => expect(watching.seen).toHaveLength(3))
  expect(watching.seen.map(({ kind }) => kind)).toEqual(['created', 'updated', 'deleted'])
  expect(watching.seen.every(({ artifactId }) => artifactId === id)).toBe(true)
  stop.abort(new Error('enough'))
  await expect(watching.done).rejects.toThrow('enough')
})

test('it ends at once when it is left, whatever else has happened', async () => {
  await using nodes = new TestNodes()
  const { client } = (await nodes.start('one')).node
  const events = client.artifact.watch()[Symbol.asyncIterator]()
  const first = events.next()
  for (const name of ['one', 'two', 'three']) await client.artifact.createSnippet({ name, content: name })
  const cursor = (await first).value?.cursor
  await events.return?.()
  for await (const { artifact } of client.artifact.watch({ cursor })) {
    expect(artifact?.name).toBe('two')
    break
  }
})

test('a cursor goes on where it was in a later process, over all namespaces, and misses nothing', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['reader'])
  const [reader] = others as [TestNode]
  const first = collect(reader.node.client.artifact.watch())
  const one = await owner.node.client.artifact.createSnippet({ name: 'one', content: '1' })
  await eventually(() => expect(brief(first.seen)).toEqual([['created', 'one', 1]]))
  const own = await reader.node.client.artifact.createSnippet({ namespace: 'personal', name: 'own', content: 'x' })
  await eventually(() => expect(first.seen.map(({ artifactId }) => artifactId)).toEqual([one.id, own.id]))
  const cursor = first.seen[1]?.cursor
  await reader.stop()
  await failureOf(first.done, 'CLOSED')

  await owner.node.client.artifact.update({ artifactId: one.id, content: '2' })
  await owner.node.client.artifact.createSnippet({ name: 'two', content: '2' })
  await reader.start()
  const second = collect(reader.node.client.artifact.watch({ cursor }))
  const third = await reader.node.client.namespace.create({ name: 'third' })
  await reader.node.client.artifact.createSnippet({ namespace: 'third', name: 'in third', content: '3' })
  await eventually(() =>
    expect(brief(second.seen).toSorted()).toEqual([
      ['created', 'in third', 1],
      ['created', 'two', 1],
      ['updated', 'one', 2],
    ]),
  )
  // Each namespace in its own order, and one artifact's events alone.
  const only = collect(reader.node.client.artifact.watch({ cursor, artifactId: one.id }))
  await eventually(() => expect(brief(only.seen)).toEqual([['updated', 'one', 2]]))
  // The last event's cursor knows the place of all.
  const rest = collect(reader.node.client.artifact.watch({ cursor: second.seen[2]?.cursor }))
  await owner.node.client.artifact.createSnippet({ name: 'last', content: '4' })
  await eventually(() => expect(brief(rest.seen)).toEqual([['created', 'last', 1]]))
  // A namespace that goes takes its events along, and ends a watch of it alone.
  const gone = collect(reader.node.client.artifact.watch({ namespace: third.id }))
  await reader.node.client.namespace.delete({ namespace: third.id })
  await gone.done
})

test('a cursor that watch did not give is refused at the call', async () => {
  await using nodes = new TestNodes()
  const { node } = await nodes.start('alone', { network: 'offline', listen: [] })
  for (const cursor of ['', 'x', 'AAAA', Buffer.from([0x80, 0]).toString('base64url')]) {
    expect(() => node.client.artifact.watch({ cursor })).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  }
  expect(() => node.client.artifact.watch({ namespace: 'none' })).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND' }),
  )
})

test('a cursor of another node is NOT_FOUND where the two have something in common: their feeds have an order of their own', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['reader'])
  const [reader] = others as [TestNode]
  const stop = new AbortController()
  const { signal } = stop
  const watching = collect(owner.node.client.artifact.watch({ signal }))
  const { id } = await owner.node.client.artifact.createSnippet({ name: 'one', content: '1' })
  await eventually(() => expect(watching.seen).toHaveLength(1))
  await eventually(() => reader.node.client.artifact.get({ artifactId: id }))
  const cursor = watching.seen[0]?.cursor
  await failureOf(collect(reader.node.client.artifact.watch({ cursor })).done, 'NOT_FOUND')
  // Of what else is here it says nothing: that is read from its beginning.
  await reader.node.client.artifact.createSnippet({ namespace: 'personal', name: 'own', content: 'x' })
  const own = collect(reader.node.client.artifact.watch({ namespace: 'personal', cursor, signal }))
  await eventually(() => expect(brief(own.seen)).toEqual([['created', 'own', 1]]))
  stop.abort(new Error('enough'))
  for (const { done } of [watching, own]) await expect(done).rejects.toThrow('enough')
})
