import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { seededBytes } from '../client/contract-support.ts'
import { eventually, type TestNode, TestNodes } from '../replication/nodes.ts'
import { ControlledNode } from '../support/controlled-node.ts'
import { ask, codeOf } from './ask.ts'
import { isInstalled, run } from './programs.ts'

const MiB = 1024 * 1024
const sizeBytes = 96 * MiB

/** An owner in a process of its own, and a writer that is a gateway and has nothing of the content yet. */
async function ownerAndGateway(cleanUp: AsyncDisposableStack): Promise<{
  readonly owner: ControlledNode
  readonly gateway: TestNode
  readonly nodes: TestNodes
  readonly link: () => Promise<string>
  readonly ticket: string
}> {
  const nodes = cleanUp.use(new TestNodes())
  const gateway = await nodes.start('gateway', { gateway: {} })
  const dataDir = join(gateway.dataDir, '..', 'owner')
  const owner = cleanUp.use(await ControlledNode.start({ dataDir, listen: ['/ip4/127.0.0.1/tcp/0'] }))
  await owner.call('client.namespace.create', { name: 'shared' })
  await owner.call('client.namespace.grant', { namespace: 'shared', agent: gateway.node.did, role: 'writer' })
  const ticket = await owner.call<string>('client.namespace.ticket', { namespace: 'shared' })
  await gateway.node.client.namespace.join({ ticket })
  const { id } = await owner.write('shared', 'large.bin', 'dying provider', sizeBytes)
  const { artifact } = gateway.node.client
  await eventually(() => artifact.get({ artifactId: id }))
  const gateways = [{ agent: gateway.node.did, url: gateway.node.gateway?.url as string }]
  return {
    owner,
    gateway,
    nodes,
    ticket,
    link: async () => (await artifact.getSignedUrl({ artifactId: id, gateways })).url,
  }
}

/** A download that waits after its first bytes. */
async function begun(link: string): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    get(link, { agent: false }, (response) => {
      response.once('data', (first) => {
        response.pause()
        response.unshift(first)
        resolve(response)
      })
    }).once('error', reject)
  })
}

test('a provider that dies midway ends the download, and no client takes what it has for the whole', async () => {
  await using cleanUp = new AsyncDisposableStack()
  const { owner, gateway, link } = await ownerAndGateway(cleanUp)
  const response = await begun(await link())
  expect(response.statusCode).toBe(200)
  expect(response.headers['content-length']).toBe(String(sizeBytes))
  await owner.kill()
  let bytes = 0
  response.on('data', (data) => {
    bytes += data.length
  })
  response.resume()
  const ended = await new Promise<string>((resolve) => {
    response.once('end', () => resolve('end'))
    response.once('error', () => resolve('error'))
  })
  expect(ended).toBe('error')
  expect(bytes).toBeLessThan(sizeBytes)
  if (isInstalled('curl')) {
    const path = join(gateway.dataDir, '..', 'curl.bin')
    const { exitCode } = await run('curl', ['-sS', '--fail', '-o', path, await link()])
    expect(exitCode).not.toBe(0)
  }
  // Nothing of it is here, so it can be told before anything was sent.
  const last = await ask(await link(), { headers: { range: 'bytes=-1000' } })
  expect([last.status, codeOf(last)]).toEqual([504, 'UNAVAILABLE'])
})

test('when another provider has it, the download goes on from there', async () => {
  await using cleanUp = new AsyncDisposableStack()
  const { owner, nodes, link, ticket } = await ownerAndGateway(cleanUp)
  const other = await nodes.start('other')
  await owner.call('client.namespace.grant', { namespace: 'shared', agent: other.node.did, role: 'reader' })
  await other.node.client.namespace.join({ ticket })
  const { items } = await eventually(async () => {
    const page = await other.node.client.artifact.list({ namespace: 'shared' })
    expect(page.items).toHaveLength(1)
    return page
  })
  const path = join(other.dataDir, '..', 'copy.bin')
  await other.node.client.artifact.downloadFile({ artifactId: items[0]?.id as string, path })
  const digest = createHash('sha256').update(seededBytes('dying provider', sizeBytes)).digest('hex')
  expect(
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
  ).toBe(digest)
  const response = await begun(await link())
  await owner.kill()
  const hash = createHash('sha256')
  for await (const data of response) hash.update(data)
  expect(hash.digest('hex')).toBe(digest)
})
