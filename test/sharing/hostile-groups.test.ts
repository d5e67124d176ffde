import { expect, test } from 'vitest'
import { sealInline } from '../../src/content/index.ts'
import { encodeCanonical, formatGroupId } from '../../src/encoding/index.ts'
import { writeFirstVersion } from '../../src/namespace/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const shared = async ({ client }: LocalAgent) =>
  (await Array.fromAsync(client.artifact.listShared())).map(({ name }) => name)
const groupsOf = async ({ client }: LocalAgent) => (await client.group.list()).map(({ id }) => id)

async function knows(one: LocalAgent, name: string, other: LocalAgent): Promise<void> {
  await one.client.agent.add({ name, ticket: await other.client.agent.ticket() })
  await one.network.ping(other.id)
}

/** As a member that keeps no rules: a record of a share whose content is under a key that nobody else has. */
async function writeClosedRecord({ groups }: LocalAgent, group: string): Promise<void> {
  const { log, quota } = groups.replication.namespaces.findGroup(group)
  const salt = log.env.random(16)
  const artifact = log.artifactOf(salt)
  const [key, other] = [log.newArtifactKey(artifact), log.newArtifactKey(artifact)]
  const { leaf, sha256, ...root } = sealInline(encodeCanonical({ v: 1 }), other.content)
  await writeFirstVersion(log, {
    handle: { artifact, salt, key },
    wrap: undefined,
    isNew: true,
    state: { name: `share-${'0f'.repeat(16)}`, contentType: 'application/vnd.artifact-hub.share', metadata: {} },
    content: { root: { ...root, inline: true, keyId: other.id }, sha256, leaf },
    quota,
    reservation: undefined,
    also: [],
  })
}

test('a record that nobody can open keeps no member from what else is shared with the group', async () => {
  await using agents = new LocalAgents()
  const [ann, mallory, carol, alice] = [
    await agents.start(),
    await agents.start(),
    await agents.start(),
    await agents.start(),
  ]
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  for (const one of [mallory, carol]) await knows(one, 'ann', ann)
  for (const [name, one] of Object.entries({ mallory, carol, alice })) await knows(ann, name, one)
  await ann.client.group.add({ group, agents: ['mallory'] })
  await eventually(async () => expect(await groupsOf(mallory)).toEqual([group]))
  await alice.client.agent.add({ name: 'team', ticket: await ann.client.group.ticket({ group }) })
  const { id: artifactId } = await alice.client.artifact.create({ name: 'figures', data: Buffer.from('one') })
  await alice.client.artifact.share({ artifactId, withGroups: ['team'] })
  for (const one of [ann, mallory]) await eventually(async () => expect(await shared(one)).toEqual(['figures']))

  const before = ann.groups.replication.namespaces.findGroup(group).log.entries
  await writeClosedRecord(mallory, group)
  await eventually(() => expect(ann.groups.replication.namespaces.findGroup(group).log.entries).toBeGreaterThan(before))
  await ann.client.group.add({ group, agents: ['carol'] })
  await eventually(async () => expect(await shared(carol)).toEqual(['figures']))
})

test('a group that a contact adds this agent to does not take the place of another that it knows by that name', async () => {
  await using agents = new LocalAgents()
  const [ann, bob, mallory] = [await agents.start(), await agents.start(), await agents.start()]
  await ann.client.group.create({ name: 'data-team' })
  const theirs = await ann.client.group.ticket({ group: 'data-team' })
  await bob.client.agent.add({ name: 'data-team', ticket: theirs })
  const meant = bob.groups.resolve('data-team').group
  await knows(bob, 'mallory', mallory)
  await knows(mallory, 'bob', bob)
  await mallory.client.group.create({ name: 'data-team' })
  await mallory.client.group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toHaveLength(1))
  const [brought] = bob.groups.replication.namespaces.groups
  await eventually(async () =>
    expect(await bob.client.group.members({ group: brought?.row.name ?? '' })).toHaveLength(2),
  )
  expect(bob.groups.resolve('data-team').group).toEqual(meant)
  const { id: artifactId } = await bob.client.artifact.create({ name: 'secret', data: Buffer.from('for ann’s') })
  const [share] = await bob.client.artifact.share({ artifactId, withGroups: ['data-team'] })
  expect(share?.with.id).toBe(formatGroupId(meant))
  await failureOf(mallory.client.artifact.get({ artifactId }), 'NOT_FOUND')

  // The other way round: nobody is to guess which.
  await mallory.client.group.create({ name: 'ml-team' })
  await mallory.client.group.add({ group: 'ml-team', agents: ['bob'] })
  const names = async () => (await bob.client.group.list()).map(({ name }) => name)
  await eventually(async () => expect(await names()).toContain('ml-team'))
  await bob.client.agent.add({ name: 'ml-team', ticket: theirs })
  await failureOf(bob.client.artifact.share({ artifactId, withGroups: ['ml-team'] }), 'CONFLICT')
})
