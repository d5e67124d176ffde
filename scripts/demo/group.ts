import { join } from 'node:path'
import { isHubError } from 'artifact-hub'
import { Agent } from './agent.ts'
import { must, say, step, timed, until } from './show.ts'

const group = 'data-team'

/**
 * An agent shares one artifact with a group that it is not in; one of the two is removed from it.
 * @throws when anything is not as promised
 */
export async function shareWithGroup(folder: string): Promise<void> {
  step('A group of two, and Olga, who is not in it and has only its ticket')
  await using stack = new AsyncDisposableStack()
  const start = async (name: string): Promise<Agent> => stack.use(await Agent.start(name, join(folder, name)))
  const [dana, emil, olga] = (await Promise.all(['dana', 'emil', 'olga'].map(start))) as [Agent, Agent, Agent]
  await meet(dana, emil)
  await meet(dana, olga)
  await dana.ask('createGroup', { name: group })
  await dana.ask('addToGroup', { group, agents: ['emil'] })
  await olga.ask('addContact', { name: group, ticket: await dana.ask('groupTicket', { group }) })
  say('being added by somebody that Emil knows is enough: he joins nothing')

  step('Olga shares one artifact with the group; both read it, and nothing else of hers')
  const { id: artifactId } = await olga.ask('createSnippet', { name: 'figures.txt', content: 'the figures of May' })
  const { ms } = await timed(async () => {
    await until('Olga shares with the group', async () => {
      // On a busy machine its members may take long to answer.
      return await olga.ask('share', { artifactId, withGroups: [group] }).catch((error: unknown) => {
        if (isHubError(error, 'UNAVAILABLE')) return undefined
        throw error
      })
    })
    for (const member of [dana, emil]) await readsFrom(member, artifactId, 'the figures of May')
  })
  say(`shared, and read by both, in ${(ms / 1_000).toFixed(1)} s`)
  for (const { through, name, role } of await olga.ask('access', { artifactId }))
    say(`can read it: ${name ?? 'Olga herself'} (${role ?? through})`)

  step('Emil is removed from the group, and Olga writes a new version')
  await dana.ask('removeFromGroup', { group, agents: ['emil'] })
  await until('Emil is told', async () => (await emil.ask('sharedWithMe', undefined)).length === 0)
  const { id } = await olga.ask('updateSnippet', { artifactId, content: 'the figures of June' })
  await readsFrom(dana, id, 'the figures of June')
  say('Dana reads the new version')
  const refused = await emil.ask('download', { artifactId }).catch((error: unknown) => error)
  must(isHubError(refused, 'ACCESS_DENIED'), 'who was removed from the group is refused')
  say(`Emil: ${refused.code}. What he had fetched before nobody can take back`)
}

async function meet(one: Agent, other: Agent): Promise<void> {
  await one.ask('addContact', { name: other.name, ticket: await other.ask('ticket', undefined) })
  await other.ask('addContact', { name: one.name, ticket: await one.ask('ticket', undefined) })
}

async function readsFrom(agent: Agent, artifactId: string, content: string): Promise<void> {
  await until(`${agent.name} reads what Olga shared`, async () => {
    const read = await agent.ask('download', { artifactId }).catch((error: unknown) => {
      if (isHubError(error)) return undefined
      throw error
    })
    return read === content
  })
}
