/** Strangers who take all the connections of a node that they can, from many addresses: whoever has a name, a role or a share there is let in all the same. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { noise } from '@chainsafe/libp2p-noise'
import type { Libp2p } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import {
  maxConnectionsPerAgent,
  maxConnectionsPerHost,
  maxPendingConnections,
  maxPendingConnectionsPerHost,
  maxStrangerConnections,
} from '../../src/limits.ts'
import { eventually } from '../replication/nodes.ts'

let folder = ''
let stack: AsyncDisposableStack

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-strangers-'))
  stack = new AsyncDisposableStack()
})

afterEach(async () => {
  await stack.disposeAsync()
  await rm(folder, { recursive: true, force: true })
})

async function start(name: string): Promise<ArtifactHubNode> {
  return stack.use(await startNode({ dataDir: join(folder, name), listen: ['/ip4/127.0.0.1/tcp/0'] }))
}

/** Where a node listens for TCP, a multiaddr. */
async function tcpAddress(node: ArtifactHubNode): Promise<string> {
  return (await node.status()).addresses.find((one) => !one.includes('/ws')) ?? ''
}

/** An agent that connects from an address of its own and says nothing more. */
async function stranger(localAddress: string): Promise<Libp2p> {
  const libp2p = await createLibp2p({
    transports: [tcp({ dialOpts: { localAddress } as object })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { reconnectRetries: 0 },
    connectionMonitor: { enabled: false },
  })
  stack.defer(() => libp2p.stop())
  return libp2p
}

/** Strangers who hold all the connections of a node that strangers may have. */
async function crowdOut(target: ArtifactHubNode): Promise<Libp2p[]> {
  const address = multiaddr(await tcpAddress(target))
  const addresses = Array.from(
    { length: Math.ceil(maxStrangerConnections / maxConnectionsPerHost) + 1 },
    (_, at) => `127.0.1.${at + 1}`,
  )
  const crowd = await Promise.all(
    addresses.flatMap((from) =>
      Array.from({ length: maxConnectionsPerHost / maxConnectionsPerAgent }, () => stranger(from)),
    ),
  )
  await eventually(async () => {
    for (let times = 0; times < maxConnectionsPerAgent; times += 1)
      await Promise.allSettled(crowd.map((one) => one.dial(address, { force: true })))
    expect((await target.status()).refusedConnections.stranger).toBeGreaterThan(0)
  })
  return crowd
}

test('connections of strangers leave room for contacts, whoever has a role and whoever shares; not for what waits in the inbox', async () => {
  const target = await start('target')
  const { agent, artifact, inbox, group, namespace } = target.client
  const ticket = await agent.ticket()
  const [contact, member, fellow] = [await start('contact'), await start('member'), await start('fellow')]
  await agent.add({ name: 'contact', did: contact.did })
  await namespace.create({ name: 'shared' })
  await namespace.grant({ namespace: 'shared', agent: member.did, role: 'reader' })
  await group.create({ name: 'group' })
  await group.add({ group: 'group', agents: [fellow.did] })
  const [follower, former, other] = [await start('follower'), await start('former'), await start('other')]
  const { id: artifactId } = await artifact.create({ name: 'own', data: new Uint8Array(1) })
  await artifact.share({ artifactId, withAgents: [follower.did, former.did] })
  await artifact.unshare({ artifactId, agents: [former.did] })
  const [sharer, waiting] = [await start('sharer'), await start('waiting')]
  for (const { client } of [sharer, waiting]) {
    const { id } = await client.artifact.create({ name: 'theirs', data: new Uint8Array(1) })
    await client.artifact.share({ artifactId: id, withAgents: [ticket] })
  }
  const requests = await eventually(async () => {
    const found = await inbox.list()
    expect(found).toHaveLength(2)
    return found
  })
  for (const { id, from } of requests) if (from === sharer.did) await inbox.accept({ id })
  await Promise.all([sharer.close(), waiting.close()])
  await eventually(async () => expect(await target.peers()).toMatchObject([{ did: member.did }]))

  const crowd = await crowdOut(target)
  const arrives = async (node: ArtifactHubNode) => {
    await node.client.agent.add({ name: 'target', ticket })
    return await node.ping('target')
  }
  for (const node of [contact, member, fellow, follower, await start('sharer')])
    expect(await arrives(node)).toBeGreaterThan(0)
  for (const node of [former, other, await start('waiting')])
    await expect(arrives(node)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  // Places are given back.
  await Promise.all(crowd.map((one) => one.stop()))
  await eventually(async () => expect(await other.ping('target')).toBeGreaterThan(0))
})

test('handshakes that one address leaves unfinished keep nobody else out', async () => {
  const target = await start('target')
  const other = await start('other')
  const ticket = await target.client.agent.ticket()
  const port = Number((await tcpAddress(target)).split('/')[4])
  const sockets: Socket[] = []
  stack.defer(() => {
    for (const socket of sockets) socket.destroy()
  })
  await eventually(async () => {
    for (let at = 0; at < maxPendingConnectionsPerHost; at += 1) {
      const socket = connect({ host: '127.0.0.1', port, localAddress: '127.0.1.9' })
      socket.on('error', () => {})
      sockets.push(socket)
      await once(socket, 'connect')
      // What libp2p's begins with, and no more of it.
      socket.write(Uint8Array.of(19))
    }
    expect((await target.status()).refusedConnections.host).toBeGreaterThan(0)
  })
  expect(maxPendingConnectionsPerHost).toBeLessThan(maxPendingConnections)
  await other.client.agent.add({ name: 'target', ticket })
  expect(await other.ping('target')).toBeGreaterThan(0)
})
