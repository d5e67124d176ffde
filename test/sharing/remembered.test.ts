import { expect, test } from 'vitest'
import { writeRecord } from '../../sdk/local/groups/group-records.ts'
import { sealEnvelope, signCapability } from '../../src/capability/index.ts'
import { encodeCanonical, toHex } from '../../src/encoding/index.ts'
import { deliver } from '../../src/exchange/index.ts'
import { AgentKey, formatTicket } from '../../src/identity/index.ts'
import { maxTicketAddressBytes, maxTicketAddresses, maxTicketPeers } from '../../src/limits.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const numbered = (number: number) => {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

async function knows(one: LocalAgent, name: string, other: LocalAgent): Promise<void> {
  await one.client.agent.add({ name, ticket: await other.client.agent.ticket() })
  await one.network.ping(other.id)
}

test('a group of hundreds of agents whose addresses are known does not keep its owner’s node from starting again', async () => {
  await using agents = new LocalAgents()
  const owner = await agents.start()
  const { id: group } = await owner.client.group.create({ name: 'data-team' })
  const tickets = Array.from({ length: 300 }, (_, at) => {
    const { publicKey: id } = new AgentKey(numbered(at))
    const addresses = Array.from(
      { length: maxTicketAddresses },
      (_, port) => `/ip6/2a00:1450:4001:80f::${at + 1}/tcp/${4000 + port}`,
    )
    return formatTicket({ kind: 'agent', id, peers: [{ agent: id, addresses }] })
  })
  await owner.client.group.add({ group, agents: tickets })
  await owner.stop()
  await owner.start()
  expect(await owner.client.group.members({ group })).toHaveLength(301)
})

test('whatever addresses a contact names, the node starts again', async () => {
  await using agents = new LocalAgents()
  const [bob, mallory] = [await agents.start(), await agents.start()]
  await knows(bob, 'mallory', mallory)
  const issuer = mallory.id
  const capability = signCapability(mallory.key, {
    ...{ kind: 'share', issuer, grant: numbered(1), namespace: numbered(2), artifact: new Uint8Array(20) },
    ...{ audience: [{ kind: 'agent', id: bob.id }], notBefore: 0, expires: undefined },
    ...{ jti: new Uint8Array(16), after: 0 },
  })
  const said = { capability, name: 'figures', contentType: 'text/plain', sizeBytes: 1, message: undefined }
  const addresses = Array.from({ length: maxTicketAddresses }, () => '€'.repeat(maxTicketAddressBytes))
  const peers = Array.from({ length: maxTicketPeers }, (_, at) => ({ agent: numbered(at), addresses }))
  const { network, env } = mallory
  const options = { network, scheduler: env.scheduler, signal: new AbortController().signal }
  const receipts = await deliver(options, bob.id, {
    envelopes: [sealEnvelope(mallory.key, said)],
    group: undefined,
    peers,
  })
  expect(receipts).toEqual(['taken'])
  await bob.stop()
  await bob.start()
  expect(bob.groups.replication.follows.counts.followed).toBe(1)
})

test('whatever address a member of a group writes down, of what the group brings a ticket can be made', async () => {
  await using agents = new LocalAgents()
  const [ann, mallory, carol] = [await agents.start(), await agents.start(), await agents.start()]
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  for (const one of [mallory, carol]) await knows(one, 'ann', ann)
  for (const [name, one] of Object.entries({ mallory, carol })) await knows(ann, name, one)
  await ann.client.group.add({ group, agents: ['mallory'] })
  await eventually(async () => expect(await mallory.client.group.list()).toHaveLength(1))
  await mallory.client.namespace.create({ name: 'lab' })
  await mallory.client.namespace.grant({ namespace: 'lab', group, role: 'reader' })

  // In the place of what her node wrote.
  const lab = mallory.groups.replication.namespaces.find('lab')
  const open = mallory.groups.replication.namespaces.findGroup(group)
  const peers = [[mallory.id, ['/ip4/1.1.1.1/tcp/4001/ü']]]
  const content = encodeCanonical({ v: 1, ns: lab.row.id, name: 'lab', peers })
  const [contentType, name] = ['application/vnd.artifact-hub.namespace', `namespace-${toHex(lab.row.id)}`]
  await writeRecord(open, { name, contentType, metadata: {}, content })
  await eventually(async () => expect((await ann.client.namespace.list()).map((one) => one.name)).toContain('lab'))

  await ann.client.group.add({ group, agents: ['carol'] })
  await carol.network.ping(ann.id)
  const brought = async () => (await carol.client.namespace.list()).map((one) => one.name)
  await eventually(async () => expect(await brought()).toContain('lab'))
  expect(await carol.client.namespace.ticket({ namespace: 'lab' })).toMatch(/^ahub1/)
})
