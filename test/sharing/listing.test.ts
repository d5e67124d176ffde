import { expect, test } from 'vitest'
import type { Client, SharedArtifact } from '../../sdk/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

type Query = NonNullable<Parameters<Client['artifact']['listShared']>[0]>

const namesOf = (items: readonly SharedArtifact[]) => items.map(({ name }) => name)

/** Two agents who have each other as contacts, and artifacts of the first, by name, of which some are shared with the second. */
async function sharing(agents: LocalAgents, names: readonly string[], some: readonly string[] = names) {
  const [alice, bob] = [await agents.start(), await agents.start()] as [LocalAgent, LocalAgent]
  await alice.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  const ids = new Map<string, string>()
  for (const name of names) {
    const size = Number(name.slice(-1))
    const { id } = await alice.client.artifact.create({ name, data: Buffer.from(name), metadata: { size } })
    ids.set(name, id)
    if (some.includes(name)) await alice.client.artifact.share({ artifactId: id, withAgents: ['bob'] })
  }
  await eventually(async () => expect((await bob.client.artifact.listShared()).items).toHaveLength(some.length))
  return { alice, bob, idOf: (name: string) => ids.get(name) ?? expect.fail(`there is no ${name}`) }
}

test('what is shared is listed in pages, filtered and in order, like what is not, by whom it is with and by who shares it', async () => {
  await using agents = new LocalAgents()
  const names = ['a1', 'a2', 'a3', 'b4', 'b5', 'b6', 'b7']
  const { alice, bob } = await sharing(agents, [...names, 'kept8'], names)
  for (const [{ client }, by] of [
    [bob, 'others'],
    [alice, 'me'],
  ] as const) {
    const list = client.artifact.listShared
    const order = { by: 'name', direction: 'asc' } as const
    const pages: string[][] = []
    for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
      const { items, nextCursor } = await list({ by, order, limit: 3, cursor })
      pages.push(namesOf(items))
      cursor = nextCursor
    }
    expect(pages).toEqual([['a1', 'a2', 'a3'], ['b4', 'b5', 'b6'], ['b7']])
    const found = async (query: Query) => namesOf(await Array.fromAsync(list({ by, order, limit: 2, ...query }))).join()
    expect(await found({})).toBe(names.join())
    expect(await found({ metadataFilter: { size: { $gt: 2, $lte: 5 } } })).toBe('a3,b4,b5')
    expect(await found({ namePrefix: 'b', order: { by: 'createdAt', direction: 'desc' } })).toBe('b7,b6,b5,b4')
    expect(await found({ contentType: 'image/png' })).toBe('')
    await failureOf(list({ by, cursor: 'nonsense' }), 'INVALID_ARGUMENT')
    await failureOf(list({ by, limit: 0 }), 'INVALID_ARGUMENT')
  }
  expect(namesOf((await alice.client.artifact.listShared()).items)).toEqual([])
  expect(namesOf((await bob.client.artifact.listShared({ by: 'me' })).items)).toEqual([])
})

test('pages go on where they were while shares come and go: what stays is listed once', async () => {
  await using agents = new LocalAgents()
  const names = ['a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7']
  const { alice, bob, idOf } = await sharing(agents, [...names, 'a0', 'a8'], names)
  const order = { by: 'name', direction: 'asc' } as const
  const listed = async () => namesOf((await bob.client.artifact.listShared({ order })).items)
  const begun = async (client: Client, by: 'me' | 'others') => {
    const { items, nextCursor } = await client.artifact.listShared({ by, order, limit: 3 })
    expect(namesOf(items)).toEqual(['a1', 'a2', 'a3'])
    return async () =>
      namesOf(await Array.fromAsync(client.artifact.listShared({ by, order, limit: 3, cursor: nextCursor })))
  }
  const rest = [await begun(bob.client, 'others'), await begun(alice.client, 'me')]
  // The one that the cursor stands at, one before it and one after; and new ones on both sides.
  for (const name of ['a1', 'a3', 'a5'])
    await alice.client.artifact.unshare({ artifactId: idOf(name), agents: ['bob'] })
  for (const name of ['a0', 'a8']) await alice.client.artifact.share({ artifactId: idOf(name), withAgents: ['bob'] })
  await eventually(async () => expect(await listed()).toEqual(['a0', 'a2', 'a4', 'a6', 'a7', 'a8']))
  for (const go of rest) expect(await go()).toEqual(['a4', 'a6', 'a7', 'a8'])
})

test('access says who reads it through what, by however many ways; what ended, and what is of another artifact, is not in it', async () => {
  await using agents = new LocalAgents()
  const { alice, bob, idOf } = await sharing(agents, ['a1', 'b2'], ['b2'])
  const { artifact, group } = alice.client
  const artifactId = idOf('a1')
  const { id: team } = await group.create({ name: 'team' })
  await group.add({ group: 'team', agents: ['bob'] })
  await alice.client.namespace.grant({ agent: 'bob', role: 'reader' })
  const [share, ofGroup] = await artifact.share({
    artifactId,
    withAgents: ['bob'],
    withGroups: ['team'],
    expiresIn: 600,
  })
  const gateways = [{ agent: 'bob', url: 'https://gateway.example' }]
  const pinned = await artifact.getSignedUrl({ artifactId, version: 1, gateways, expiresIn: 700 })
  const following = await artifact.getSignedUrl({ artifactId, version: 'latest', gateways, expiresIn: 700 })
  const access = async () =>
    (await artifact.access({ artifactId })).map(({ through, id, name, role, shareId, by, expiresAt }) => {
      const who = [alice.client.did, bob.client.did, team].indexOf(id)
      return [through, ['alice', 'bob', 'team'][who], name, role, shareId, by === alice.client.did, expiresAt]
    })
  const owner = ['member', 'alice', undefined, 'owner', undefined, false, undefined]
  const reader = ['member', 'bob', 'bob', 'reader', undefined, false, undefined]
  const byShare = ['share', 'bob', 'bob', undefined, share?.id, true, share?.expiresAt]
  const byGroup = ['group', 'team', 'team', undefined, ofGroup?.id, true, ofGroup?.expiresAt]
  const byLinks = [pinned, following].map(({ jti, expiresAt }) => [
    'link',
    'bob',
    'bob',
    undefined,
    jti,
    true,
    expiresAt,
  ])
  const sorted = (rows: unknown[][]) => rows.map((row) => JSON.stringify(row)).sort()
  expect(sorted(await access())).toEqual(sorted([owner, reader, byShare, byGroup, ...byLinks]))
  expect((await access()).map(([through]) => through)).toEqual(['member', 'member', 'share', 'group', 'link', 'link'])

  // Links are in no list of shares: not of who made them, nor of the gateway that follows what they are for.
  const mine = async () => (await artifact.listShared({ by: 'me', namePrefix: 'a' })).items.map(({ shares }) => shares)
  expect((await mine()).map((shares) => shares.map(({ id }) => id).sort())).toEqual([[share?.id, ofGroup?.id].sort()])
  const token = new Uint8Array(Buffer.from(new URL(following.url).searchParams.get('cap') ?? '', 'base64url'))
  await bob.replication.follows.follow({ token, peers: [alice.peer] })
  const received = async () =>
    (await bob.client.artifact.listShared({ namePrefix: 'a' })).items.map(({ shares }) => shares)
  await eventually(async () => expect((await received()).flat().map(({ id }) => id)).toContain(share?.id))
  expect((await received()).flat().map(({ id }) => id)).not.toContain(following.jti)

  // What is taken back by name stays by the other ways.
  expect(await artifact.unshare({ artifactId, agents: ['bob'] })).toHaveLength(1)
  expect(sorted(await access())).toEqual(sorted([owner, reader, byGroup, ...byLinks]))
  await alice.client.namespace.revoke({ agent: 'bob' })
  await artifact.revokeSignedUrl({ jti: pinned.jti })
  await artifact.revokeSignedUrl({ jti: following.jti })
  expect(sorted(await access())).toEqual(sorted([owner, byGroup]))
  await artifact.getSignedUrl({ artifactId, version: 'latest', gateways, expiresIn: 4_000 })
  for (const agent of [alice, bob]) agent.advance(3_600_000)
  expect((await access()).map(([through]) => through)).toEqual(['member', 'link'])
  expect(await mine()).toEqual([])
})
