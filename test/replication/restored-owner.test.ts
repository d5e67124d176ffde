import { cp, rename, rm } from 'node:fs/promises'
import { expect, test } from 'vitest'
import type { ArtifactHubError } from '../../src/errors.ts'
import { rejectionOf } from '../client/contract-support.ts'
import { acquaint, eventually, type TestNode, TestNodes } from './nodes.ts'

const namespace = 'shared'
const snippet = async ({ node }: TestNode, name: string) =>
  (await node.client.artifact.createSnippet({ namespace, name, content: `${name}, as it was written` })).id
const text = async ({ node }: TestNode, artifactId: string) =>
  Buffer.from(await node.client.artifact.download({ artifactId })).toString()
const haveAll = async (members: readonly TestNode[], written: Readonly<Record<string, string>>) => {
  for (const member of members)
    for (const [name, id] of Object.entries(written))
      await eventually(async () => expect(await text(member, id)).toBe(`${name}, as it was written`))
}

test('an owner put back from a backup removes a member: who came after the backup reads on, and who was removed reads nothing written since', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer', 'writer'])
  const [removed, stays] = others as [TestNode, TestNode]
  await acquaint(owner, removed, stays)
  const written: Record<string, string> = { note: await snippet(owner, 'note') }
  await haveAll(others, written)
  await owner.stop()
  const backup = `${owner.dataDir}-backup`
  await cp(owner.dataDir, backup, { recursive: true, preserveTimestamps: true })

  await owner.start()
  const late = await nodes.start('late')
  await acquaint(owner, removed, stays, late)
  await owner.node.client.namespace.grant({ agent: late.name, role: 'writer' })
  await late.node.client.namespace.join({ ticket: await owner.node.client.namespace.ticket({ namespace }) })
  written.lost = await snippet(owner, 'lost')
  written['of late'] = await snippet(late, 'of late')
  await haveAll([owner, removed, stays, late], written)
  for (const one of [owner, removed, stays, late]) await one.stop()
  await rm(owner.dataDir, { recursive: true })
  await rename(backup, owner.dataDir)

  await owner.start()
  await owner.node.client.namespace.revoke({ namespace, agent: removed.name })
  const since: Record<string, string> = { since: await snippet(owner, 'since') }
  for (const one of [removed, stays, late]) await one.start()
  for (const one of [removed, stays, late]) {
    await one.node.client.agent.add({ name: 'owner-again', ticket: await owner.node.client.agent.ticket() })
    await one.node.ping('owner-again')
  }
  const members = [owner, stays, late]
  await haveAll(members, { ...written, ...since })
  since['of late since'] = await snippet(late, 'of late since')
  since['of stays since'] = await snippet(stays, 'of stays since')
  await haveAll(members, since)

  await eventually(async () => expect((await removed.node.status()).ended).toMatchObject([{ reason: 'REMOVED' }]))
  // It may have been told that there is something, or not even that.
  for (const id of Object.values(since))
    expect(['ACCESS_DENIED', 'NOT_FOUND']).toContain(((await rejectionOf(text(removed, id))) as ArtifactHubError).code)
  for (const { node } of members) {
    const shared = (await node.status()).namespaces.find(({ name }) => name === namespace)
    // A restored backup writes a chain of its own.
    expect(shared).toMatchObject({ forks: [] })
    const roles = (await node.client.namespace.members({ namespace })).map(({ did, role }) => [did, role])
    expect(roles.sort()).toEqual(
      [
        [owner.node.did, 'owner'],
        [stays.node.did, 'writer'],
        [late.node.did, 'writer'],
      ].sort(),
    )
    expect((await node.check()).findings).toEqual([])
  }
})
