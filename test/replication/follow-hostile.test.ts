import { expect, test } from 'vitest'
import { decodeCapability, signCapability } from '../../src/capability/index.ts'
import { equalBytes, parseArtifactId, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { KnownPeer } from '../../src/exchange/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { type LocalAgent, LocalAgents } from './agents.ts'
import { eventually } from './nodes.ts'

const text = async ({ client }: LocalAgent, artifactId: string): Promise<string> =>
  new TextDecoder().decode(await client.artifact.download({ artifactId }))

/** A capability that gives nothing, for anybody can sign one for a namespace that they have heard of. */
function emptyToken(issuer: LocalAgent, namespace: Uint8Array, artifactId: string, audience: LocalAgent): Uint8Array {
  return signCapability(issuer.key, {
    kind: 'share',
    issuer: issuer.id,
    grant: new Uint8Array(32).fill(1),
    namespace,
    artifact: parseArtifactId(artifactId),
    audience: [{ kind: 'agent', id: audience.id }],
    notBefore: 0,
    expires: undefined,
    jti: new Uint8Array(16).fill(7),
    after: 0,
  }).token
}

test.each<[string, (owner: LocalAgent) => KnownPeer[]]>([
  ['agents that are not there', () => nobody(16)],
  ['whoever has it', (owner) => [owner.peer]],
])('what a sender who gives nothing says of a namespace, naming %s, keeps from no share of it', async (_, named) => {
  await using agents = new LocalAgents()
  const [owner, bob, mallory] = [await agents.start(), await agents.start(), await agents.start()]
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const namespace = owner.namespace().log.id
  const token = await owner.share(id, bob)
  const empty = emptyToken(mallory, namespace, id, bob)
  await bob.replication.follows.follow({ token: empty, peers: named(owner) })
  await bob.replication.follows.follow({ token, peers: [owner.peer] })
  await eventually(async () => expect(await text(bob, id)).toBe('hello'))
})

test('a writer who shares something with the id of another’s share keeps no news of that one from whom it is with', async () => {
  await using agents = new LocalAgents()
  const [owner, mallory] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const bob = await agents.start()
  const { id: theirs } = await mallory.client.artifact.createSnippet({ name: 'theirs', content: 'hers' })
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  await eventually(async () => expect((await mallory.client.artifact.get({ artifactId: id })).name).toBe('note'))
  const token = await owner.share(id, bob)
  const { jti } = decodeCapability(token).claims
  const { env } = mallory.namespace().log
  const random = env.random
  Object.assign(env, { random: (length: number) => (length === 16 ? jti.slice() : random(length)) })
  const copied = await mallory.share(theirs, bob)
  Object.assign(env, { random })
  expect(decodeCapability(copied).claims.jti).toEqual(jti)
  const held = (one: LocalAgent) => toHex(one.namespace().log.held.vectorHash)
  await eventually(() => expect(held(owner)).toBe(held(mallory)))

  // Only the owner is there to be asked, who was asked about the one already.
  await mallory.stop()
  const { follows } = bob.replication
  await follows.follow({ token, peers: [owner.peer] })
  await eventually(async () => expect(await text(bob, id)).toBe('hello'))
  await follows.follow({ token: copied, peers: [owner.peer] })
  await eventually(async () => expect(await text(bob, theirs)).toBe('hers'))
  await owner.client.artifact.update({ artifactId: id, content: 'again' })
  await eventually(async () => expect(await text(bob, id)).toBe('again'))
})

/** An artifact that a writer, who is away, shared with somebody; an admin ended the writer's role after its own had ended, and has not heard of that. */
async function againstFormerAdmin(agents: LocalAgents) {
  const [owner, admin, writer] = (await agents.team('admin', 'writer')) as [LocalAgent, LocalAgent, LocalAgent]
  const bob = await agents.start()
  const { id } = await writer.client.artifact.createSnippet({ name: 'note', content: 'hello' })
  const token = await writer.share(id, bob)
  for (const one of [owner, admin])
    await eventually(async () => expect(one.namespace().log.totals.entries).toBe(writer.namespace().log.totals.entries))
  await owner.stop()
  await writer.stop()
  await admin.namespace().log.members.revoke({ agent: writer.id })
  await admin.stop()
  // Where they are now, it and the owner do not find each other.
  await owner.start()
  await owner.namespace().log.members.revoke({ agent: admin.id })
  await admin.start()
  expect([owner, admin].map((one) => one.namespace().log.roleOf(writer.id))).toEqual(['writer', undefined])
  return { owner, admin, bob, id, token }
}

test('what a former admin shows against a share ends it only where nobody shows more', async () => {
  await using agents = new LocalAgents()
  const { owner, admin, bob, id, token } = await againstFormerAdmin(agents)
  await bob.replication.follows.follow({ token, peers: [admin.peer, owner.peer] })
  await eventually(async () => expect(await text(bob, id)).toBe('hello'))
})

test('nor does it while whoever shows more cannot be reached for a moment', async () => {
  await using agents = new LocalAgents()
  const { owner, admin, bob, id, token } = await againstFormerAdmin(agents)
  const { network, replication } = bob
  const open = network.open.bind(network)
  let tries = 0
  const openUnlessBusy: typeof open = async (to, protocol, options) => {
    if (equalBytes(to, owner.id) && ++tries <= 2)
      throw new ArtifactHubError('UNAVAILABLE', 'it is busy', { details: { reason: 'timed-out' } })
    return await open(to, protocol, options)
  }
  Object.assign(network, { open: openUnlessBusy })
  const ended: string[] = []
  replication.follows.observe({ ended: ({ reason }) => ended.push(String(reason)) })
  await replication.follows.follow({ token, peers: [admin.peer, owner.peer] })
  await eventually(async () => expect(await text(bob, id)).toBe('hello'))
  expect([tries > 2, ended]).toEqual([true, []])
})

function nobody(count: number): KnownPeer[] {
  return Array.from({ length: count }, (_, at) => ({
    agent: new AgentKey(Buffer.alloc(32, `nobody ${at} of them `)).publicKey,
    addresses: [],
  }))
}
