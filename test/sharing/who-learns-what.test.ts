/**
 * DESIGN.md’s table "Who can learn what": each party on a node of its own, with all that it may know of, asks for what it may not have, and
 * all that its node holds is searched for what it must not know.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  decodeCapability,
  encodePresentation,
  openLinkKey,
  type ShareClaims,
  signCapability,
} from '../../src/capability/index.ts'
import type { ContentRoot } from '../../src/catalog/index.ts'
import { inThreadEngine } from '../../src/content/index.ts'
import { formatArtifactId, parseArtifactId } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { runFollowRound } from '../../src/exchange/follow-round.ts'
import { askDescriptor, askHolding, joinNamespace, type SyncScope, Transfers } from '../../src/exchange/index.ts'
import { onStream } from '../../src/exchange/sync-run.ts'
import { decodeUnverifiedEntry, signEntry } from '../../src/log/index.ts'
import { FollowedArtifacts, folderOf, Namespace } from '../../src/namespace/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { scheduler } from '../hostile/hostile-peer.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'
import { MemoryBlocks, NamespaceNode, TestTime } from '../support/namespace-nodes.ts'

/** An artifact, and the words in it that say something. */
interface Written {
  readonly id: string
  readonly artifact: Uint8Array
  readonly root: ContentRoot
  readonly entry: Uint8Array
  readonly words: readonly string[]
}

const raw = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const sure = <T>(value: T | undefined): T => value ?? expect.fail('the world has it')
const tokenOf = (url: string) =>
  new Uint8Array(Buffer.from(sure(new URL(url).searchParams.get('cap') ?? undefined), 'base64url'))

const agents = new LocalAgents()
let owner: LocalAgent
let replica: LocalAgent
let reader: LocalAgent
let bob: LocalAgent
let carol: LocalAgent
let gateway: LocalAgent
let stranger: LocalAgent
let secret: Written
let wanted: Written
let others: Written
let bobsToken: Uint8Array

/** Content that is in blocks, whose name, type, metadata and bytes all say what it is. */
async function write(what: string, words = ['name', 'type', 'metadata', 'content'].map((of) => `${of}-of-${what}`)) {
  const [name = '', type = '', kind = '', content = ''] = words
  const data = Buffer.from(content.padEnd(40_000, `, ${content}`))
  const { id } = await owner.client.artifact.create({ name, contentType: `text/${type}`, metadata: { kind }, data })
  return await newest(id, words)
}

async function newest(id: string, words: readonly string[]): Promise<Written> {
  const artifact = parseArtifactId(id)
  const { root, entry } = sure(await owner.namespace().log.catalog.get(artifact))
  return { id, artifact, root, entry, words }
}

beforeAll(async () => {
  ;[owner, replica, reader] = (await agents.team('replica', 'reader')) as [LocalAgent, LocalAgent, LocalAgent]
  ;[bob, carol, gateway, stranger] = (await Promise.all([1, 2, 3, 4].map(() => agents.start()))) as [
    LocalAgent,
    LocalAgent,
    LocalAgent,
    LocalAgent,
  ]
  ;[secret, wanted, others] = [await write('secret'), await write('wanted'), await write('others')]
  for (const [name, one] of Object.entries({ bob, carol })) {
    await owner.client.agent.add({ name, ticket: await one.client.agent.ticket() })
    await one.client.agent.add({ name: 'owner', ticket: await owner.client.agent.ticket() })
  }
  await owner.client.artifact.share({ artifactId: wanted.id, withAgents: ['bob'], message: 'message-to-bob' })
  await owner.client.artifact.share({ artifactId: others.id, withAgents: ['carol'], message: 'message-to-carol' })
  await eventually(async () => await bob.client.artifact.download({ artifactId: wanted.id }))
  await eventually(async () => await carol.client.artifact.download({ artifactId: others.id }))
  bobsToken = sure(bob.replication.follows.followed()[0]).capability.token
  const { log } = owner.namespace()
  for (const one of [replica, reader]) {
    await eventually(() => expect(one.namespace().log.totals).toEqual(log.totals))
    one.network.addAddresses(owner.id, owner.peer.addresses)
  }
  const isWhole = async ({ artifact, root }: Written) =>
    expect(await replica.replication.holds(replica.namespace(), artifact, root.digest)).toBe('all')
  for (const one of [secret, wanted, others]) await eventually(() => isWhole(one))
})

afterAll(async () => {
  await agents[Symbol.asyncDispose]()
})

/** All that an agent's node holds, of whatever namespace. */
async function holdings(agent: LocalAgent): Promise<string> {
  const rows = await Array.fromAsync(agent.env.store.entries({}))
  const { id } = owner.namespace().log
  const blocks = [false, true].flatMap((isBeside) => [...agent.blocksOf(folderOf(id, isBeside)).held.values()])
  return raw(Buffer.concat([...rows.flat(), ...blocks]))
}

async function expectUnknown(agent: LocalAgent, ...what: readonly (string | Uint8Array)[]): Promise<void> {
  const held = await holdings(agent)
  for (const [at, one] of what.entries())
    expect(held.includes(typeof one === 'string' ? one : raw(one)), `${at}: ${one}`).toBe(false)
}

async function expectKnown(agent: LocalAgent, ...what: readonly (string | Uint8Array)[]): Promise<void> {
  const held = await holdings(agent)
  for (const one of what) expect(held.includes(typeof one === 'string' ? one : raw(one)), `${one}`).toBe(true)
}

const saltOf = async ({ entry }: Written) =>
  sure((await owner.namespace().log.held.entry(entry))?.header.data?.artifactSalt)

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'given'
  } catch (error) {
    if (!isHubError(error)) throw error
    const { asked } = error.details as { asked?: readonly string[] }
    return asked?.length === 1 && asked[0]?.includes('ACCESS_DENIED') ? 'ACCESS_DENIED' : error.code
  }
}

/** What becomes of an agent's questions to another about some content: for the log, what is held, and the blocks. */
async function asks(agent: LocalAgent, provider: LocalAgent, { artifact, root }: Written, token?: Uint8Array) {
  const { id: namespace } = owner.namespace().log
  const { signal } = new AbortController()
  const common = { network: agent.network, scheduler, signal }
  agent.network.addAddresses(provider.id, provider.peer.addresses)
  const presentation = token && encodePresentation(token, undefined)
  const create = () => expect.fail('it was given the beginning')
  const join = joinNamespace({ ...common, self: agent.id, id: namespace, providers: [provider.peer], create })
  const question = { namespace, artifact, root: root.digest, waitMs: 0, presentation }
  await using transfers = new Transfers({ ...common, engine: inThreadEngine })
  await using transfer = transfers.open({
    namespace,
    artifact,
    root,
    blocks: new MemoryBlocks(),
    providers: () => [provider.id],
    present: () => (presentation === undefined ? [] : [presentation]),
  })
  return {
    join: await codeOf(join),
    holding: await codeOf(askHolding(common, provider.id, question)),
    blocks: await codeOf(transfer.whole()),
  }
}

const nothing = { join: 'ACCESS_DENIED', holding: 'ACCESS_DENIED', blocks: 'ACCESS_DENIED' }
const itsContent = { join: 'ACCESS_DENIED', holding: 'given', blocks: 'given' }

let seed = 100

/** A round about some part of the log by whoever shows a token, into a log that holds nothing yet. */
async function round(agent: LocalAgent, provider: LocalAgent, token: Uint8Array, scope: SyncScope) {
  const { log: whole } = owner.namespace()
  const artifacts = new FollowedArtifacts()
  if (scope.kind === 'artifact') artifacts.set(scope.artifact, 0)
  const { env } = new NamespaceNode(seed++, new TestTime(), { agent: agent.key })
  const genesis = sure(await whole.held.bytes(whole.id))
  const log = await Namespace.join(env, whole.id, genesis, () => [], artifacts)
  agent.network.addAddresses(provider.id, provider.peer.addresses)
  const { claims } = decodeCapability(token)
  const presentation = encodePresentation(token, undefined)
  const outcome = await onStream({ network: agent.network, scheduler, agent: provider.id }, (stream) =>
    runFollowRound(stream, { log, scope, claims, presentation }),
  )
  return { ...outcome, log }
}

const denied = { result: 'denied', reason: undefined, evidence: [], stored: 0 }
const scopesOf = (...about: readonly Written[]): SyncScope[] => [
  { kind: 'namespace' },
  ...about.map(({ artifact }) => ({ kind: 'artifact' as const, artifact })),
]

test('the search finds what is there: with the owner everything, in the clear', async () => {
  for (const { words } of [secret, wanted, others]) await expectKnown(owner, ...words.slice(0, 3))
  await expectKnown(bob, ...wanted.words.slice(0, 3), wanted.entry, await saltOf(wanted), owner.id)
})

describe('a stranger', () => {
  test('is given nothing by anybody, also who knows all ids, all roots and somebody’s capability', async () => {
    for (const provider of [owner, replica, reader, bob]) {
      for (const token of [undefined, bobsToken]) expect(await asks(stranger, provider, wanted, token)).toEqual(nothing)
    }
    for (const provider of [owner, replica]) {
      for (const scope of [...scopesOf(wanted, secret), { kind: 'auth' } as const])
        expect(await round(stranger, provider, bobsToken, scope)).toMatchObject(denied)
    }
    const artifactId = wanted.id
    await failureOf(stranger.client.artifact.get({ artifactId }), 'NOT_FOUND')
    const { log } = owner.namespace()
    await expectUnknown(stranger, log.id, wanted.entry, await saltOf(wanted), ...wanted.words)
  })

  test('gains nothing by a capability that it makes itself, in whatever name', async () => {
    const claims = decodeCapability(bobsToken).claims as ShareClaims
    const audience = [{ kind: 'agent' as const, id: stranger.id }]
    for (const grant of [claims.grant, sure(replica.namespace().log.membership.grantsOf(replica.id)[0]).hash]) {
      const { token } = signCapability(stranger.key, { ...claims, issuer: stranger.id, audience, grant })
      expect(await asks(stranger, owner, wanted, token)).toEqual(nothing)
      expect(await round(stranger, owner, token, { kind: 'auth' })).toMatchObject(denied)
    }
  })
})

describe('a replica', () => {
  test('holds every entry and block, and no name, type, metadata, content or message', async () => {
    for (const one of [secret, wanted, others]) await expectKnown(replica, one.entry, await saltOf(one))
    await expectKnown(replica, owner.id, reader.id)
    const words = [secret, wanted, others].flatMap((one) => one.words)
    await expectUnknown(replica, ...words, 'message-to-bob', 'message-to-carol')
    const { log } = replica.namespace()
    expect(log.keyring.size).toBe(0)
    for (const { artifact, root, id } of [secret, wanted]) {
      expect(await codeOf(log.artifactKeys.open(artifact, root.keyId))).toBe('ACCESS_DENIED')
      await failureOf(replica.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
      await failureOf(replica.client.artifact.download({ artifactId: id }), 'ACCESS_DENIED')
    }
    expect(await Array.fromAsync(replica.client.artifact.list())).toEqual([])
  })

  test('does not know with whom anything is shared', async () => {
    const entries = (await Array.fromAsync(replica.namespace().log.held.all())).map(({ bytes }) => raw(bytes))
    expect(entries.length).toBe(owner.namespace().log.totals.entries)
    for (const one of [bob, carol]) expect(entries.filter((entry) => entry.includes(raw(one.id)))).toEqual([])
    expect((await replica.namespace().log.sharing.of(wanted.artifact)).length).toBe(0)
  })

  test('cannot write, share or let anybody in', async () => {
    await failureOf(replica.client.artifact.create({ name: 'mine', data: Buffer.from('x') }), 'ACCESS_DENIED')
    await failureOf(
      replica.client.artifact.share({ artifactId: wanted.id, withAgents: [bob.client.did] }),
      'ACCESS_DENIED',
    )
    const claims = decodeCapability(bobsToken).claims as ShareClaims
    const { hash: grant } = sure(replica.namespace().log.membership.grantsOf(replica.id)[0])
    const audience = [{ kind: 'agent' as const, id: stranger.id }]
    const { token } = signCapability(replica.key, { ...claims, issuer: replica.id, audience, grant })
    expect(await asks(stranger, owner, wanted, token)).toEqual(nothing)
  })
})

describe('a gateway', () => {
  test('without a URL is a stranger; with one it has that content and the auth entries', async () => {
    expect(await asks(gateway, owner, wanted)).toEqual(nothing)
    const gateways = [{ agent: gateway.client.did, url: 'https://gateway.example' }]
    const { url } = await owner.client.artifact.getSignedUrl({ artifactId: wanted.id, gateways })
    const token = tokenOf(url)
    const { claims } = decodeCapability(token)
    const { follows } = gateway.replication
    await follows.follow({ token, peers: [owner.peer], scope: 'auth', isKept: false })
    const { id } = owner.namespace().log
    await eventually(() => expect(follows.logOf(id)?.roleOf(replica.id)).toBe('replica'))
    expect(await asks(gateway, owner, wanted, token)).toEqual(itsContent)
    expect(openLinkKey(claims as never, gateway.key)).toHaveLength(32)
    // The entries of the artifact, other artifacts, their contents, and all others are not for it.
    for (const one of [secret, others]) expect(await asks(gateway, owner, one, token)).toEqual(nothing)
    const stolen = { ...secret, artifact: wanted.artifact }
    expect(await asks(gateway, owner, stolen, token)).toEqual(nothing)
    for (const scope of scopesOf(wanted, secret))
      expect(await round(gateway, owner, token, scope)).toMatchObject(denied)
    const entries = await Array.fromAsync(sure(follows.logOf(id)).held.all())
    for (const { bytes } of entries) {
      const { header, keys } = decodeUnverifiedEntry(bytes, { partial: true })
      expect(header.data).toBeUndefined()
      expect(keys).toBeUndefined()
    }
    await expectUnknown(gateway, ...secret.words, wanted.words[2] ?? '', bob.id, secret.entry, await saltOf(secret))
    expect(sure(follows.logOf(id)).keyring.size).toBe(0)
    // Nor does the URL serve anybody else who holds it as an agent.
    expect(await asks(stranger, owner, wanted, token)).toEqual(nothing)
  })

  test('with a URL of one version has nothing of the next', async () => {
    const older = await write('older')
    const gateways = [{ agent: gateway.client.did, url: 'https://gateway.example' }]
    const token = tokenOf((await owner.client.artifact.getSignedUrl({ artifactId: older.id, gateways })).url)
    const data = Buffer.from('content-of-newer'.padEnd(40_000, ', content-of-newer'))
    await owner.client.artifact.update({ artifactId: older.id, data })
    const newer = await newest(older.id, ['content-of-newer'])
    expect(await asks(gateway, owner, older, token)).toEqual(itsContent)
    expect(await asks(gateway, owner, newer, token)).toEqual(nothing)
  })
})

describe('a share’s recipient', () => {
  test('has that artifact and the auth entries: nothing of other artifacts, nor of other recipients', async () => {
    expect(await asks(bob, owner, wanted, bobsToken)).toEqual(itsContent)
    for (const provider of [owner, replica]) {
      for (const one of [secret, others]) expect(await asks(bob, provider, one, bobsToken)).toEqual(nothing)
      const stolen = { ...secret, artifact: wanted.artifact }
      expect(await asks(bob, provider, stolen, bobsToken)).toEqual(nothing)
      for (const scope of scopesOf(secret)) expect(await round(bob, provider, bobsToken, scope)).toMatchObject(denied)
    }
    const { log } = await round(bob, owner, bobsToken, { kind: 'artifact', artifact: wanted.artifact })
    for await (const { bytes } of log.held.all()) {
      const { header, keys, auth } = decodeUnverifiedEntry(bytes, { partial: true })
      if (auth !== undefined) expect(keys).toBeUndefined()
      if (header.data !== undefined) expect(header.data.artifactSalt).toEqual(await saltOf(wanted))
    }
    const not = [...secret.words, ...others.words, 'message-to-carol', carol.id, carol.client.did]
    // Of other entries the hash at most: an entry names those before it.
    await expectUnknown(bob, ...not, await saltOf(secret), await saltOf(others), secret.root.digest, others.root.digest)
    const partial = sure(bob.replication.follows.logOf(owner.namespace().log.id))
    expect(partial.keyring.size).toBe(0)
    expect(await partial.sharing.of(wanted.artifact)).toEqual([])
  })

  test('loses nothing by what others sign of the same jti', async () => {
    const { claims } = decodeCapability(bobsToken)
    const { follows } = bob.replication
    for (const artifact of [wanted.artifact, others.artifact]) {
      const change = { issuer: stranger.id, artifact }
      const { token, claims: theirs } = signCapability(stranger.key, { ...(claims as ShareClaims), ...change })
      await follows.follow({ token, peers: [stranger.peer] })
      expect(follows.followed().filter(({ state }) => state === 'in-force')).toMatchObject([{ capability: { claims } }])
      expect((await bob.client.artifact.get({ artifactId: wanted.id })).version).toBe(1)
      await follows.unfollow(theirs)
      expect(follows.followed()).toMatchObject([{ state: 'in-force', capability: { claims } }])
    }
    await bob.client.artifact.download({ artifactId: wanted.id })
  })

  test('cannot write, nor give on what it has', async () => {
    const { log } = owner.namespace()
    const { claims } = decodeCapability(bobsToken) as { claims: ShareClaims }
    const audience = [{ kind: 'agent' as const, id: stranger.id }]
    const { token } = signCapability(bob.key, { ...claims, issuer: bob.id, audience })
    expect(await asks(stranger, owner, wanted, token)).toEqual(nothing)
    const header = {
      kind: 'delete' as const,
      namespace: log.id,
      grant: claims.grant,
      incarnation: new Uint8Array(16),
      seq: 0,
      previous: undefined,
      heads: [],
      clock: log.env.clock.tick(),
      keyId: undefined,
      data: { artifactSalt: await saltOf(wanted), parents: [wanted.entry], gen: 0, root: undefined, versions: [] },
    }
    const { bytes, entry } = signEntry(bob.key, header, {})
    for (const node of [owner, replica]) {
      expect(await node.namespace().log.receive([bytes])).toMatchObject({ stored: 0, unlinked: [entry.hash] })
    }
    expect((await owner.client.artifact.get({ artifactId: formatArtifactId(wanted.artifact) })).version).toBe(1)
  })
})

describe('who holds a group’s ticket', () => {
  test('learns its admins and its epoch, and no member', async () => {
    const lead = await agents.start()
    const plain = await agents.start()
    await lead.client.group.create({ name: 'team' })
    await lead.client.group.add({ group: 'team', agents: [plain.client.did] })
    const ticket = await lead.client.group.ticket({ group: 'team' })
    await plain.client.group.join({ ticket })
    await stranger.client.agent.add({ name: 'team', ticket })
    const { group } = sure(stranger.groups.resolve(ticket))
    const { signal } = new AbortController()
    const common = { network: stranger.network, scheduler, signal }
    stranger.network.addAddresses(lead.id, lead.peer.addresses)
    stranger.network.addAddresses(plain.id, plain.peer.addresses)
    for (const one of [lead, plain]) {
      const { proof } = sure(await askDescriptor(common, one.id, group))
      const told = raw(Buffer.concat(proof))
      expect([lead, plain].map(({ id }) => told.includes(raw(id)))).toEqual([true, false])
      for (const bytes of proof) expect(decodeUnverifiedEntry(bytes, { partial: true }).keys).toBeUndefined()
      const create = () => expect.fail('it was given the beginning')
      const joining = joinNamespace({ ...common, self: stranger.id, id: group, providers: [one.peer], create })
      expect(await codeOf(joining)).toBe('ACCESS_DENIED')
    }
    expect(await askDescriptor(common, lead.id, new Uint8Array(32))).toBeUndefined()
    await failureOf(stranger.client.group.join({ ticket }), 'ACCESS_DENIED')
    await failureOf(stranger.client.group.members({ group: 'team' }), 'NOT_FOUND')
    await expectUnknown(stranger, plain.client.did)
  })
})

describe('who was a recipient or a member', () => {
  test('keeps what it had, and is given nothing that was written since by those who know', async () => {
    const { client } = owner
    const { log: readers } = reader.namespace()
    await client.artifact.unshare({ artifactId: wanted.id, agents: ['bob'] })
    await client.namespace.revoke({ agent: reader.client.did })
    await eventually(() => expect(replica.namespace().log.roleOf(reader.id)).toBeUndefined())
    const words = ['name-since', 'type-since', 'metadata-since', 'content-since']
    const data = Buffer.from('content-since'.padEnd(40_000, ', content-since'))
    const artifactId = wanted.id
    await client.artifact.update({ artifactId, name: 'name-since', metadata: { kind: 'metadata-since' }, data })
    const since = await newest(artifactId, words)
    const later = await write('later')
    await eventually(async () => {
      expect(await replica.namespace().log.held.has(later.entry)).toBe(true)
      expect(bob.replication.follows.followed()).toMatchObject([{ state: 'ended', reason: 'REVOKED' }])
      expect(readers.roleOf(reader.id)).toBeUndefined()
      expect(reader.replication.namespaces.ended).toHaveLength(1)
    })
    for (const provider of [owner, replica]) {
      for (const one of [wanted, since, later]) {
        expect(await asks(bob, provider, one, bobsToken)).toEqual(nothing)
        expect(await asks(reader, provider, one)).toEqual(nothing)
      }
      for (const scope of scopesOf(wanted)) {
        const { result, stored, evidence } = await round(bob, provider, bobsToken, scope)
        expect([result, stored]).toEqual(['denied', 0])
        // What it is told why is told by entries about rights alone, without keys.
        for (const bytes of evidence) {
          const { auth, keys } = decodeUnverifiedEntry(bytes, { partial: true })
          expect([auth === undefined, keys]).toEqual([false, undefined])
        }
      }
    }
    for (const former of [bob, reader]) {
      const written = [since.entry, since.root.digest, later.entry, later.root.digest, await saltOf(later)]
      await expectUnknown(former, ...words, ...later.words, ...written)
    }
    await failureOf(bob.client.artifact.get({ artifactId }), 'ACCESS_DENIED')
    await failureOf(reader.client.artifact.get({ artifactId: later.id }), 'NOT_FOUND')
    expect(await carol.client.artifact.get({ artifactId: others.id })).toMatchObject({ version: 1 })
    expect(await replica.namespace().log.held.has(since.entry)).toBe(true)
  })
})
