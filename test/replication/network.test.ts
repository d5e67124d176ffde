import { randomBytes } from 'node:crypto'
import { type AddressInfo, createServer } from 'node:net'
import { CID } from 'multiformats/cid'
import { expect, test } from 'vitest'
import { startNode } from '../../node/index.ts'
import { startNetwork } from '../../node/network/index.ts'
import { inThreadEngine } from '../../src/content/index.ts'
import { parseArtifactId, parseNamespaceId } from '../../src/encoding/index.ts'
import { askHolding, joinNamespace, Transfers } from '../../src/exchange/index.ts'
import { AgentKey, parseDid } from '../../src/identity/index.ts'
import { failureOf, MiB, seededBytes } from '../client/contract-support.ts'
import { MemoryBlocks } from '../support/namespace-nodes.ts'
import { eventually, type TestNode, TestNodes } from './nodes.ts'

/** The machine's own time. */
const scheduler = {
  now: Date.now,
  setTimer(delayMs: number, work: () => void) {
    const timer = setTimeout(work, delayMs)
    return () => clearTimeout(timer)
  },
}

/** What is never to be called. */
const never = (): never => {
  throw new Error('a stranger was served')
}

test('a node tells of its network: addresses, peers and how they are reached, rounds and transfers', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer', 'reader'])
  const [writer, reader] = others as [TestNode, TestNode]
  await eventually(async () => {
    const { network, addresses, namespaces, peers, misbehaviour } = await owner.node.status()
    expect({ network, addresses: addresses.length }).toEqual({ network: 'lan', addresses: 1 })
    const [shared] = namespaces.filter(({ name }) => name === 'shared')
    expect(shared).toMatchObject({ role: 'owner', members: 3, current: true, forks: [], sync: { behind: 0 } })
    expect(shared?.owed).toEqual({ rotation: false, boxes: [], keys: [] })
    expect(shared?.sync.lastSyncAt).toBeInstanceOf(Date)
    expect(peers.map(({ did, name, reach, namespaces: names }) => ({ did, name, reach, names }))).toEqual(
      [writer, reader]
        .map(({ node, name }) => ({ did: node.did, name, reach: { state: 'direct' }, names: ['shared'] }))
        .toSorted((a, b) => (a.did < b.did ? -1 : 1)),
    )
    expect(peers[0]?.connection).toMatchObject({ encryption: 'tls', since: expect.any(Date) })
    expect(new Set(Object.values(misbehaviour))).toEqual(new Set([0]))
  })
  // Whole milliseconds: none, on a quick machine.
  expect(await owner.node.ping(writer.name)).toBeGreaterThanOrEqual(0)
  const same = async () =>
    new Set(
      await Promise.all(
        [owner, writer, reader].map(
          async ({ node }) => (await node.status()).namespaces.find(({ name }) => name === 'shared')?.logHash,
        ),
      ),
    )
  await eventually(async () => expect((await same()).size).toBe(1))

  await writer.stop()
  // The first may meet the old connection as it ends.
  await eventually(async () => {
    const { details } = await failureOf(owner.node.ping(writer.name), 'UNAVAILABLE')
    expect(details).toMatchObject({ did: writer.node.did, reason: expect.any(String) })
    const gone = (await owner.node.peers()).find(({ did }) => did === writer.node.did)
    expect(gone).toMatchObject({ name: writer.name, reach: { state: 'unreachable', reason: expect.any(String) } })
    expect(gone?.connection).toBeUndefined()
  })

  // What is being fetched is told while it comes.
  const { id } = await owner.node.client.artifact.create({ name: 'large', data: seededBytes('large', 12 * MiB) })
  await eventually(() => reader.node.client.artifact.get({ artifactId: id }))
  const pieces = reader.node.client.artifact.downloadStream({ artifactId: id })[Symbol.asyncIterator]()
  await pieces.next()
  const [transfer] = (await reader.node.status()).transfers
  expect(transfer).toMatchObject({ artifactId: id })
  expect(transfer?.fetchedBytes).toBeGreaterThan(0)
  // The other one is tried too, until it is known to be away.
  const giving = transfer?.providers.filter(({ fetchedBytes }) => fetchedBytes > 0)
  expect(giving).toMatchObject([{ did: owner.node.did }])
  expect(transfer?.bytesPerSecond).toBeGreaterThan(0)
  await pieces.return?.()
  await eventually(async () => expect((await reader.node.status()).transfers).toEqual([]))
  expect((await owner.node.status()).counters.blocksServed?.sentBytes).toBeGreaterThan(0)
})

test('a stranger gets no entry, no block and no word about what is held', async () => {
  await using nodes = new TestNodes()
  const owner = await nodes.start('owner')
  const secret = await owner.node.client.namespace.create({ name: 'secret' })
  const data = seededBytes('secret', 400_000)
  const written = await owner.node.client.artifact.create({ namespace: secret.id, name: 'secret', data })
  await using network = await startNetwork({
    agent: new AgentKey(randomBytes(32)),
    mode: 'lan',
    listen: [],
    now: Date.now,
    monotonic: () => performance.now(),
    random: (length) => randomBytes(length),
  })
  const agent = parseDid(owner.node.did)
  network.addAddresses(agent, (await owner.node.status()).addresses)
  const { signal } = new AbortController()
  const common = { network, scheduler, agent, signal }
  const root = CID.parse(written.cid).multihash.digest
  // It knows all ids, and hears what it would hear of a namespace that does not exist.
  for (const namespace of [parseNamespaceId(secret.id), new Uint8Array(32)]) {
    await failureOf(
      joinNamespace({ ...common, self: agent, id: namespace, providers: [{ agent, addresses: [] }], create: never }),
      'ACCESS_DENIED',
    )
    const question = { namespace, artifact: parseArtifactId(written.id), root, waitMs: 0 }
    await failureOf(askHolding(common, agent, question), 'ACCESS_DENIED')
    await using transfers = new Transfers({ ...common, engine: inThreadEngine })
    await using transfer = transfers.open({
      namespace,
      artifact: parseArtifactId(written.id),
      root: { digest: root, codec: CID.parse(written.cid).code, sizeBytes: data.length, storedBytes: data.length + 28 },
      blocks: new MemoryBlocks(),
      providers: () => [agent],
    })
    const { details } = await failureOf(transfer.whole(), 'UNAVAILABLE')
    expect(details.asked).toEqual([expect.stringContaining('ACCESS_DENIED')])
  }
  const { blocksServed, syncServed } = (await owner.node.status()).counters
  expect(blocksServed).toMatchObject({ refused: 2, sentBlocks: 0, sentBytes: 0 })
  expect(syncServed?.denied).toBe(2)
})

test('nodes of a private network talk to each other and to nobody without its key', async () => {
  await using nodes = new TestNodes()
  const [networkKey, otherKey] = [randomBytes(32), randomBytes(32)]
  const one = await nodes.start('one', { network: 'private', networkKey })
  const two = await nodes.start('two', { network: 'private', networkKey })
  const other = await nodes.start('other', { network: 'private', networkKey: otherKey })
  const open = await nodes.start('open')
  const ticket = await one.node.client.agent.ticket()
  expect(await two.node.ping(ticket)).toBeGreaterThan(0)
  await failureOf(other.node.ping(ticket), 'UNAVAILABLE')
  await failureOf(open.node.ping(ticket), 'UNAVAILABLE')
  expect((await one.node.status()).network).toBe('private')
})

test('a port that is taken is an error that names it, and nothing stays open', async () => {
  await using nodes = new TestNodes()
  const alone = await nodes.start('alone', { network: 'offline', listen: [] })
  expect(await alone.node.status()).toMatchObject({ network: 'offline', addresses: [], peers: [], transfers: [] })
  await failureOf(alone.node.ping(alone.node.did), 'UNAVAILABLE')
  await alone.stop()
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const listen = [`/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`]
  const { message } = await failureOf(startNode({ dataDir: alone.dataDir, listen }), 'INVALID_ARGUMENT')
  expect(message).toContain(listen[0])
  await new Promise((resolve) => server.close(resolve))
  await alone.start({ network: 'lan', listen })
  expect((await alone.node.status()).addresses).toEqual([expect.stringContaining(listen[0] as string)])
})

test('a ticket whose peers are away leads to members that have joined since', async () => {
  await using nodes = new TestNodes()
  // Anybody on the network: it has no role anywhere.
  const hub = await nodes.start('hub')
  const bootstrap = (await hub.node.status()).addresses
  const owner = await nodes.start('owner', { bootstrap })
  const member = await nodes.start('member', { bootstrap })
  const late = await nodes.start('late', { bootstrap })
  const { namespace, artifact } = owner.node.client
  await namespace.create({ name: 'shared' })
  await namespace.grant({ namespace: 'shared', agent: member.node.did, role: 'reader' })
  await namespace.grant({ namespace: 'shared', agent: late.node.did, role: 'reader' })
  const ticket = await namespace.ticket({ namespace: 'shared' })
  const note = await artifact.createSnippet({ namespace: 'shared', name: 'note', content: 'found' })
  await member.node.client.namespace.join({ ticket })
  await eventually(() => member.node.client.artifact.get({ artifactId: note.id }))
  await owner.stop()
  await eventually(() => late.node.client.namespace.join({ ticket }))
  expect(await late.node.client.artifact.get({ artifactId: note.id })).toMatchObject({ name: 'note' })
})

test('a node that starts when nobody who is there knows it finds members at the addresses that it learned', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer', 'reader'])
  const [writer, reader] = others as [TestNode, TestNode]
  // They have met, by the owner alone, whom the ticket names, and have said where they listen: with all that they speak.
  const said = '/libp2p/circuit/relay/0.2.0/stop'
  await eventually(async () => {
    const peers = await reader.node.peers()
    expect(peers.filter(({ connection }) => connection?.protocols.includes(said))).toHaveLength(2)
  })
  await reader.stop()
  await owner.stop()
  const note = await writer.node.client.artifact.createSnippet({ name: 'note', content: 'found' })
  // At another port than the writer knows.
  await reader.start()
  // On a busy machine the first dials fail: members are tried again every 30 to 60 s.
  await eventually(() => reader.node.client.artifact.get({ artifactId: note.id }), 130_000)
})
