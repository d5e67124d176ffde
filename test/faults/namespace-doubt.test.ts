import { expect, test } from 'vitest'
import type { Client } from '../../sdk/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { KeyRange } from '../../src/storage/index.ts'
import { SimulatedMachine, WatchedStore } from '../support/simulated-machine.ts'

/** A store whose reads fail for as long as it is told to. */
class UnreadableStore extends WatchedStore {
  isReadable = true

  override entries(range: KeyRange, options?: { signal?: AbortSignal }) {
    if (this.isReadable) return super.entries(range, options)
    throw new ArtifactHubError('STORAGE_FAILED', 'unreadable')
  }
}

async function namesIn(client: Client): Promise<string[]> {
  return (await client.namespace.list()).map(({ name }) => name).sort()
}

test('a removal whose batch failed and yet happened is a removal: nothing is acknowledged in what the next start removes', async () => {
  const store = new UnreadableStore()
  const machine = new SimulatedMachine(43, undefined, store)
  {
    await using node = await machine.startNode()
    const { id } = await node.client.namespace.create({ name: 'other' })
    store.failNextBatch = 'after'
    await node.client.namespace.delete({ namespace: 'other' })
    expect(await namesIn(node.client)).toEqual(['personal'])
    expect(await machine.disk.readdir('/packs')).not.toContain(id)
    await expect(
      node.client.artifact.createSnippet({ name: 'late', content: 'x', namespace: id }),
    ).rejects.toMatchObject({ code: 'NOT_FOUND' })
  }
  await using again = await machine.afterPowerCut(() => 0).startNode()
  expect(await namesIn(again.client)).toEqual(['personal'])
})

test('a removal whose batch failed and did not happen leaves a namespace that can be written to, and removed again', async () => {
  const store = new UnreadableStore()
  const machine = new SimulatedMachine(44, undefined, store)
  await using node = await machine.startNode()
  const { artifact, namespace } = node.client
  await namespace.create({ name: 'other' })
  store.failNextBatch = 'before'
  await expect(namespace.delete({ namespace: 'other' })).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  const { id: artifactId } = await artifact.createSnippet({ name: 'kept', content: 'x', namespace: 'other' })
  {
    await using after = await machine.afterPowerCut(() => 0).startNode()
    expect(await namesIn(after.client)).toEqual(['other', 'personal'])
    expect(await after.client.artifact.download({ artifactId })).toEqual(new TextEncoder().encode('x'))
  }
  await namespace.delete({ namespace: 'other' })
  expect(await namesIn(node.client)).toEqual(['personal'])
})

test.each(['before', 'after'] as const)(
  'a making whose batch failed %s it was applied never gives two of one name',
  async (moment) => {
    const store = new UnreadableStore()
    const machine = new SimulatedMachine(45, undefined, store)
    {
      await using node = await machine.startNode()
      store.failNextBatch = moment
      const first = await node.client.namespace.create({ name: 'other' }).catch((error) => error)
      if (moment === 'before') {
        expect(first).toMatchObject({ code: 'STORAGE_FAILED' })
        await node.client.namespace.create({ name: 'other' })
      }
      await expect(node.client.namespace.create({ name: 'other' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
      await node.client.artifact.createSnippet({ name: 'in it', content: 'x', namespace: 'other' })
    }
    await using again = await machine.afterPowerCut(() => 0).startNode()
    expect(await namesIn(again.client)).toEqual(['other', 'personal'])
    expect((await again.check({ readData: true })).findings).toEqual([])
  },
)

test.each([
  ['in vain', 'before', 'STORAGE_FAILED'],
  ['in doubt', 'after', 'NOT_FOUND'],
] as const)('what is written to a namespace that is deleted %s meanwhile says so', async (_, moment, code) => {
  const store = new UnreadableStore()
  await using node = await new SimulatedMachine(47, undefined, store).startNode()
  const { artifact, namespace } = node.client
  await namespace.create({ name: 'other' })
  const { promise: begun, resolve: onBegun } = Promise.withResolvers<void>()
  const { promise: deleted, resolve: onDeleted } = Promise.withResolvers<void>()
  const data = async function* (): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(1_000)
    onBegun()
    await deleted
  }
  const outcome = expect(artifact.create({ name: 'x', data: data(), namespace: 'other' })).rejects.toMatchObject({
    code,
  })
  await begun
  store.failNextBatch = moment
  const removal = await namespace.delete({ namespace: 'other' }).then(
    () => 'NOT_FOUND',
    (error) => error.code,
  )
  expect(removal).toBe(code)
  onDeleted()
  await outcome
})

test('while the store cannot be read a removal in doubt stays open, and the next change settles it first', async () => {
  const store = new UnreadableStore()
  await using node = await new SimulatedMachine(46, undefined, store).startNode()
  const { namespace } = node.client
  const made = await namespace.create({ name: 'other' })
  store.failNextBatch = 'before'
  store.isReadable = false
  await expect(namespace.delete({ namespace: 'other' })).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  await expect(namespace.create({ name: 'other' })).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  store.isReadable = true
  await expect(namespace.create({ name: 'other' })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
  expect((await namespace.get({ namespace: 'other' })).id).toBe(made.id)
})
