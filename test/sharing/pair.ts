import { expect } from 'vitest'
import type { LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

/** Names of the groups that an agent is in. */
export async function groupsOf({ client }: LocalAgent): Promise<string[]> {
  return (await client.group.list()).map(({ name }) => name)
}

/** An owner of a group and somebody in it, who know each other. */
export async function pair(agents: LocalAgents) {
  const [ann, bob] = [await agents.start(), await agents.start()]
  await ann.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'ann', ticket: await ann.client.agent.ticket() })
  await ann.network.ping(bob.id)
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  await ann.client.group.add({ group, agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual(['data-team']))
  return { ann, bob, group }
}
