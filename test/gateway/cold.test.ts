import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../node/gateway/gateway-options.ts'
import { decodeCapability, formatLinkUrl, parseLinkUrl, signCapability } from '../../src/capability/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { seededBytes } from '../client/contract-support.ts'
import { eventually, type TestNode, TestNodes } from '../replication/nodes.ts'
import { ask, codeOf } from './ask.ts'

const MiB = 1024 * 1024
const large = seededBytes('cold gateway', 5 * MiB)

/** An agent with content, and a gateway that has never heard of its namespace. Each knows the other as a contact unless it is a stranger. */
async function apart(nodes: TestNodes, gateway: GatewayOptions = {}, { areContacts = true } = {}) {
  const author = await nodes.start('author')
  const host = await nodes.start('gateway', { gateway })
  await author.node.client.agent.add({ name: 'gw', ticket: await host.node.client.agent.ticket() })
  if (areContacts) await host.node.client.agent.add({ name: 'author', did: author.node.did })
  const { artifact } = author.node.client
  const { id: artifactId } = await artifact.create({ name: 'large.bin', data: large })
  return {
    author,
    host,
    artifact,
    artifactId,
    link: (options = {}) => artifact.getSignedUrl({ artifactId, gateways: ['gw'], ...options }),
  }
}

const refusal = async (url: string) => {
  const answer = await ask(url)
  return `${answer.status} ${codeOf(answer)}`
}

const namespacesOf = async ({ node }: TestNode) => (await node.client.namespace.list()).map(({ name }) => name)

describe('a gateway that has no part in the namespace', () => {
  test('serves a link to a version, whole and in part, and keeps nothing of it on its disk', async () => {
    await using nodes = new TestNodes()
    const { host, artifact, artifactId, link } = await apart(nodes)
    const { url } = await link()
    const range = await ask(url, { headers: { range: `bytes=${4 * MiB}-${4 * MiB + 999}` } })
    expect([range.status, codeOf(range)]).toEqual([206, undefined])
    expect(range.body.equals(large.subarray(4 * MiB, 4 * MiB + 1000))).toBe(true)
    const head = await ask(url, { method: 'HEAD' })
    expect(head.headers).toMatchObject({
      'content-length': String(large.length),
      'content-type': 'application/octet-stream',
    })
    expect((await ask(url)).body.equals(large)).toBe(true)
    expect(await namespacesOf(host)).toEqual(['personal'])
    expect((await host.node.du()).reduce((sum, { packBytes }) => sum + packBytes, 0)).toBe(0)

    // Small content, which is in its entry and not in a pack.
    const { id } = await artifact.createSnippet({ name: 'note.txt', content: 'a note' })
    const note = await artifact.getSignedUrl({ artifactId: id, gateways: ['gw'] })
    expect((await ask(note.url)).body.toString()).toBe('a note')

    // The version that it was made for, whatever comes after it.
    await artifact.update({ artifactId, data: new Uint8Array(3) })
    expect((await ask(url)).body.equals(large)).toBe(true)
  })

  test('stops within moments of a revocation, and goes on with other links', async () => {
    await using nodes = new TestNodes()
    const { artifact, link } = await apart(nodes)
    const [first, second, third] = [await link(), await link(), await link()]
    for (const { url } of [first, second]) expect((await ask(url)).status).toBe(200)
    // The one that carries the namespace, and another.
    for (const { url, jti } of [first, third]) {
      await artifact.revokeSignedUrl({ jti })
      await eventually(async () => expect(await refusal(url)).toBe('403 REVOKED'))
    }
    expect((await ask(second.url)).status).toBe(200)
    expect(await refusal(first.url)).toBe('403 REVOKED')
  })

  test('follows a link to whatever is current, past new versions with fresh keys', async () => {
    await using nodes = new TestNodes()
    const { author, artifact, artifactId, link } = await apart(nodes)
    const latest = await link({ version: 'latest' })
    expect((await ask(latest.url)).body.equals(large)).toBe(true)
    const second = seededBytes('second', 2 * MiB)
    await artifact.update({ artifactId, data: second })
    await eventually(async () => expect((await ask(latest.url)).body.equals(second)).toBe(true))
    // Another link of the same artifact ends, so the next version is under another key.
    const other = await link({ version: 'latest' })
    await artifact.revokeSignedUrl({ jti: other.jti })
    await author.node.client.artifact.update({ artifactId, data: large, name: 'third.bin' })
    await eventually(async () => {
      const { body, headers } = await ask(latest.url)
      expect(body.equals(large)).toBe(true)
      expect(headers['content-disposition']).toContain('third.bin')
    })
    await artifact.delete({ artifactId })
    await eventually(async () => expect(await refusal(latest.url)).toBe('404 NOT_FOUND'))
  })

  test('serves it whichever of a fleet it is, a version and then what is current', async () => {
    await using nodes = new TestNodes()
    const { author, host, artifact, artifactId } = await apart(nodes)
    const second = await nodes.start('second', { gateway: {} })
    await second.node.client.agent.add({ name: 'author', did: author.node.did })
    await author.node.client.agent.add({ name: 'gw2', ticket: await second.node.client.agent.ticket() })
    const urls = async (version?: 'latest') => {
      const { url } = await artifact.getSignedUrl({ artifactId, gateways: ['gw', 'gw2'], version })
      const [first = '', other = ''] = [host, second].map(({ node }) => node.gateway?.url)
      expect(url.startsWith(`${first}/a/`)).toBe(true)
      return [url, url.replace(first, other)]
    }
    for (const url of await urls()) expect((await ask(url)).body.equals(large)).toBe(true)
    const latest = await urls('latest')
    for (const url of latest) expect((await ask(url)).body.equals(large)).toBe(true)
    await artifact.update({ artifactId, data: new Uint8Array(3) })
    for (const url of latest) await eventually(async () => expect((await ask(url)).body).toHaveLength(3))
  })

  test('ends with the issuer’s role', async () => {
    await using nodes = new TestNodes()
    const { owner, others } = await nodes.team(['writer'])
    const [writer] = others as [TestNode]
    const host = await nodes.start('gateway', { gateway: { open: true, allowPrivateProviders: true } })
    const { artifact, agent } = writer.node.client
    await agent.add({ name: 'gw', ticket: await host.node.client.agent.ticket() })
    const { id } = await artifact.create({ name: 'of a writer', data: large })
    await eventually(() => owner.node.client.artifact.get({ artifactId: id }))
    const { url } = await artifact.getSignedUrl({ artifactId: id, gateways: ['gw'] })
    expect((await ask(url)).status).toBe(200)
    await owner.node.client.namespace.revoke({ agent: writer.name })
    await eventually(async () => expect(await refusal(url)).toBe('403 REVOKED'))
  })

  test('says that it cannot tell when nobody who could is there, and comes back', async () => {
    await using nodes = new TestNodes()
    const { author, link } = await apart(nodes, { maxViewAgeSeconds: 1 })
    const { url } = await link()
    expect((await ask(url)).status).toBe(200)
    const [address = ''] = (await author.node.client.agent.self()).addresses
    await author.stop()
    await eventually(async () => expect(await refusal(url)).toBe('503 STALE_VIEW'))
    await author.start({ listen: [address.replace(/\/p2p\/.*$/, '')] })
    await eventually(async () => expect((await ask(url)).status).toBe(200))
  })

  test('serves nobody a link that its issuer had no right to make, and does not say whether there is such a namespace', async () => {
    await using nodes = new TestNodes()
    const { link } = await apart(nodes, { open: true, allowPrivateProviders: true })
    const good = await link()
    const { token, ...place } = parseLinkUrl(good.url)
    const { claims } = decodeCapability(token)
    if (claims.kind !== 'link') throw new Error('not a link')
    const forger = new AgentKey(new Uint8Array(randomBytes(32)))
    const forged = (namespace: Uint8Array) => {
      const jti = new Uint8Array(randomBytes(16))
      return formatLinkUrl({
        ...place,
        token: signCapability(forger, { ...claims, issuer: forger.publicKey, namespace, jti }).token,
      })
    }
    const [real, made] = [forged(claims.namespace), forged(new Uint8Array(randomBytes(32)))]
    expect([await refusal(real), await refusal(made)]).toEqual(['503 STALE_VIEW', '503 STALE_VIEW'])
    expect((await ask(good.url)).status).toBe(200)
    expect(await refusal(real)).toBe('403 REVOKED')
    expect((await ask(good.url)).status).toBe(200)
  })
})

describe('whose links a gateway serves', () => {
  test('not a stranger’s, unless it is open to anyone', async () => {
    await using nodes = new TestNodes()
    const { host, author, link } = await apart(nodes, {}, { areContacts: false })
    const { url } = await link()
    expect(await refusal(url)).toBe('403 ACCESS_DENIED')
    await host.node.client.agent.add({ name: 'author', did: author.node.did })
    expect((await ask(url)).status).toBe(200)
  })

  test('a stranger’s without dialling private addresses on its word', async () => {
    await using nodes = new TestNodes()
    const { author, host, link } = await apart(nodes, { open: true }, { areContacts: false })
    const { url } = await link()
    expect(await refusal(url)).toBe('503 STALE_VIEW')
    expect((await host.node.peers()).filter(({ connection }) => connection !== undefined)).toEqual([])
    // What it was told by others it may use.
    await author.node.ping(await host.node.client.agent.ticket())
    await eventually(async () => expect((await ask(url)).status).toBe(200))
  })
})
