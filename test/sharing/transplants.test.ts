/**
 * Everything that is signed or sealed, put where it does not belong: another namespace, artifact, group, epoch, agent. Each row says what is
 * moved, where to, and what comes of it; nothing that is moved is stored, and `stays` of each object opens or counts.
 */
import { beforeAll, describe, expect, test } from 'vitest'
import {
  type Capability,
  decodeCapability,
  decodeEnvelope,
  decodePresentation,
  encodePresentation,
  type GroupProof,
  type LinkClaims,
  openLinkKey,
  proveGroupMember,
  type ShareClaims,
  sealLinkKey,
  signCapability,
} from '../../src/capability/index.ts'
import { inThreadEngine } from '../../src/content/index.ts'
import { decodeCanonical, encodeCanonical, equalBytes, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { mayRead, type ReadSubject, readableRoot } from '../../src/exchange/may-read.ts'
import type { AgentKey } from '../../src/identity/index.ts'
import { decodeEntry, type Entry, encodeEntry, type KeySection } from '../../src/log/index.ts'
import type { Namespace, Share } from '../../src/namespace/index.ts'
import { type EpochSecret, Keyring } from '../../src/sharing/index.ts'
import { NamespaceNode, TestTime } from '../support/namespace-nodes.ts'
import { agentOf, createGroup, forge, groupOf, hold, recordGroup } from '../support/sharing-nodes.ts'

const sure = <T>(value: T | undefined): T => value ?? expect.fail('the world has it')

/** What an artifact's first version is in the log, and what opens it. */
interface Known {
  readonly artifact: Uint8Array
  readonly entry: Entry
  readonly digest: Uint8Array
  readonly keyId: Uint8Array
  readonly leaf: Uint8Array
  readonly encryption: Uint8Array
}

class World {
  readonly time = new TestTime()
  readonly owner = new NamespaceNode(1, this.time)
  /** The same agent in another namespace. */
  readonly elsewhere = new NamespaceNode(11, this.time, { agent: this.owner.agent })
  readonly writer = new NamespaceNode(2, this.time)
  readonly bob = new NamespaceNode(3, this.time)
  readonly eve = new NamespaceNode(4, this.time)
  /** Bob is in the first, both are in the second. */
  groups: [NamespaceNode, NamespaceNode] = [this.owner, this.owner]
  shares: Share[] = []
  /** Of the first artifact with Bob, and with the first group. */
  withBob!: Share
  withGroup!: Share
  a!: Known
  b!: Known
  c!: Known

  static async make(): Promise<World> {
    const world = new World()
    const { time, owner, elsewhere, writer, bob, eve } = world
    await owner.create()
    await elsewhere.create()
    await owner.ns.members.grant({ agent: (await writer.join(owner)).id, role: 'writer' })
    const groups = [await createGroup(50, time, [bob]), await createGroup(70, time, [bob, eve])]
    world.groups = [sure(groups[0]).owner, sure(groups[1]).owner]
    for (const group of world.groups) await recordGroup(owner, group)
    const [a, b, c] = [await owner.write('one'), await owner.write('two'), await elsewhere.write('three')]
    const audience = [agentOf(bob), groupOf(world.groups[0])]
    world.shares = await owner.ns.sharing.share({ artifact: a, audience })
    world.withBob = sure(world.shares.find(({ claims }) => claims.audience[0]?.kind === 'agent'))
    world.withGroup = sure(world.shares.find(({ claims }) => claims.audience[0]?.kind === 'group'))
    await owner.ns.sharing.share({ artifact: b, audience: [agentOf(bob)] })
    await elsewhere.ns.sharing.share({ artifact: c, audience: [agentOf(bob)] })
    for (const node of [writer, await bob.join(owner), await eve.join(owner)]) await node.pull(owner)
    world.a = await known(owner, a)
    world.b = await known(owner, b)
    world.c = await known(elsewhere, c)
    return world
  }

  /** All entries of a log, of one kind if one is named. */
  async entries({ ns }: NamespaceNode, kind?: Entry['header']['kind']): Promise<Entry[]> {
    const all = (await Array.fromAsync(ns.held.all())).map(({ bytes }) => decodeEntry(bytes))
    return kind === undefined ? all : all.filter(({ header }) => header.kind === kind)
  }

  /** Sections that hold a box for that share. */
  async section({ claims }: Share): Promise<KeySection> {
    const all = await this.entries(this.owner)
    const isOf = (keys: KeySection | undefined) =>
      keys?.boxes.some(({ label }) => label !== undefined && equalBytes(label.jti, claims.jti)) === true
    return sure(all.find(({ keys }) => isOf(keys))?.keys)
  }

  async capability(share: Share): Promise<Capability<ShareClaims>> {
    return decodeEnvelope(sure(await this.owner.ns.sharing.envelopeOf(share))).capability
  }

  epochKey({ ns }: NamespaceNode): { epoch: Uint8Array; key: AgentKey } {
    const epoch = sure(ns.membership.groups.epoch).epoch
    return { epoch, key: sure(ns.keyring.groupKey(epoch)) }
  }

  /** That of the first group, by Bob to the owner, unless something is otherwise. */
  proof(change: Partial<Parameters<typeof proveGroupMember>[1]> = {}, key?: AgentKey): GroupProof {
    const [group] = this.groups
    const { epoch, key: own } = this.epochKey(group)
    const context = { group: group.ns.id, epoch, requester: this.bob.id, provider: this.owner.id, ...change }
    return proveGroupMember(key ?? own, context)
  }

  /** What a provider says to an agent that shows it that, whether it is the whole answer or a reason. */
  async asked(
    share: Share,
    { ns = this.owner.ns, agent = this.bob.id, provider = this.owner.id, proof }: Partial<Asked> = {},
  ): Promise<string> {
    const capability = await this.capability(share)
    const verdict = ns.allows({ presentation: { capability, proof }, agent, provider, nowMs: this.time.nowMs })
    return verdict.allowed ? 'allowed' : verdict.reason
  }
}

interface Asked {
  readonly ns: Namespace
  readonly agent: Uint8Array
  readonly provider: Uint8Array
  readonly proof: GroupProof | undefined
}

async function known({ ns }: NamespaceNode, artifact: Uint8Array): Promise<Known> {
  const record = sure(await ns.catalog.get(artifact))
  const { digest, keyId } = record.root
  return {
    artifact,
    entry: sure(await ns.held.entry(record.entry)),
    digest,
    keyId,
    leaf: sure(await ns.blocks.read(digest)),
    encryption: (await ns.artifactKeys.open(artifact, keyId)).content.encryption,
  }
}

/** What comes of it, in a word: the code it fails with, `nothing` or `opens`. */
async function outcome(work: () => unknown): Promise<string> {
  try {
    const value = await work()
    if (typeof value === 'string') return value
    return value === undefined || value === false || value === 0 ? 'nothing' : 'opens'
  } catch (error) {
    if (isHubError(error)) return error.code
    throw error
  }
}

/** What a node says to entries; it must not take any. */
async function received(node: NamespaceNode, ...entries: readonly Uint8Array[]): Promise<string> {
  const rows = async () => (await Array.fromAsync(node.store.entries({}))).map((row) => row.map(toHex).join())
  const before = await rows()
  const { stored, refused } = await node.ns.receive(entries)
  expect(stored).toBe(0)
  expect(await rows()).toEqual(before)
  expect(refused).toHaveLength(entries.length)
  return [...new Set(refused.map(({ code }) => code))].join(' ')
}

/** A node that holds nothing of the namespace but its beginning. */
const newcomer = async ({ time, owner }: World) => await new NamespaceNode(90, time).join(owner)

const artifactKey = (
  namespace: Uint8Array,
  agent: AgentKey,
  { artifact, keyId }: Pick<Known, 'artifact' | 'keyId'>,
  section: KeySection,
  recipient = agent,
) => new Keyring(namespace, agent).openSealed(artifact, keyId, section, recipient)

/** With the ids of all its keys changed to another. */
const renamed = (section: KeySection, keyId: Uint8Array): KeySection => ({
  ...section,
  boxes: section.boxes.map((box) => ({ ...box, keyId })),
  wraps: section.wraps.map((wrap) => ({ ...wrap, keyId })),
})

const epochOf = ({ ns }: NamespaceNode): EpochSecret => sure(ns.keyring.epochHeads()[0])

const linkOf = (world: World, change: Partial<LinkClaims> = {}): LinkClaims => {
  const { owner, bob, a } = world
  const jti = new Uint8Array(16).fill(9)
  const audience = [{ kind: 'agent' as const, id: bob.id }]
  const place = { namespace: owner.ns.id, artifact: a.artifact, jti, audience }
  const seconds = Math.floor(world.time.nowMs / 1_000)
  return {
    kind: 'link',
    ...place,
    issuer: owner.id,
    grant: owner.ns.id,
    notBefore: seconds,
    expires: seconds + 60,
    pinned: {
      version: a.entry.hash,
      root: sure(a.entry.header.data?.root),
      sha256: new Uint8Array(32),
      ...sealLinkKey(a.encryption, a.keyId, place, new Uint8Array(32).fill(5)),
    },
    via: [],
    name: 'one',
    contentType: 'text/plain',
    disposition: 'attachment',
    ip: undefined,
    maxUses: undefined,
    ...change,
  }
}

const readableBy = async (
  { owner, bob, time }: World,
  capability: Capability,
  artifact: Uint8Array,
  digest: Uint8Array,
) => {
  const served = {
    roleOf: (agent: Uint8Array) => owner.ns.roleOf(agent),
    allows: (question: Parameters<typeof owner.ns.allows>[0]) => owner.ns.allows(question),
    rootOf: (of: Uint8Array, root: Uint8Array, after: number) => owner.ns.rootOf(of, root, { endedAfterMs: 0, after }),
  }
  const presentations = [{ capability, proof: undefined }]
  const asker = { agent: bob.id, provider: owner.id, nowMs: time.nowMs, presentations }
  return await readableRoot(served, asker, artifact, digest)
}

type Row = [object: string, to: string, what: (world: World) => unknown, expected: string]

const entries: Row[] = [
  [
    'all entries',
    'another namespace of the same owner',
    async (w) => received(w.elsewhere, ...(await w.entries(w.owner)).map(encodeEntry)),
    'CORRUPT',
  ],
  [
    'all entries',
    'a group',
    async (w) => received(w.groups[0], ...(await w.entries(w.owner)).map(encodeEntry)),
    'CORRUPT',
  ],
  [
    'all entries of a group',
    'a namespace',
    async (w) => received(w.owner, ...(await w.entries(w.groups[0])).map(encodeEntry)),
    'CORRUPT',
  ],
  [
    'all entries of a group',
    'another group',
    async (w) => received(w.groups[1], ...(await w.entries(w.groups[0])).map(encodeEntry)),
    'CORRUPT',
  ],
  [
    'a signature',
    'another entry of its author',
    async (w) => received(await newcomer(w), encodeEntry({ ...w.a.entry, signature: w.b.entry.signature })),
    'CORRUPT',
  ],
  [
    'a signature',
    'the same place of another namespace',
    async (w) => received(await newcomer(w), encodeEntry({ ...w.a.entry, signature: w.c.entry.signature })),
    'CORRUPT',
  ],
  [
    'a key section',
    'another entry',
    async (w) => received(await newcomer(w), encodeEntry({ ...w.a.entry, keysBytes: w.b.entry.keysBytes })),
    'CORRUPT',
  ],
  [
    'a body',
    'another entry',
    async (w) => received(await newcomer(w), encodeEntry({ ...w.a.entry, body: w.b.entry.body })),
    'CORRUPT',
  ],
  [
    'a leaf',
    'another entry',
    async (w) => received(await newcomer(w), encodeEntry({ ...w.a.entry, leaf: w.b.entry.leaf })),
    'CORRUPT',
  ],
]

const keys: Row[] = [
  [
    'a box for a share',
    'stays',
    async (w) => artifactKey(w.owner.ns.id, w.bob.agent, w.a, await w.section(w.withBob)),
    'opens',
  ],
  [
    'a box for a share',
    'another namespace',
    async (w) => artifactKey(w.elsewhere.ns.id, w.bob.agent, w.a, await w.section(w.withBob)),
    'nothing',
  ],
  [
    'a box for a share',
    'another artifact',
    async (w) =>
      artifactKey(w.owner.ns.id, w.bob.agent, { ...w.a, artifact: w.b.artifact }, await w.section(w.withBob)),
    'nothing',
  ],
  [
    'a box for a share',
    'another key',
    async (w) => artifactKey(w.owner.ns.id, w.bob.agent, w.b, renamed(await w.section(w.withBob), w.b.keyId)),
    'nothing',
  ],
  [
    'a box for a share',
    'another agent',
    async (w) => artifactKey(w.owner.ns.id, w.eve.agent, w.a, await w.section(w.withBob)),
    'nothing',
  ],
  [
    'a box for a share',
    'another ephemeral key',
    async (w) => {
      const [rotate] = await w.entries(w.owner, 'rotate')
      const moved = { ...(await w.section(w.withBob)), ephemeral: sure(rotate?.keys?.ephemeral) }
      return artifactKey(w.owner.ns.id, w.bob.agent, w.a, moved)
    },
    'nothing',
  ],
  [
    'a box for a group',
    'stays',
    async (w) =>
      artifactKey(w.owner.ns.id, w.bob.agent, w.a, await w.section(w.withGroup), w.epochKey(w.groups[0]).key),
    'opens',
  ],
  [
    'a box for a group',
    'another group',
    async (w) =>
      artifactKey(w.owner.ns.id, w.bob.agent, w.a, await w.section(w.withGroup), w.epochKey(w.groups[1]).key),
    'nothing',
  ],
  [
    'a wrap',
    'stays',
    (w) => {
      const keyring = new Keyring(w.owner.ns.id, w.eve.agent)
      keyring.admitEpoch(epochOf(w.owner).secret)
      return keyring.open(w.a.artifact, w.a.keyId, sure(w.a.entry.keys).wraps)
    },
    'opens',
  ],
  [
    'a wrap',
    'another namespace',
    (w) => {
      const keyring = new Keyring(w.elsewhere.ns.id, w.eve.agent)
      keyring.admitEpoch(epochOf(w.owner).secret)
      return keyring.open(w.a.artifact, w.a.keyId, sure(w.a.entry.keys).wraps)
    },
    'nothing',
  ],
  [
    'a wrap',
    'another artifact',
    (w) => {
      const keyring = new Keyring(w.owner.ns.id, w.eve.agent)
      keyring.admitEpoch(epochOf(w.owner).secret)
      return keyring.open(w.b.artifact, w.a.keyId, sure(w.a.entry.keys).wraps)
    },
    'nothing',
  ],
  [
    'a wrap',
    'another epoch',
    (w) => {
      const keyring = new Keyring(w.owner.ns.id, w.eve.agent)
      const { id } = keyring.admitEpoch(epochOf(w.elsewhere).secret)
      const wraps = sure(w.a.entry.keys).wraps.map((wrap) => ({ ...wrap, under: id }))
      return keyring.open(w.a.artifact, w.a.keyId, wraps)
    },
    'nothing',
  ],
  [
    'a box of an epoch',
    'another namespace',
    async (w) => {
      const [rotate] = await w.entries(w.owner, 'rotate')
      const there = new Keyring(w.elsewhere.ns.id, w.owner.agent)
      return there.admit(sure(rotate?.header.keyId), sure(rotate?.keys), true)
    },
    'nothing',
  ],
  [
    'a box of an epoch',
    'another epoch',
    async (w) => {
      const [rotate] = await w.entries(w.owner, 'rotate')
      const { id } = epochOf(w.elsewhere)
      return new Keyring(w.owner.ns.id, w.owner.agent).admit(id, renamed(sure(rotate?.keys), id), true)
    },
    'nothing',
  ],
  [
    'a body',
    'another place',
    async (w) => {
      const { grant, incarnation, author, seq } = w.a.entry.header
      const key = await w.owner.ns.artifactKeys.open(w.a.artifact, w.a.keyId)
      const place = { namespace: w.owner.ns.id, grant: sure(grant), incarnation, author, seq: seq + 1 }
      return key.openBody(sure(w.a.entry.body), place)
    },
    'CORRUPT',
  ],
  ['a block', 'stays', (w) => inThreadEngine.open(w.a.leaf.slice(), w.a.digest, w.a.encryption), 'opens'],
  ['a block', 'another artifact', (w) => inThreadEngine.open(w.a.leaf.slice(), w.a.digest, w.b.encryption), 'CORRUPT'],
  ['a block', 'another namespace', (w) => inThreadEngine.open(w.a.leaf.slice(), w.a.digest, w.c.encryption), 'CORRUPT'],
  [
    'a block',
    'the name of another',
    (w) => inThreadEngine.open(w.a.leaf.slice(), w.b.digest, w.a.encryption),
    'CORRUPT',
  ],
  ['a box of a link', 'stays', (w) => openLinkKey(linkOf(w), w.bob.agent), 'opens'],
  ['a box of a link', 'another gateway', (w) => openLinkKey(linkOf(w), w.eve.agent), 'nothing'],
  [
    'a box of a link',
    'another link',
    (w) => openLinkKey(linkOf(w, { jti: new Uint8Array(16).fill(8) }), w.bob.agent),
    'nothing',
  ],
  [
    'a box of a link',
    'another artifact',
    (w) => openLinkKey(linkOf(w, { artifact: w.b.artifact }), w.bob.agent),
    'nothing',
  ],
  [
    'a box of a link',
    'another namespace',
    (w) => openLinkKey(linkOf(w, { namespace: w.elsewhere.ns.id }), w.bob.agent),
    'nothing',
  ],
  [
    'a box of a link',
    'a key section',
    (w) => {
      const { ephemeral, boxes } = sure(linkOf(w).pinned)
      const section = { wraps: [], ephemeral, boxes: boxes.map((box) => ({ ...box, keyId: w.a.keyId })) }
      return artifactKey(w.owner.ns.id, w.bob.agent, w.a, section)
    },
    'nothing',
  ],
  [
    'a box for a share',
    'a link',
    async (w) => {
      const link = linkOf(w)
      const { ephemeral, boxes } = await w.section(w.withBob)
      return openLinkKey({ ...link, pinned: { ...sure(link.pinned), ephemeral: sure(ephemeral), boxes } }, w.bob.agent)
    },
    'nothing',
  ],
]

const artifactScope = ({ artifact }: Known): ReadSubject => ({ kind: 'artifact', artifact })

const rights: Row[] = [
  ['a capability', 'stays', (w) => w.asked(w.withBob), 'allowed'],
  ['a capability', 'another agent', (w) => w.asked(w.withBob, { agent: w.eve.id }), 'AUDIENCE'],
  ['a capability', 'another namespace', (w) => w.asked(w.withBob, { ns: w.elsewhere.ns }), 'AUDIENCE'],
  [
    'a capability',
    'another artifact',
    async (w) => {
      const presentations = [{ capability: await w.capability(w.withBob), proof: undefined }]
      const asker = { agent: w.bob.id, provider: w.owner.id, nowMs: w.time.nowMs, presentations }
      expect(mayRead(w.owner.ns, asker, artifactScope(w.a)).allowed).toBe(true)
      return mayRead(w.owner.ns, asker, artifactScope(w.b)).allowed
    },
    'nothing',
  ],
  [
    'a capability',
    'the whole namespace',
    async (w) => {
      const presentations = [{ capability: await w.capability(w.withBob), proof: undefined }]
      const asker = { agent: w.bob.id, provider: w.owner.id, nowMs: w.time.nowMs, presentations }
      return mayRead(w.owner.ns, asker, { kind: 'namespace' }).allowed
    },
    'nothing',
  ],
  [
    'a capability',
    'the blocks that stay',
    async (w) => readableBy(w, await w.capability(w.withBob), w.a.artifact, w.a.digest),
    'opens',
  ],
  [
    'a capability',
    'blocks of another artifact',
    async (w) => readableBy(w, await w.capability(w.withBob), w.a.artifact, w.b.digest),
    'nothing',
  ],
  [
    'claims',
    'another issuer',
    async (w) => {
      const { claims } = await w.capability(w.withBob)
      const { token } = signCapability(w.eve.agent, { ...claims, issuer: w.eve.id })
      const verdict = w.owner.ns.allows({
        presentation: { capability: decodeCapability(token), proof: undefined },
        agent: w.bob.id,
        provider: w.owner.id,
        nowMs: w.time.nowMs,
      })
      return verdict.allowed ? 'allowed' : verdict.reason
    },
    'ISSUER_REMOVED',
  ],
  [
    'a capability’s signature',
    'other claims',
    async (w) => {
      const { claims } = await w.capability(w.withBob)
      const other = signCapability(w.owner.agent, { ...claims, artifact: w.b.artifact })
      const [[said], [, signature]] = [parts(other.token), parts((await w.capability(w.withBob)).token)]
      return decodeCapability(encodeCanonical([said, signature]))
    },
    'CORRUPT',
  ],
  [
    'an envelope’s signature',
    'another envelope',
    async (w) => {
      const [first, other] = [w.withBob, w.withGroup].map(async (share) =>
        parts(sure(await w.owner.ns.sharing.envelopeOf(share))),
      )
      return decodeEnvelope(encodeCanonical([(await sure(first))[0], (await sure(other))[1]]))
    },
    'CORRUPT',
  ],
  [
    'an envelope',
    'a capability',
    async (w) => decodeCapability(sure(await w.owner.ns.sharing.envelopeOf(w.withBob))),
    'CORRUPT',
  ],
  ['a capability', 'an envelope', async (w) => decodeEnvelope((await w.capability(w.withBob)).token), 'CORRUPT'],
  ['a capability', 'a presentation', async (w) => decodePresentation((await w.capability(w.withBob)).token), 'CORRUPT'],
  ['a proof of a member', 'stays', (w) => w.asked(w.withGroup, { proof: w.proof() }), 'allowed'],
  ['a proof of a member', 'nowhere', (w) => w.asked(w.withGroup), 'AUDIENCE'],
  [
    'a proof of a member',
    'another capability',
    (w) => w.asked(w.withBob, { agent: w.eve.id, proof: w.proof({ requester: w.eve.id }) }),
    'AUDIENCE',
  ],
  [
    'a proof of a member',
    'another agent',
    (w) => w.asked(w.withGroup, { agent: w.eve.id, proof: w.proof() }),
    'GROUP_EPOCH',
  ],
  [
    'a proof of a member',
    'another provider',
    (w) => w.asked(w.withGroup, { proof: w.proof(), provider: w.writer.id }),
    'GROUP_EPOCH',
  ],
  [
    'a proof of another group',
    'a group’s capability',
    (w) => {
      const { epoch, key } = w.epochKey(w.groups[1])
      return w.asked(w.withGroup, { proof: w.proof({ group: w.groups[1].ns.id, epoch }, key) })
    },
    'AUDIENCE',
  ],
  [
    'a proof by another group’s key',
    'a group’s capability',
    (w) => w.asked(w.withGroup, { proof: w.proof({}, w.epochKey(w.groups[1]).key) }),
    'GROUP_EPOCH',
  ],
  [
    'a proof by the member’s own key',
    'a group’s capability',
    (w) => w.asked(w.withGroup, { proof: w.proof({}, w.bob.agent) }),
    'GROUP_EPOCH',
  ],
  [
    'a proof of another epoch',
    'a group’s capability',
    (w) => w.asked(w.withGroup, { proof: w.proof({ epoch: w.epochKey(w.groups[1]).epoch }) }),
    'GROUP_EPOCH',
  ],
  [
    'a whole presentation',
    'another agent',
    async (w) => {
      const bytes = encodePresentation((await w.capability(w.withGroup)).token, w.proof())
      const presentation = decodePresentation(bytes)
      const question = { presentation, provider: w.owner.id, nowMs: w.time.nowMs }
      expect(w.owner.ns.allows({ ...question, agent: w.bob.id }).allowed).toBe(true)
      return w.owner.ns.allows({ ...question, agent: w.eve.id }).allowed
    },
    'nothing',
  ],
]

/** The statement and the signature of whatever is signed as those two. */
const parts = (bytes: Uint8Array): [Uint8Array, Uint8Array] =>
  decodeCanonical(bytes, { maxBytes: bytes.length, what: 'what was signed' }) as [Uint8Array, Uint8Array]

const later: Row[] = [
  [
    'a link to a version',
    'blocks of another',
    async (w) => {
      const link = signCapability(w.owner.agent, linkOf(w))
      expect(await readableBy(w, link, w.a.artifact, w.a.digest)).toBeDefined()
      await w.owner.update(w.a.artifact, 'one, again')
      const second = sure(await w.owner.ns.catalog.get(w.a.artifact))
      return await readableBy(w, link, w.a.artifact, second.root.digest)
    },
    'nothing',
  ],
  [
    'a descriptor',
    'another group',
    async (w) => recorded(w, { group: w.groups[1].ns.id, proof: sure(await w.groups[0].ns.descriptors.own()).proof }),
    'CORRUPT',
  ],
  [
    'a rotate',
    'another group’s descriptor',
    async (w) => {
      const [own, other] = await Promise.all(w.groups.map(({ ns }) => ns.descriptors.own()))
      return recorded(w, { group: w.groups[0].ns.id, proof: [...sure(own).proof, ...sure(other).proof.slice(1)] })
    },
    'CORRUPT',
  ],
  [
    'a namespace',
    'a group’s descriptor',
    async (w) => {
      const rotates = [...(await w.entries(w.elsewhere, 'genesis')), ...(await w.entries(w.elsewhere, 'rotate'))]
      return recorded(w, { group: w.elsewhere.ns.id, proof: rotates.map(encodeEntry) })
    },
    'CORRUPT',
  ],
  [
    'a descriptor from before',
    'a later time',
    async (w) => {
      const before = sure(await w.groups[0].ns.descriptors.own())
      await w.groups[0].ns.members.rotate()
      await recordGroup(w.owner, w.groups[0])
      return recorded(w, before)
    },
    'nothing',
  ],
  [
    'a proof from before',
    'a later epoch',
    async (w) => {
      const proof = w.proof()
      await w.groups[0].ns.members.rotate()
      await recordGroup(w.owner, w.groups[0])
      return await w.asked(w.withGroup, { proof })
    },
    'GROUP_EPOCH',
  ],
  [
    'the end of a capability',
    'another namespace',
    async (w) => {
      // The owner is the issuer in both, and ends that name in the other one.
      const { ns } = w.elsewhere
      await ns.sharing.revokeCapabilities([w.withBob.claims.jti])
      const [ending] = await w.entries(w.elsewhere, 'revoke-capability')
      expect(await received(w.owner, encodeEntry(sure(ending)))).toBe('CORRUPT')
      return await w.asked(w.withBob)
    },
    'allowed',
  ],
]

/** What a namespace says to a group's descriptor; what it knew of the groups it knows afterwards. */
async function recorded({ owner, groups }: World, shown: { group: Uint8Array; proof: readonly Uint8Array[] }) {
  const state = () => ({
    entries: owner.ns.totals.entries,
    newest: [...groups.map(({ ns }) => ns.id), shown.group].map((group) => owner.ns.descriptors.newest(group)),
  })
  const before = state()
  const result = await outcome(() => owner.ns.descriptors.record(shown))
  expect(state()).toEqual(before)
  return result
}

describe('what stands in one place does nothing in another:', () => {
  let world: World
  beforeAll(async () => {
    world = await World.make()
  })

  test.each([...entries, ...keys, ...rights])('%s (%s)', async (_, _to, what, expected) => {
    expect(await outcome(() => what(world))).toBe(expected)
  })

  test.each(later)('%s (%s)', async (_, _to, what, expected) => {
    const own = await World.make()
    expect(await outcome(() => what(own))).toBe(expected)
  })
})

describe('a writer who moves what others sealed gives nobody anything by it:', () => {
  const copied = async (world: World, into: Known, from: KeySection, keyId: Uint8Array) => {
    const { artifactSalt } = sure(into.entry.header.data)
    const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [] }
    return forge(world.writer, { kind: 'keys', keyId, data }, () => ({ keys: from }))
  }

  test('boxes for one artifact’s share, to another artifact', async () => {
    const world = await World.make()
    const { owner, bob, a, b } = world
    const bytes = await copied(world, b, await world.section(world.withBob), a.keyId)
    const alien = [...world.shares, { ...world.withBob, claims: { ...world.withBob.claims, artifact: b.artifact } }]
    for (const node of [owner, bob]) expect(await node.ns.receive([bytes])).toMatchObject({ stored: 1 })
    await hold(bob, alien)
    await expect(bob.ns.artifactKeys.open(b.artifact, a.keyId)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(bob.ns.artifactKeys.open(b.artifact, b.keyId)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    expect(await bob.read(a.artifact)).toBe('one')
  })

  test('the label of one agent’s box, to a share of another', async () => {
    const world = await World.make()
    const { owner, bob, eve, a } = world
    const [withEve] = await owner.ns.sharing.share({ artifact: a.artifact, audience: [agentOf(eve)] })
    const section = await world.section(world.withBob)
    const { jti } = sure(withEve).claims
    const stolen = {
      ...section,
      wraps: [],
      boxes: section.boxes.map((box) => ({ ...box, label: { jti, epoch: undefined } })),
    }
    const bytes = await copied(world, a, stolen, a.keyId)
    for (const node of [owner, bob, eve]) expect(await node.ns.receive([bytes])).toMatchObject({ stored: 1 })
    await hold(eve, [sure(withEve)])
    await expect(eve.ns.artifactKeys.open(a.artifact, a.keyId)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    // What was sealed for her properly still is found beside it.
    await eve.pull(owner)
    expect(await eve.read(a.artifact)).toBe('one')
  })

  test('a version’s root and body, to another artifact', async () => {
    const world = await World.make()
    const { owner, writer, bob, a, b } = world
    const data = { ...sure(b.entry.header.data), parents: [b.entry.hash], gen: 2, root: a.entry.header.data?.root }
    const sections = { body: sure(a.entry.body), leaf: sure(a.entry.leaf), keys: sure(a.entry.keys) }
    const bytes = forge(writer, { kind: 'put', keyId: a.keyId, data }, () => sections)
    for (const node of [owner, bob]) expect(await node.ns.receive([bytes])).toMatchObject({ stored: 1 })
    // It is a version that nobody can read, of the artifact's own author either.
    for (const node of [owner, bob])
      await expect(node.ns.artifactKeys.open(b.artifact, a.keyId)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    expect(await owner.read(b.artifact, 1)).toBe('two')
    expect((await owner.ns.catalog.get(b.artifact))?.state.name).toBe('two')
  })
})
