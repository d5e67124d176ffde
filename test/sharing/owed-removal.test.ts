import { expect, test } from 'vitest'
import { ArtifactHubError } from '../../src/errors.ts'
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
