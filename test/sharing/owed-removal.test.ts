import { expect, test } from 'vitest'
import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { putPartial } from '../../src/namespace/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const text = async ({ client }: LocalAgent, artifactId: string) =>
  Buffer.from(await client.artifact.download({ artifactId })).toString()

/** Has the disk give errors at removals until the returned function is called; `tried` resolves at the first. */
function failRemovals({ env }: LocalAgent) {
  const { removeBlocks } = env
  const { promise: tried, resolve } = Promise.withResolvers<void>()
  Object.assign(env, {
    removeBlocks: async () => {
      resolve()
      throw new ArtifactHubError('STORAGE_FAILED', 'the disk gives an error')
    },
  })
  return { tried, mend: () => Object.assign(env, { removeBlocks }) }
}

test('who joins anew what could not be removed when it left keeps what it has of it then, over a restart', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const ticket = await owner.client.namespace.ticket()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'ours' })
  await eventually(async () => expect(await text(bob, id)).toBe('ours'))
  await bob.client.namespace.use({ namespace: 'personal' })
  const { mend } = failRemovals(bob)
  await failureOf(bob.client.namespace.leave({ namespace: 'shared' }), 'STORAGE_FAILED')
  await failureOf(bob.client.namespace.join({ ticket }), 'STORAGE_FAILED')
  mend()
  await bob.client.namespace.join({ ticket })
  const { id: own } = await bob.client.artifact.createSnippet({ namespace: 'shared', name: 'own', content: 'by bob' })

  await owner.stop()
  await bob.stop()
  await bob.start()
  expect([await text(bob, id), await text(bob, own)]).toEqual(['ours', 'by bob'])
})

test('who is shared with anew, when what it had before could not be removed, reads it over a restart', async () => {
  await using agents = new LocalAgents()
  const [alice, bob] = [await agents.start(), await agents.start()]
  await alice.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  const { artifact } = alice.client
  const { id: artifactId } = await artifact.createSnippet({ name: 'note', content: 'lent' })
  await artifact.share({ artifactId, withAgents: ['bob'] })
  await eventually(async () => expect(await text(bob, artifactId)).toBe('lent'))
  const { tried, mend } = failRemovals(bob)
  await artifact.unshare({ artifactId, agents: ['bob'] })
  await tried
  mend()
  await artifact.share({ artifactId, withAgents: ['bob'] })
  await eventually(async () => expect(await text(bob, artifactId)).toBe('lent'))

  await alice.stop()
  await bob.stop()
  await bob.start()
  expect(await text(bob, artifactId)).toBe('lent')
})

test('who is shared with anew while what it had before still cannot be removed reads it once it can', async () => {
  await using agents = new LocalAgents()
  const [alice, bob] = [await agents.start(), await agents.start()]
  await alice.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  const { artifact } = alice.client
  const { id: artifactId } = await artifact.createSnippet({ name: 'note', content: 'lent' })
  await artifact.share({ artifactId, withAgents: ['bob'] })
  await eventually(async () => expect(await text(bob, artifactId)).toBe('lent'))
  const { tried, mend } = failRemovals(bob)
  await artifact.unshare({ artifactId, agents: ['bob'] })
  await tried
  mend()
  const again = failRemovals(bob)
  await artifact.share({ artifactId, withAgents: ['bob'] })
  await again.tried
  again.mend()
  await eventually(async () => {
    bob.advance(1_000)
    expect(await text(bob, artifactId)).toBe('lent')
  })
})

/** Has the disk give an error at the write that forgets what was shared of a namespace, once. */
function failToForget({ env: { store } }: LocalAgent, id: Uint8Array): Promise<void> {
  const key = toHex(putPartial(id).key)
  const batch = store.batch.bind(store)
  const { promise: tried, resolve } = Promise.withResolvers<void>()
  Object.assign(store, {
    batch: async (...[changes, options]: Parameters<typeof batch>) => {
      if (!changes.some((one) => one.type === 'del' && toHex(one.key) === key)) return await batch(changes, options)
      Object.assign(store, { batch })
      resolve()
      throw new ArtifactHubError('STORAGE_FAILED', 'the disk is full')
    },
  })
  return tried
}

test('who is shared with anew, or let in, when what it had before could not even be forgotten, has all of it, and starts again after it left', async () => {
  await using agents = new LocalAgents()
  const [alice, bob] = [await agents.start(), await agents.start()]
  await alice.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  await alice.client.namespace.create({ name: 'shared' })
  await alice.client.namespace.use({ namespace: 'shared' })
  const { log } = alice.namespace()
  const { artifact } = alice.client
  const { id: artifactId } = await artifact.createSnippet({ name: 'note', content: 'lent' })
  await artifact.share({ artifactId, withAgents: ['bob'] })
  await eventually(async () => expect(await text(bob, artifactId)).toBe('lent'))
  const tried = failToForget(bob, log.id)
  await artifact.unshare({ artifactId, agents: ['bob'] })
  await tried
  await artifact.share({ artifactId, withAgents: ['bob'] })
  await eventually(async () => expect(await text(bob, artifactId)).toBe('lent'))

  const triedAgain = failToForget(bob, log.id)
  await artifact.unshare({ artifactId, agents: ['bob'] })
  await triedAgain
  await alice.client.namespace.grant({ agent: 'bob', role: 'writer' })
  await bob.client.namespace.join({ ticket: await alice.client.namespace.ticket() })
  await eventually(async () => expect(await text(bob, artifactId)).toBe('lent'))
  await eventually(() => expect(toHex(bob.namespace('shared').log.held.vectorHash)).toBe(toHex(log.held.vectorHash)))
  await bob.client.namespace.leave({ namespace: 'shared' })
  await bob.stop()
  await bob.start()
  expect((await bob.client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])
})
