import { expect, test } from 'vitest'
import { eventually, TestNodes } from '../replication/nodes.ts'

// More than an agent may open streams for at once.
const many = 260

test('more shares of one namespace than streams may be opened for all arrive, and news of each', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  for (const [one, other] of [
    [alice, bob],
    [bob, alice],
  ] as const) {
    await one.node.client.agent.add({ name: other.name, ticket: await other.node.client.agent.ticket() })
  }
  const { artifact } = alice.node.client
  const ids = await Promise.all(
    Array.from(
      { length: many },
      async (_, at) => (await artifact.createSnippet({ name: `s${at}`, content: 'one' })).id,
    ),
  )
  await Promise.all(ids.map((artifactId) => artifact.share({ artifactId, withAgents: ['bob'] })))
  const { listShared, download } = bob.node.client.artifact
  await eventually(async () => expect(await Array.fromAsync(listShared({ limit: 1000 }))).toHaveLength(many))
  expect((await alice.node.status()).refusedAgents).toEqual([])
  for (const artifactId of [ids[0], ids.at(-1)] as string[]) {
    await artifact.update({ artifactId, content: 'two' })
    await eventually(async () => expect(Buffer.from(await download({ artifactId })).toString()).toBe('two'))
  }
})
