import { expect, test, vi } from 'vitest'
import { capabilityName, decodeCapability } from '../../src/capability/index.ts'
import { parseArtifactId, toHex } from '../../src/encoding/index.ts'
import { syncProtocol } from '../../src/exchange/sync-run.ts'
import { formatDid } from '../../src/identity/index.ts'
import { expectBytes, failureOf, MiB, seededBytes } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from './agents.ts'
import { eventually } from './nodes.ts'

const text = async ({ client }: LocalAgent, artifactId: string, version?: number): Promise<string> =>
  new TextDecoder().decode(await client.artifact.download({ artifactId, version }))

test('who follows an artifact reads its versions and sees new ones, and nothing else of the namespace', async () => {
  await using agents = new LocalAgents()
  const [owner, writer] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const outside = await agents.start()
  const bytes = seededBytes('shared', 3 * MiB)
  const wanted = await owner.client.artifact.create({ name: 'large.bin', data: bytes })
  const other = await owner.client.artifact.createSnippet({ name: 'other', content: 'secret' })
  const token = await owner.share(wanted.id, outside)
  const events = outside.client.artifact.watch({ artifactId: wanted.id })[Symbol.asyncIterator]()
  await outside.replication.follows.follow({ token, peers: [owner.peer] })
  await eventually(async () =>
    expect((await outside.client.artifact.get({ artifactId: wanted.id })).name).toBe('large.bin'),
  )
  expect((await events.next()).value).toMatchObject({ kind: 'shared', artifactId: wanted.id })
  expectBytes(await outside.client.artifact.download({ artifactId: wanted.id }), bytes)
  // The rest is neither here nor given.
  await failureOf(outside.client.artifact.get({ artifactId: other.id }), 'NOT_FOUND')
  expect((await outside.client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])
  expect((await outside.client.artifact.list()).items).toEqual([])
  const log = outside.replication.follows.logOf(owner.namespace().log.id)
  const artifacts = new Set<string>()
  for await (const { artifact } of log?.catalog.liveRoots() ?? []) artifacts.add(toHex(artifact))
  expect([...artifacts]).toEqual([toHex(parseArtifactId(wanted.id))])
  // A new version comes by itself, from another member too.
  await eventually(async () =>
    expect((await writer.client.artifact.get({ artifactId: wanted.id })).name).toBe('large.bin'),
  )
  await writer.client.artifact.update({ artifactId: wanted.id, name: 'renamed.bin' })
  await eventually(async () => {
    const { log: at } = owner.namespace()
    expect((await at.catalog.get(parseArtifactId(wanted.id)))?.state.name).toBe('renamed.bin')
  })
  await eventually(async () =>
    expect((await outside.client.artifact.get({ artifactId: wanted.id })).name).toBe('renamed.bin'),
  )
  expect((await outside.client.artifact.listVersions({ artifactId: wanted.id })).items).toHaveLength(2)
  // Nothing is written, nor shared on.
  await failureOf(outside.client.artifact.update({ artifactId: wanted.id, name: 'mine' }), 'ACCESS_DENIED')
  await failureOf(outside.client.artifact.delete({ artifactId: wanted.id }), 'ACCESS_DENIED')
  await events.return?.()
})

test('it works with the sharer gone: a replica without keys serves; and after a restart', async () => {
  await using agents = new LocalAgents()
  const [owner, replica] = (await agents.team('replica')) as [LocalAgent, LocalAgent]
  const outside = await agents.start()
  const bytes = seededBytes('replicated', 2 * MiB)
  const { id } = await owner.client.artifact.create({ name: 'a', data: bytes })
  const token = await owner.share(id, outside)
  await eventually(async () => expect(replica.namespace().log.totals).toEqual(owner.namespace().log.totals))
  const { log } = owner.namespace()
  const root = (await log.catalog.get(parseArtifactId(id)))?.root.digest as Uint8Array
  await eventually(async () =>
    expect(await replica.replication.holds(replica.namespace(), parseArtifactId(id), root)).toBe('all'),
  )
  const { peer } = owner
  await owner.stop()
  await outside.replication.follows.follow({ token, peers: [peer, replica.peer] })
  await eventually(async () => expect((await outside.client.artifact.get({ artifactId: id })).name).toBe('a'))
  expectBytes(await outside.client.artifact.download({ artifactId: id }), bytes)
  expect(await replica.client.artifact.get({ artifactId: id }).catch(({ code }) => code)).toBe('ACCESS_DENIED')
  await outside.stop()
  await outside.start()
  expectBytes(await outside.client.artifact.download({ artifactId: id }), bytes)
  expect(outside.replication.follows.followed()).toMatchObject([{ state: 'in-force', scope: 'artifact' }])
  // What was written while it was away it sees now.
  await owner.start()
  owner.network.addAddresses(replica.id, replica.peer.addresses)
  await owner.client.artifact.update({ artifactId: id, name: 'b' })
  await eventually(async () => expect((await outside.client.artifact.get({ artifactId: id })).name).toBe('b'))
})

test('a capability that is revoked ends within two seconds, wherever its follower is connected', async () => {
  await using agents = new LocalAgents()
  const [owner, replica] = (await agents.team('replica')) as [LocalAgent, LocalAgent]
  const outside = await agents.start()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const token = await owner.share(id, outside)
  await eventually(async () => expect(replica.namespace().log.totals).toEqual(owner.namespace().log.totals))
  const ended: (string | undefined)[] = []
  outside.replication.follows.observe({ ended: ({ reason }) => ended.push(reason) })
  // Connected to the replica alone.
  await outside.replication.follows.follow({ token, peers: [replica.peer] })
  await eventually(async () => expect(await text(outside, id)).toBe('hello'))
  const { jti } = decodeCapability(token).claims
  const since = performance.now()
  await owner.namespace().log.sharing.revokeCapabilities([jti])
  await eventually(() => expect(ended).toEqual(['REVOKED']))
  expect(performance.now() - since).toBeLessThan(2_000)
  const { details } = await failureOf(outside.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
  expect(details).toMatchObject({ artifactId: id, reason: 'REVOKED' })
  expect(outside.replication.follows.followed()).toMatchObject([{ state: 'ended', reason: 'REVOKED' }])
  await eventually(() => expect(outside.replication.follows.logOf(owner.namespace().log.id)).toBeUndefined())
  await outside.stop()
  await outside.start()
  await failureOf(outside.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
})

test('who was away when it was revoked is told why when it comes back, with what proves it', async () => {
  await using agents = new LocalAgents()
  const [owner] = (await agents.team()) as [LocalAgent]
  const outside = await agents.start()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const token = await owner.share(id, outside)
  await outside.replication.follows.follow({ token, peers: [owner.peer] })
  await eventually(async () => expect(await text(outside, id)).toBe('hello'))
  await outside.stop()
  await owner.namespace().log.sharing.revokeCapabilities([decodeCapability(token).claims.jti])
  await outside.start()
  await eventually(async () => await failureOf(outside.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED'))
})

test('what a former writer told of itself is told by another member as soon as its removal is known', async () => {
  await using agents = new LocalAgents()
  const [owner, writer] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const outside = await agents.start()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const token = await owner.share(id, outside)
  await eventually(async () => expect(await text(writer, id)).toBe('hello'))
  await writer.client.artifact.update({ artifactId: id, name: 'by the writer' })
  await writer.client.artifact.createSnippet({ name: 'beside', content: 'beside' })
  await eventually(() => expect(owner.namespace().log.totals).toEqual(writer.namespace().log.totals))
  const { follows } = outside.replication
  await follows.follow({ token, peers: [writer.peer] })
  const name = async () => (await outside.client.artifact.get({ artifactId: id })).name
  await eventually(async () => expect(await name()).toBe('by the writer'))
  await follows.follow({ token, peers: [owner.peer] })
  let removed = 0
  follows.logOf(owner.namespace().log.id)?.subscribe((change) => {
    removed += change.removed
  })
  const since = performance.now()
  await owner.client.namespace.revoke({ agent: writer.client.did })
  await eventually(() => expect(removed).toBeGreaterThan(0))
  await eventually(async () => expect(await name()).toBe('by the writer'))
  expect(performance.now() - since).toBeLessThan(10_000)
})

/** Some artifacts that a writer, who is gone now, shared with an agent outside; an owner and an admin have them too. */
async function sharedByWriter(agents: LocalAgents, count: number) {
  const [owner, admin, writer] = (await agents.team('admin', 'writer')) as [LocalAgent, LocalAgent, LocalAgent]
  const outside = await agents.start()
  const ids: string[] = []
  const tokens: Uint8Array[] = []
  for (let at = 0; at < count; at++) {
    const { id } = await writer.client.artifact.createSnippet({ name: `note ${at}`, content: `hello ${at}` })
    ids.push(id)
    tokens.push(await writer.share(id, outside))
  }
  const { totals } = writer.namespace().log
  for (const one of [owner, admin]) await eventually(() => expect(one.namespace().log.totals).toEqual(totals))
  await writer.stop()
  const [[id], [token]] = [ids as [string], tokens as [Uint8Array]]
  return { owner, admin, outside, ids, tokens, id, token }
}

/** An admin takes a share back, and nobody but its recipient hears of that: the owner has ended the admin's role before. */
async function takenBackByFormerAdmin(agents: LocalAgents, count: number) {
  const { owner, admin, outside, ids, tokens, id, token } = await sharedByWriter(agents, count)
  for (const one of tokens) await outside.replication.follows.follow({ token: one, peers: [admin.peer, owner.peer] })
  for (const [at, one] of ids.entries())
    await eventually(async () => expect(await text(outside, one)).toBe(`hello ${at}`))
  const { did } = admin.client
  await owner.stop()
  await admin.namespace().log.sharing.revokeCapabilities([decodeCapability(token).claims.jti])
  await eventually(async () => await failureOf(outside.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED'))
  expect(outside.replication.follows.hasEnded(capabilityName(decodeCapability(token).claims))).toBe(true)
  await admin.stop()
  await owner.start()
  await owner.client.namespace.revoke({ agent: did })
  return { owner, outside, id, token }
}

test('what was taken back by who had no right to is in force again once that is known', async () => {
  await using agents = new LocalAgents()
  const { owner, outside, id } = await takenBackByFormerAdmin(agents, 2)
  outside.network.addAddresses(owner.id, owner.peer.addresses)
  await outside.replication.follows.refresh(owner.namespace().log.id)
  await eventually(async () => expect(await text(outside, id)).toBe('hello 0'))
  await outside.stop()
  await outside.start()
  await eventually(async () => expect(await text(outside, id)).toBe('hello 0'))
})

test('what seems to be taken back, with nothing else of its namespace here, is in force again when it is told of again', async () => {
  await using agents = new LocalAgents()
  const { owner, outside, id, token } = await takenBackByFormerAdmin(agents, 1)
  const { follows, namespaces } = outside.replication
  await eventually(() => expect(namespaces.partial).toEqual([]))
  const { log } = owner.namespace()
  const [share] = await log.sharing.of(parseArtifactId(id))
  const envelope = share && (await log.sharing.envelopeOf(share.share))
  if (envelope === undefined) return expect.fail('it is shared')
  await outside.client.agent.add({ name: 'writer', did: formatDid(decodeCapability(token).claims.issuer) })
  const delivery = { envelopes: [envelope], group: undefined, peers: [owner.peer] }
  outside.network.addAddresses(owner.id, owner.peer.addresses)
  const tell = async () => await outside.sharing.inbox.receive(delivery, owner.id, new AbortController().signal)
  expect(await tell()).toEqual(['taken'])
  await eventually(async () => expect(await text(outside, id)).toBe('hello 0'))
  // What its own namespace says has ended stays so.
  await log.sharing.revokeCapabilities([decodeCapability(token).claims.jti])
  await eventually(async () => await failureOf(outside.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED'))
  await eventually(() => expect(namespaces.partial).toEqual([]))
  expect(await tell()).toEqual(['taken'])
  await eventually(() => expect(follows.followed()).toMatchObject([{ state: 'ended', reason: 'REVOKED' }]))
})

test('what the only one in reach proves to be taken back is asked for again when somebody else is in reach', async () => {
  await using agents = new LocalAgents()
  const { owner, admin, outside, id, token } = await sharedByWriter(agents, 1)
  const { peer } = owner
  await owner.stop()
  await admin.namespace().log.sharing.revokeCapabilities([decodeCapability(token).claims.jti])
  await outside.replication.follows.follow({ token, peers: [admin.peer, peer] })
  await eventually(() =>
    expect(outside.replication.follows.followed()).toMatchObject([{ state: 'ended', reason: 'REVOKED' }]),
  )
  const { did } = admin.client
  await admin.stop()
  await owner.start()
  await owner.client.namespace.revoke({ agent: did })
  owner.network.addAddresses(outside.id, outside.peer.addresses)
  const stream = await owner.network.open(outside.id, syncProtocol)
  await eventually(async () => expect(await text(outside, id)).toBe('hello 0'))
  await stream.close()
})

test('what is followed anew is asked for at once, though of its namespace nothing could be had for long', async () => {
  await using agents = new LocalAgents()
  const [owner, outside, gone] = [await agents.start(), await agents.start(), await agents.start()]
  const { peer } = gone
  await gone.stop()
  const { artifact } = owner.client
  const first = await artifact.createSnippet({ name: 'first', content: 'one' })
  const second = await artifact.createSnippet({ name: 'second', content: 'two' })
  const [token, later] = [await owner.share(first.id, outside), await owner.share(second.id, outside)]
  let tries = 0
  const open = outside.network.open.bind(outside.network)
  const counted: typeof open = async (...what) => {
    tries += 1
    return await open(...what)
  }
  Object.assign(outside.network, { open: counted })
  await outside.replication.follows.follow({ token, peers: [peer] })
  await eventually(() => {
    outside.advance(60_000)
    expect(tries).toBeGreaterThan(8)
  })
  await outside.replication.follows.follow({ token: later, peers: [owner.peer] })
  // The next try would come by itself after half a minute at least.
  await vi.waitFor(async () => expect(await text(outside, second.id)).toBe('two'), { timeout: 25_000, interval: 20 })
})

test('who shares again and again what nobody gives does not make this node ask those whom it names as often', async () => {
  await using agents = new LocalAgents()
  const [owner, outside, gone] = [await agents.start(), await agents.start(), await agents.start()]
  const { peer } = gone
  await gone.stop()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const token = await owner.share(id, outside)
  let tries = 0
  const open = outside.network.open.bind(outside.network)
  const counted: typeof open = async (...what) => {
    tries += 1
    return await open(...what)
  }
  Object.assign(outside.network, { open: counted })
  const began = outside.env.now()
  for (let times = 1; times <= 9; times++) {
    await outside.replication.follows.follow({ token, peers: [peer] })
    await eventually(() => {
      outside.advance(50)
      expect(tries).toBeGreaterThanOrEqual(times)
    })
  }
  // From the fifth on nearly a second each.
  expect(outside.env.now() - began).toBeGreaterThan(4_000)
})

test('it ends with its issuer’s right, and with its time', async () => {
  await using agents = new LocalAgents()
  const [owner, writer] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const outside = await agents.start()
  const { id } = await writer.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const short = await writer.client.artifact.createSnippet({ name: 'short', content: 'for an hour' })
  const token = await writer.share(id, outside)
  const other = await writer.share(short.id, outside, { expiresIn: 3_600 })
  await eventually(async () => expect(owner.namespace().log.totals).toEqual(writer.namespace().log.totals))
  await outside.replication.follows.follow({ token, peers: [owner.peer] })
  await outside.replication.follows.follow({ token: other, peers: [owner.peer] })
  await eventually(async () => expect(await text(outside, id)).toBe('hello'))
  await eventually(async () => expect(await text(outside, short.id)).toBe('for an hour'))
  outside.aheadMs = 3_700_000
  const late = await failureOf(outside.client.artifact.get({ artifactId: short.id }), 'ACCESS_DENIED')
  expect(late.details).toMatchObject({ reason: 'EXPIRED' })
  expect(await text(outside, id)).toBe('hello')
  await owner.client.namespace.revoke({ agent: writer.client.did })
  const { details } = await eventually(
    async () => await failureOf(outside.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED'),
  )
  expect(details).toMatchObject({ reason: 'ISSUER_REMOVED' })
})

test('joining the namespace takes the place of following, and leaving it goes back to that', async () => {
  await using agents = new LocalAgents()
  const [owner] = (await agents.team()) as [LocalAgent]
  const outside = await agents.start()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const rest = await owner.client.artifact.createSnippet({ name: 'rest', content: 'the rest' })
  const token = await owner.share(id, outside)
  await outside.replication.follows.follow({ token, peers: [owner.peer] })
  await eventually(async () => expect(await text(outside, id)).toBe('hello'))
  await owner.client.namespace.grant({ agent: outside.client.did, role: 'writer' })
  await outside.client.namespace.join({ ticket: await owner.client.namespace.ticket() })
  await eventually(async () => expect(await text(outside, rest.id)).toBe('the rest'))
  expect(outside.replication.namespaces.partial).toEqual([])
  // What is shared for an hour ends, and a member who watches reads it all the same.
  const short = await owner.client.artifact.createSnippet({ name: 'short', content: 'for an hour' })
  const hour = await owner.share(short.id, outside, { expiresIn: 3_600 })
  await eventually(async () => expect(await text(outside, short.id)).toBe('for an hour'))
  await outside.replication.follows.follow({ token: hour, peers: [owner.peer] })
  const events = outside.client.artifact.watch()[Symbol.asyncIterator]()
  const next = events.next()
  outside.advance(3_700_000)
  await eventually(() => expect(outside.replication.follows.counts.ended).toBe(1))
  await owner.client.artifact.update({ artifactId: short.id, data: new TextEncoder().encode('longer') })
  expect((await next).value).toMatchObject({ kind: 'updated', artifactId: short.id })
  await events.return?.()
  await outside.client.namespace.delete({ namespace: 'shared' })
  await eventually(async () => expect(await text(outside, id)).toBe('hello'))
  await failureOf(outside.client.artifact.get({ artifactId: rest.id }), 'NOT_FOUND')
  // Also for who is a member no more by then.
  await outside.client.namespace.join({ ticket: await owner.client.namespace.ticket() })
  await owner.client.namespace.revoke({ agent: outside.client.did })
  await owner.client.artifact.update({ artifactId: id, data: new TextEncoder().encode('more') })
  await eventually(async () => expect(await text(outside, id)).toBe('more'))
  await failureOf(outside.client.artifact.get({ artifactId: rest.id }), 'ACCESS_DENIED')
  await outside.client.namespace.leave({ namespace: 'shared' })
  expect(await text(outside, id)).toBe('more')
  await failureOf(outside.client.artifact.get({ artifactId: rest.id }), 'NOT_FOUND')
})

test('what is shared with a group its members follow, whoever comes later too, until they are members no more', async () => {
  await using agents = new LocalAgents()
  const [owner] = (await agents.team()) as [LocalAgent]
  const [lead, member, late] = [await agents.start(), await agents.start(), await agents.start()]
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'for the team' })
  await lead.client.group.create({ name: 'team' })
  await lead.client.group.add({ group: 'team', agents: [member.client.did] })
  const ticket = await lead.client.group.ticket({ group: 'team' })
  await member.client.group.join({ ticket })
  const token = await owner.share(id, ticket)
  const { peer } = owner
  for (const one of [lead, member]) {
    await one.replication.follows.follow({ token, peers: [peer] })
    await eventually(async () => expect(await text(one, id)).toBe('for the team'))
  }
  // Who is not in the group gets nothing by the capability.
  await late.replication.follows.follow({ token, peers: [peer] })
  await failureOf(late.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
  await lead.client.group.add({ group: 'team', agents: [late.client.did] })
  await late.client.group.join({ ticket })
  await eventually(async () => expect(await text(late, id)).toBe('for the team'))
  await lead.client.group.remove({ group: 'team', agents: [member.client.did] })
  const { details } = await eventually(
    async () => await failureOf(member.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED'),
  )
  expect(details).toMatchObject({ reason: 'GROUP_EPOCH' })
  // And those that are in it go on.
  await owner.client.artifact.update({ artifactId: id, data: new TextEncoder().encode('more') })
  await eventually(async () => expect(await text(lead, id)).toBe('more'))
})
