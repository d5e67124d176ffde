import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { parseArtifactId } from '../../src/encoding/index.ts'
import { LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

/** Passes connections on to a port, and keeps all that goes through, as a relay could. */
async function startTap(port: number) {
  const seen: Buffer[] = []
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const target = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => to.destroy())
      from.on('data', (data) => {
        seen.push(data)
        to.write(data)
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get bytes(): Buffer {
      return Buffer.concat(seen)
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function portOf(addresses: readonly string[]): number {
  return Number(
    addresses.map((one) => /\/tcp\/([0-9]+)(?:\/p2p\/|$)/.exec(one)?.[1]).find((port) => port !== undefined),
  )
}

test('who passes on what two agents say to each other learns neither who they are nor anything that they share', async () => {
  await using agents = new LocalAgents()
  const [alice, bob] = [await agents.start(), await agents.start()]
  await using tap = await startTap(portOf(alice.network.addresses()))
  await bob.client.agent.add({ name: 'alice', did: alice.client.did })
  await alice.client.agent.add({ name: 'bob', did: bob.client.did })
  bob.network.addAddresses(alice.id, [`/ip4/127.0.0.1/tcp/${tap.port}`])
  await bob.network.ping(alice.id)
  const data = Buffer.from('what only bob is to read, a good deal of it. '.repeat(3_000))
  const secret = { name: 'the-name-of-it.txt', contentType: 'text/x-very-special', metadata: { colour: 'ultramarine' } }
  const { id: artifactId } = await alice.client.artifact.create({ ...secret, data })
  await alice.client.artifact.share({ artifactId, withAgents: ['bob'], message: 'between the two of us' })
  await eventually(async () => expect(await bob.client.artifact.listShared()).toMatchObject({ items: [secret] }))
  expect(Buffer.from(await bob.client.artifact.download({ artifactId }))).toEqual(data)

  const seen = tap.bytes
  expect(seen.length).toBeGreaterThan(data.length)
  const words: Record<string, string | Uint8Array> = {
    ...{ name: secret.name, type: secret.contentType, metadata: 'ultramarine', content: data.subarray(0, 24) },
    ...{ message: 'between the two of us', artifact: artifactId, 'artifact, raw': parseArtifactId(artifactId) },
    ...{ namespace: alice.namespace().log.id, did: alice.client.did, 'other did': bob.client.did },
    ...{ key: alice.id, 'other key': bob.id },
  }
  for (const [what, bytes] of Object.entries(words)) expect(seen.includes(Buffer.from(bytes)), what).toBe(false)
})
