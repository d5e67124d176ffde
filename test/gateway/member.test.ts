import { expect, test } from 'vitest'
import { seededBytes } from '../client/contract-support.ts'
import { eventually, type TestNode, TestNodes } from '../replication/nodes.ts'
import { ask, codeOf } from './ask.ts'

const content = seededBytes('member gateway', 3 * 1024 * 1024)

const refusal = async (url: string) => {
  const answer = await ask(url)
  return `${answer.status} ${codeOf(answer)}`
}

/** A namespace of which the gateway is a member in some role. */
async function teamWith(nodes: TestNodes, role: 'reader' | 'replica', maxViewAgeSeconds = 60) {
  const { owner, others } = await nodes.team([role])
  const [gateway] = others as [TestNode]
  await gateway.node.client.agent.add({ name: 'owner', ticket: await owner.node.client.agent.ticket() })
  await gateway.stop()
  await gateway.start({ gateway: { maxViewAgeSeconds } })
  // What is looked at begins with the two connected: who dials whom again, and when, is another matter.
  await gateway.node.ping('owner')
  const url = gateway.node.gateway?.url ?? ''
  const { artifact } = owner.node.client
  const { id: artifactId } = await artifact.create({ name: 'shared.bin', data: content })
  const gateways = [{ agent: gateway.node.did, url }]
  return {
    owner,
    gateway,
    artifact,
    artifactId,
    link: (options = {}) => artifact.getSignedUrl({ artifactId, gateways, ...options }),
  }
}

test('a reader’s gateway serves links of the namespace, pinned and following, until they are revoked or it cannot know', async () => {
  await using nodes = new TestNodes()
  const { owner, artifact, artifactId, link } = await teamWith(nodes, 'reader', 2)
  const [pinned, latest] = [await link(), await link({ version: 'latest' })]
  for (const { url } of [pinned, latest]) {
    await eventually(async () => expect((await ask(url)).body.equals(content)).toBe(true))
  }
  await artifact.update({ artifactId, data: new Uint8Array(3) })
  await eventually(async () => expect((await ask(latest.url)).body.length).toBe(3))
  expect((await ask(pinned.url)).body.equals(content)).toBe(true)
  await artifact.revokeSignedUrl({ jti: pinned.jti })
  await eventually(async () => expect(await refusal(pinned.url)).toBe('403 REVOKED'))
  await owner.stop()
  await eventually(async () => expect(await refusal(latest.url)).toBe('503 STALE_VIEW'))
})

test('a replica’s gateway, which has no keys, serves a link to a version by the key in it', async () => {
  await using nodes = new TestNodes()
  const { gateway, artifact, artifactId, link } = await teamWith(nodes, 'replica')
  const { url } = await link()
  await eventually(async () => expect((await ask(url)).body.equals(content)).toBe(true))
  await expect(gateway.node.client.artifact.download({ artifactId })).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  const latest = await link({ version: 'latest' })
  await eventually(async () => expect((await ask(latest.url)).body.equals(content)).toBe(true))
  await artifact.delete({ artifactId })
  await eventually(async () => expect(await refusal(url)).toBe('404 NOT_FOUND'))
})

test('a gateway that is a member no more serves others’ links by the right in them, from others, and loses nothing that it kept', async () => {
  await using nodes = new TestNodes()
  const { owner, gateway, artifact, artifactId, link } = await teamWith(nodes, 'reader')
  const { client } = owner.node
  const { id: other } = await artifact.createSnippet({ name: 'other', content: 'not linked' })
  const getOther = () => gateway.node.client.artifact.get({ artifactId: other })
  await eventually(getOther)
  const [pinned, latest] = [await link(), await link({ version: 'latest' })]
  for (const { url } of [pinned, latest])
    await eventually(async () => expect((await ask(url)).body.equals(content)).toBe(true))
  const isOut = async () =>
    await eventually(async () =>
      expect((await gateway.node.status()).ended.map(({ name }) => name)).toEqual(['shared']),
    )
  await client.namespace.revoke({ agent: gateway.node.did })
  await isOut()
  await expect(getOther()).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  for (const { url } of [pinned, latest])
    await eventually(async () => expect((await ask(url)).body.equals(content)).toBe(true))
  await artifact.update({ artifactId, data: new Uint8Array(3) })
  await eventually(async () => expect((await ask(latest.url)).body.length).toBe(3))
  await artifact.revokeSignedUrl({ jti: pinned.jti })
  await eventually(async () => expect(await refusal(pinned.url)).toBe('403 REVOKED'))
  await isOut()
  await expect(getOther()).rejects.toMatchObject({ code: 'ACCESS_DENIED' })

  await client.namespace.grant({ agent: gateway.node.did, role: 'reader' })
  await eventually(getOther)
  await eventually(async () => expect(await refusal(latest.url)).toBe('200 undefined'))
  expect((await ask(latest.url)).body.length).toBe(3)
})

test('a gateway that is a member no more serves links of who was given a role since: of that it knows nothing by itself', async () => {
  await using nodes = new TestNodes()
  const { owner, gateway } = await teamWith(nodes, 'reader')
  const { client } = owner.node
  await client.namespace.revoke({ agent: gateway.node.did })
  await eventually(async () => expect((await gateway.node.status()).ended).toHaveLength(1))
  const { node: carl } = await nodes.start('carl')
  await gateway.node.client.agent.add({ name: 'carl', ticket: await carl.client.agent.ticket() })
  await client.namespace.grant({ agent: carl.did, role: 'writer' })
  await carl.client.namespace.join({ ticket: await client.namespace.ticket() })
  const { id: artifactId } = await carl.client.artifact.create({ namespace: 'shared', name: 'of carl', data: content })
  const gateways = [{ agent: gateway.node.did, url: gateway.node.gateway?.url ?? '' }]
  const { url, jti } = await carl.client.artifact.getSignedUrl({ artifactId, gateways })
  await eventually(async () => expect((await ask(url)).body.equals(content)).toBe(true))
  await carl.client.artifact.revokeSignedUrl({ jti })
  await eventually(async () => expect(await refusal(url)).toBe('403 REVOKED'))
})

test('a writer’s own gateway refuses its links as soon as it knows that its role was taken away', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer'])
  const [writer] = others as [TestNode]
  await writer.node.client.agent.add({ name: 'owner', ticket: await owner.node.client.agent.ticket() })
  await writer.stop()
  await writer.start({ gateway: {} })
  await writer.node.ping('owner')
  const { id: artifactId } = await writer.node.client.artifact.create({
    name: 'mine',
    data: content,
    namespace: 'shared',
  })
  const { url } = await writer.node.client.artifact.getSignedUrl({ artifactId })
  await eventually(async () => expect((await ask(url)).status).toBe(200))
  await owner.node.client.namespace.revoke({ agent: writer.node.did })
  await eventually(async () => expect((await writer.node.status()).ended).toHaveLength(1))
  // Nobody has to be there to say so.
  await owner.stop()
  expect(await refusal(url)).toBe('403 REVOKED')
  await writer.stop()
  await writer.start({ gateway: { port: Number(new URL(url).port) } })
  expect(await refusal(url)).toBe('403 REVOKED')
})
