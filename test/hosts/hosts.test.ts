/**
 * Nodes on hosts of their own: network namespaces joined by wires, firewalls and address translation of the kernel. They need root and
 * the programs `ip` (iproute2) and `nft` (nftables), and are skipped without.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StartNodeOptions } from '../../node/index.ts'
import type { Artifact } from '../../sdk/index.ts'
import { formatTicket, parseTicket } from '../../src/identity/index.ts'
import { eventually } from '../replication/nodes.ts'
import { ControlledNode } from '../support/controlled-node.ts'
import { canMakeHosts, type Host, Hosts } from './hosts.ts'

const MB = 1_000_000
const namespace = 'shared'
const onHost = test.skipIf(!canMakeHosts)
if (!canMakeHosts)
  console.warn('Tests on hosts of their own are skipped: they need root, `ip` (iproute2) and `nft` (nftables).')

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-hosts-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

let nodes = 0
const nodeOn = (host: Host, options: Omit<StartNodeOptions, 'dataDir'> = {}) =>
  ControlledNode.start({ dataDir: join(folder, `${nodes++}`), ...options }, host.namespace)

/** Makes the namespace, gives the others a role in it, and gives its ticket. */
async function share(owner: ControlledNode, ...others: readonly ControlledNode[]): Promise<string> {
  await owner.call('client.namespace.create', { name: namespace })
  for (const { did } of others) await owner.call('client.namespace.grant', { namespace, agent: did, role: 'writer' })
  return await owner.call('client.namespace.ticket', { namespace })
}

const reachOf = async (node: ControlledNode, other: ControlledNode) =>
  (await node.status()).peers.find(({ did }) => did === other.did)?.reach.state

const logOf = async (node: ControlledNode) =>
  (await node.status()).namespaces.find(({ name }) => name === namespace)?.logHash

onHost('over a line of 50 ms that loses one packet in a hundred, entries and 20 MB arrive as they were', async () => {
  using hosts = new Hosts()
  const [a, b, middle] = [hosts.host('a'), hosts.host('b'), hosts.host('middle')]
  // The two have no route to each other; whatever passes, passes through the middle.
  hosts.wire('a', [
    [a, '10.9.1.1/24'],
    [middle, '10.9.1.2/24'],
  ])
  hosts.wire('b', [
    [b, '10.9.2.1/24'],
    [middle, '10.9.2.2/24'],
  ])
  const loss = 'type filter hook input priority 0\nnumgen random mod 100 == 0 counter drop'
  hosts.firewall(b, loss)
  hosts.firewall(middle, loss)
  const delay = [join(import.meta.dirname, 'delay-child.ts'), '50', '4001', '10.9.1.1', '4001']
  const passing = spawn('ip', ['netns', 'exec', middle.namespace, process.execPath, ...delay])
  passing.stderr.pipe(process.stderr)
  await using _ = {
    async [Symbol.asyncDispose]() {
      passing.stdin.end()
      await exited
    },
  }
  const exited = once(passing, 'close')
  await once(passing.stdout, 'data')

  await using alice = await nodeOn(a, { listen: ['/ip4/10.9.1.1/tcp/4001'] })
  const [address] = (await alice.status()).addresses
  await using bob = await nodeOn(b, {
    listen: ['/ip4/10.9.2.1/tcp/4001'],
    bootstrap: [(address as string).replace('10.9.1.1', '10.9.2.2')],
  })
  const ticket = await share(alice, bob)
  await bob.call('client.namespace.join', { ticket })
  expect(await bob.call<number>('ping', alice.did)).toBeGreaterThan(100)
  const { id, sha256 } = await alice.write(namespace, 'large', 'over the line', 20 * MB)
  await eventually(async () => expect(await bob.names(namespace)).toEqual(['large']))
  expect(await bob.read(id)).toBe(sha256)
  expect(hosts.counted(b) + hosts.counted(middle)).toBeGreaterThan(50)
})

onHost('two that are parted both go on writing, and have everything of both once they meet again', async () => {
  using hosts = new Hosts()
  const [a, b] = [hosts.host('a'), hosts.host('b')]
  hosts.wire('lan', [
    [a, '10.9.3.1/24'],
    [b, '10.9.3.2/24'],
  ])
  await using alice = await nodeOn(a, { listen: ['/ip4/10.9.3.1/tcp/4001'] })
  await using bob = await nodeOn(b, { listen: ['/ip4/10.9.3.2/tcp/4001'] })
  await bob.call('client.namespace.join', { ticket: await share(alice, bob) })
  const before = await alice.write(namespace, 'before', 'before', 40_000)
  await eventually(async () => expect(await bob.names(namespace)).toEqual(['before']))

  const wall = ['input', 'output'].map(
    (hook) => `type filter hook ${hook} priority 0\noifname "lo" accept\ncounter drop`,
  )
  hosts.firewall(b, ...wall)
  const written: Artifact[] = []
  for (let at = 0; at < 5; at++) {
    written.push(await alice.write(namespace, `a ${at}`, `a ${at}`, 300_000 * at + 1))
    written.push(await bob.write(namespace, `b ${at}`, `b ${at}`, 300_000 * at + 1))
  }
  await alice.call('client.artifact.update', { artifactId: before.id, content: 'by Alice' })
  await bob.call('client.artifact.update', { artifactId: before.id, content: 'by Bob' })
  await eventually(() => expect(hosts.counted(b)).toBeGreaterThan(0))
  expect(await alice.names(namespace)).toEqual(['a 0', 'a 1', 'a 2', 'a 3', 'a 4', 'before'])
  expect(await bob.names(namespace)).toEqual(['b 0', 'b 1', 'b 2', 'b 3', 'b 4', 'before'])

  hosts.firewall(b)
  await eventually(async () => expect(await logOf(alice)).toBe(await logOf(bob)))
  const all = ['before', ...written.map(({ name }) => name)].toSorted()
  for (const node of [alice, bob]) {
    expect(await node.names(namespace)).toEqual(all)
    for (const { id, sha256 } of written) expect(await node.read(id)).toBe(sha256)
    // Both wrote version 2: both are there.
    const versions = await node.call<{ items: unknown[] }>('client.artifact.listVersions', { artifactId: before.id })
    expect(versions.items).toHaveLength(3)
  }
})

onHost('a node behind NAT reaches others, and is reached and read from through a relay alone', async () => {
  using hosts = new Hosts()
  const [relayHost, router, hidden, far] = ['relay', 'router', 'hidden', 'far'].map((name) => hosts.host(name)) as [
    Host,
    Host,
    Host,
    Host,
  ]
  hosts.wire('outside', [
    [relayHost, '10.9.4.1/24'],
    [router, '10.9.4.2/24'],
    [far, '10.9.4.3/24'],
  ])
  hosts.wire('inside', [
    [router, '192.168.77.1/24'],
    [hidden, '192.168.77.2/24'],
  ])
  hosts.gateway(hidden, '192.168.77.1')
  hosts.gateway(far, '10.9.4.2')
  hosts.forward(router)
  const fromInside = 'ip saddr 192.168.77.0/24'
  hosts.firewall(
    router,
    `type nat hook postrouting priority 100\n${fromInside} masquerade`,
    `type filter hook forward priority 0; policy drop;\n${fromInside} accept\nct state established,related accept\ncounter drop`,
  )
  // It takes connections from nobody but the relay, so that the hidden one cannot come to it either.
  hosts.firewall(
    far,
    'type filter hook input priority 0; policy drop;\niifname "lo" accept\nip saddr 10.9.4.1 accept\nct state established accept',
  )
  await using relay = await nodeOn(relayHost, { listen: ['/ip4/10.9.4.1/tcp/4001'], relay: true })
  const relays = (await relay.status()).addresses
  await using bob = await nodeOn(hidden, { relays })
  await using carol = await nodeOn(far, { relays })
  await eventually(async () => expect((await bob.status()).relays).toMatchObject([{ reserved: true }]))
  await eventually(async () =>
    expect((await bob.status()).addresses).toContainEqual(expect.stringContaining('/p2p-circuit')),
  )
  expect(await reachOf(bob, relay)).toBe('direct')
  const { id, sha256 } = await (async () => {
    const ticket = await share(bob, carol)
    const written = await bob.write(namespace, 'hidden', 'behind NAT', 6 * MB)
    await carol.call('client.namespace.join', { ticket })
    return written
  })()
  expect(await reachOf(carol, bob)).toBe('relayed')
  await eventually(async () => expect(await carol.names(namespace)).toEqual(['hidden']))
  expect(await carol.read(id)).toBe(sha256)
  expect(await reachOf(carol, bob)).toBe('relayed')
  // It had tried to come in through the router, and was turned away there.
  expect(hosts.counted(router)).toBeGreaterThan(0)
})

onHost('two who meet through a relay find a way without it where there is one', async () => {
  using hosts = new Hosts()
  const [relayHost, router, hidden, far] = ['relay', 'router', 'hidden', 'far'].map((name) => hosts.host(name)) as [
    Host,
    Host,
    Host,
    Host,
  ]
  // Addresses that anybody could have: to others nobody is asked to find a way.
  hosts.wire('outside', [
    [relayHost, '8.9.7.1/24'],
    [router, '8.9.7.2/24'],
    [far, '8.9.7.3/24'],
  ])
  hosts.wire('inside', [
    [router, '192.168.78.1/24'],
    [hidden, '192.168.78.2/24'],
  ])
  hosts.gateway(hidden, '192.168.78.1')
  hosts.gateway(far, '8.9.7.2')
  hosts.forward(router)
  hosts.firewall(
    router,
    'type nat hook postrouting priority 100\nip saddr 192.168.78.0/24 masquerade',
    'type filter hook forward priority 0; policy drop;\nip saddr 192.168.78.0/24 accept\nct state established,related accept',
  )
  await using relay = await nodeOn(relayHost, { listen: ['/ip4/8.9.7.1/tcp/4001'], relay: true })
  const relays = (await relay.status()).addresses
  await using bob = await nodeOn(hidden, { relays })
  await using carol = await nodeOn(far, { listen: ['/ip4/8.9.7.3/tcp/4001'] })
  await eventually(async () => expect((await bob.status()).relays).toMatchObject([{ reserved: true }]))
  await eventually(async () => expect(await bob.call<string>('client.agent.ticket')).toBeDefined())
  // Carol alone knows where the other is to be found, and cannot get there but through the relay.
  await eventually(async () => carol.call('ping', await bob.call<string>('client.agent.ticket')))
  await eventually(async () => expect(await reachOf(carol, bob)).toBe('direct'))
  expect(await reachOf(bob, carol)).toBe('direct')
})

onHost('two on one network find each other with nothing said but who they are', async () => {
  using hosts = new Hosts()
  const [a, b, router] = [hosts.host('a'), hosts.host('b'), hosts.host('router')]
  hosts.wire('lan', [
    [router, '10.9.5.1/24'],
    [a, '10.9.5.2/24'],
    [b, '10.9.5.3/24'],
  ])
  for (const host of [a, b]) hosts.gateway(host, '10.9.5.1')
  await using alice = await nodeOn(a)
  await using bob = await nodeOn(b)
  const ticket = parseTicket(await share(alice, bob))
  const peers = ticket.peers.map(({ agent }) => ({ agent, addresses: [] }))
  const withoutAddresses = formatTicket({ ...ticket, peers })
  await eventually(() => bob.call('client.namespace.join', { ticket: withoutAddresses }))
  expect(await reachOf(bob, alice)).toBe('direct')
  const { id, sha256 } = await alice.write(namespace, 'near', 'near by', 2 * MB)
  await eventually(async () => expect(await bob.names(namespace)).toEqual(['near']))
  expect(await bob.read(id)).toBe(sha256)
})
