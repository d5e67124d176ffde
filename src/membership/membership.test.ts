import { describe, expect, it } from 'vitest'
import { sha256, toHex } from '../encoding/index.ts'
import { AgentKey, Sealer } from '../identity/index.ts'
import { type AuthBody, decodeEntry, type Entry, encodeAuthBody, grantPrefix, signEntry } from '../log/index.ts'
import { agentNamed, History, Holder, membershipOf, type TestEntry } from './history.test-helper.ts'
import { type AuthEntry, Membership } from './index.ts'

const [ann, bob, eve, max] = ['ann', 'bob', 'eve', 'max'].map(agentNamed) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

/** Which of the entries count, as a row of 1 and 0. */
const row = (membership: Membership, entries: readonly TestEntry[]) =>
  entries.map((entry) => (membership.counts(entry) ? '1' : '0')).join('')

describe('roles', () => {
  it('gives the owner its role by the genesis alone', () => {
    const history = new History()
    const membership = membershipOf(history)
    expect(membership.roleOf(history.owner)).toBe('owner')
    expect(membership.roleOf(ann)).toBeUndefined()
    expect(membership.counts(history.genesis)).toBe(true)
    expect(membership.members.map(({ role }) => role)).toEqual(['owner'])
  })

  it('lets a chain count whatever of grant and chain comes first', () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const [put] = history.puts(1, { author: ann, under: grant }) as [TestEntry]
    const holder = new Holder(history.genesis)
    expect(holder.receive([put]).counts(put)).toBe(false)
    expect(holder.membership.knowsGrant(grant.hash)).toBe(false)
    expect(holder.receive([grant]).counts(put)).toBe(true)
  })

  it.each([
    ['of small order', new Uint8Array(32)],
    ['of small order, with another sign', Uint8Array.from({ length: 32 }, (_, at) => (at === 31 ? 0x80 : 0))],
    ['no field element', new Uint8Array(32).fill(0xff)],
  ])('gives none to what is no key: %s', (_, agent) => {
    const history = new History()
    const grant = history.grant(agent, 'reader')
    const membership = membershipOf(history)
    expect(membership.counts(grant)).toBe(true)
    expect(membership.roleOf(agent)).toBeUndefined()
    expect(membership.members).toHaveLength(1)
  })

  it('counts under a grant only what its agent writes', () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const foreign = history.append({ author: eve, under: grant })
    const own = history.append({ author: ann, under: grant })
    const ofOwner = history.append({ author: eve, under: history.genesis })
    const membership = membershipOf(history)
    expect(row(membership, [foreign, own, ofOwner])).toBe('010')
    expect(membership.forks).toEqual([])
  })

  it.each([
    ['admin', 'put delete drop keys share revoke-capability descriptor grant revoke adopt rotate'],
    ['writer', 'put delete drop keys share revoke-capability descriptor'],
    ['reader', ''],
    ['replica', ''],
  ] as const)('lets %s author only: %s', (role, kinds) => {
    const history = new History()
    const grant = history.grant(ann, role)
    const agent = { agent: bob, grant: grant.hash, incarnation: new Uint8Array(16), seq: 0, hash: grant.hash }
    const bodies: Record<string, AuthBody | undefined> = {
      put: undefined,
      delete: undefined,
      drop: undefined,
      keys: { kind: 'keys', to: [grantPrefix(grant.hash)] },
      share: undefined,
      'revoke-capability': { kind: 'revoke-capability', jtis: [new Uint8Array(16)] },
      descriptor: { kind: 'descriptor', group: bob, proof: [new Uint8Array(1)], role: undefined },
      grant: { kind: 'grant', agent: bob, role: 'reader', sealed: false },
      revoke: { kind: 'revoke', agent: bob, grants: [grant.hash], cuts: [] },
      adopt: { kind: 'adopt', ...agent },
      rotate: { kind: 'rotate', to: [grantPrefix(grant.hash)] },
    }
    const written = Object.entries(bodies).map(([kind, auth]) =>
      history.append({ author: ann, under: grant, kind: kind as 'put', ...(auth === undefined ? {} : { auth }) }),
    )
    const membership = membershipOf(history)
    const counting = written.filter((entry) => membership.counts(entry)).map(({ header }) => header.kind)
    expect(counting.join(' ')).toBe(kinds)
  })

  it('lets admins grant what is below them and nothing else', () => {
    const history = new History()
    const by = { author: ann, under: history.grant(ann, 'admin') }
    const grants = (['admin', 'writer', 'reader', 'replica'] as const).map((role, at) =>
      history.grant(agentNamed(`${at}`), role, by),
    )
    const membership = membershipOf(history)
    expect(grants.map(({ hash }) => membership.grantOf(hash)?.role)).toEqual([undefined, 'writer', 'reader', 'replica'])
    const [made] = grants as [TestEntry]
    const put = history.append({ author: agentNamed('0'), under: made })
    expect(membershipOf(history).counts(put)).toBe(false)
  })

  it('ends at once for grants nested under each other without end', () => {
    const history = new History()
    let under = history.grant(eve, 'writer')
    for (let at = 0; at < 20_000; at++)
      under = history.grant(eve, at % 2 === 0 ? 'admin' : 'writer', { author: eve, under })
    const membership = membershipOf(history)
    expect(membership.grantOf(under.hash)).toBeUndefined()
    expect(membership.roleOf(eve)).toBe('writer')
  })

  it('gives an agent the highest of its roles and judges each chain under its own grant', () => {
    const history = new History()
    const asAdmin = history.grant(ann, 'admin')
    const asReplica = history.grant(ann, 'replica')
    const asReader = history.grant(ann, 'reader')
    const asWriter = history.grant(ann, 'writer', { author: ann, under: asAdmin })
    const written = [asAdmin, asReplica, asReader, asWriter].map((under) =>
      history.append({ author: ann, under, inc: 'b' }),
    )
    const escalated = history.grant(bob, 'reader', { author: ann, under: asWriter })
    const membership = membershipOf(history)
    expect(membership.roleOf(ann)).toBe('admin')
    expect(membership.grantsOf(ann).map(({ role }) => role)).toEqual(['admin', 'writer', 'reader', 'replica'])
    expect(row(membership, written)).toBe('1001')
    expect(membership.counts(escalated)).toBe(false)
    expect(membership.roleOf(bob)).toBeUndefined()
  })

  it('lets the owner be granted lower roles, and neither that nor a revoke of the genesis takes anything from it', () => {
    const history = new History()
    const under = history.grant(ann, 'admin')
    const grant = history.grant(history.owner, 'writer', { author: ann, under })
    const lower = history.append({ author: history.owner, under: grant })
    const own = history.append({ author: history.owner, under: history.genesis, inc: 'other' })
    history.revoke([grant], [], { author: ann, under })
    history.say(
      { kind: 'revoke', agent: history.owner, grants: [history.genesis.hash], cuts: [] },
      { author: ann, under },
    )
    history.say({ kind: 'revoke', agent: history.owner, grants: [history.genesis.hash], cuts: [] })
    const membership = membershipOf(history)
    expect(membership.roleOf(history.owner)).toBe('owner')
    expect(row(membership, [lower, own])).toBe('01')
  })

  it('refuses entries of another namespace', () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const other = { ...grant, header: { ...grant.header, namespace: sha256(Buffer.from('other')) } }
    const membership = membershipOf(history, [other])
    expect(membership.roleOf(ann)).toBeUndefined()
    expect(membership.counts(other)).toBe(false)
  })
})

describe('revokes', () => {
  const setup = () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const puts = history.puts(5, { author: ann, under: grant })
    return { history, grant, puts, at: (seq: number) => puts[seq] as TestEntry }
  }

  it('end a chain at the cut, whether back-dated entries come before or after', () => {
    const { history, grant, puts, at } = setup()
    const revoke = history.revoke([grant], [at(2)])
    const backDated = history.puts(2, { author: ann, under: grant, after: at(4), wallMs: 1 })
    for (const order of [
      [grant, ...puts, revoke, ...backDated],
      [revoke, grant, ...puts, ...backDated],
    ]) {
      const membership = membershipOf(history, order)
      expect(row(membership, [...puts, ...backDated])).toBe('1110000')
      expect(membership.roleOf(ann)).toBeUndefined()
      expect(membership.grantOf(grant.hash)).toMatchObject({ role: 'writer', live: false })
    }
  })

  it('leave nothing of an incarnation that they do not list', () => {
    const { history, grant, puts, at } = setup()
    const hidden = history.puts(2, { author: ann, under: grant, inc: 'hidden' })
    history.revoke([grant], [at(1)])
    expect(row(membershipOf(history), [...puts, ...hidden])).toBe('1100000')
  })

  it('hold for grants that come later, and by the lowest of several cuts', () => {
    const { history, grant, puts, at } = setup()
    const high = history.revoke([grant], [at(3)])
    const low = history.revoke([grant], [at(1)])
    const membership = membershipOf(history, [high, low, ...puts])
    expect(row(membership, puts)).toBe('00000')
    expect(row(membership.with({ auth: [grant as AuthEntry] }), puts)).toBe('11000')
  })

  it('name the agent whose grants they end', () => {
    const { history, grant, puts } = setup()
    history.say({ kind: 'revoke', agent: bob, grants: [grant.hash], cuts: [] })
    expect(row(membershipOf(history), puts)).toBe('11111')
  })

  it('of one rank by the same rank or below have no effect', () => {
    const history = new History()
    const [a, b] = [history.grant(ann, 'admin'), history.grant(bob, 'admin')]
    const writer = history.grant(eve, 'writer')
    history.revoke([b], [], { author: ann, under: a })
    history.revoke([a], [], { author: bob, under: b })
    history.revoke([a], [], { author: eve, under: writer })
    const membership = membershipOf(history)
    expect([ann, bob, eve].map((agent) => membership.roleOf(agent))).toEqual(['admin', 'admin', 'writer'])
  })

  it('of two admins at once both hold', () => {
    const { history, grant, puts, at } = setup()
    const [a, b] = [history.grant(max, 'admin'), history.grant(bob, 'admin')]
    history.revoke([grant], [at(3)], { author: max, under: a })
    history.revoke([grant], [at(2)], { author: bob, under: b })
    expect(row(membershipOf(history), puts)).toBe('11100')
  })

  it('of an admin count up to the cut at which the owner removed it', () => {
    const { history, grant, puts, at } = setup()
    const other = history.grant(bob, 'reader')
    const by = { author: eve, under: history.grant(eve, 'admin') }
    const seen = history.revoke([grant], [at(0)], by)
    const granted = history.grant(max, 'writer', by)
    const unseen = history.revoke([other], [], by)
    const late = history.grant(agentNamed('late'), 'writer', by)
    history.revoke([by.under], [granted])
    const membership = membershipOf(history)
    expect(row(membership, [seen, granted, unseen, late])).toBe('1100')
    expect(row(membership, puts)).toBe('10000')
    expect([bob, max, agentNamed('late'), eve].map((agent) => membership.roleOf(agent))).toEqual([
      'reader',
      'writer',
      undefined,
      undefined,
    ])
  })

  it('leave room for a new grant, under which the agent begins new chains', () => {
    const { history, grant, puts, at } = setup()
    history.revoke([grant], [at(1)])
    const again = history.grant(ann, 'writer')
    const fresh = history.append({ author: ann, under: again })
    const stale = history.append({ author: ann, under: grant })
    const membership = membershipOf(history)
    expect(membership.roleOf(ann)).toBe('writer')
    expect(membership.grantsOf(ann).map(({ hash }) => hash)).toEqual([again.hash])
    expect(row(membership, [...puts, fresh, stale])).toBe('1100010')
  })

  it('bound a chain by seq while the entry at the cut is not held, and let no other one stand there', () => {
    const { history, grant, puts, at } = setup()
    const other = history.puts(2, { author: ann, under: grant, after: at(1) })
    const revoke = history.revoke([grant], [at(3)])
    const before = membershipOf(history, [grant, revoke, at(0), at(1), ...other])
    // As far as that node can tell the first of them may be on the cut's path; the second stands in the cut's place.
    expect(row(before, other)).toBe('10')
    const after = membershipOf(history, [grant, revoke, at(0), at(1), ...other, at(2), at(3)])
    expect(row(after, [...puts, ...other])).toBe('1111000')
  })

  it('with a hash that stands elsewhere cut by seq and revive nothing', () => {
    const { history, grant, puts, at } = setup()
    const { header } = at(0)
    const cut = { grant: grant.hash, incarnation: header.incarnation, seq: 1, hash: at(4).hash }
    history.say({ kind: 'revoke', agent: ann, grants: [grant.hash], cuts: [cut] })
    history.say({ kind: 'adopt', agent: ann, ...cut, seq: 3 })
    expect(row(membershipOf(history), puts)).toBe('10000')
  })
})

describe('what changed', () => {
  it('names the grants whose chains may count otherwise, or all of them', () => {
    const history = new History()
    const writer = history.grant(ann, 'writer')
    const admin = history.grant(bob, 'admin')
    const base = membershipOf(history)
    const added = (entry: TestEntry) => base.with({ auth: [entry as AuthEntry] }).touched
    expect(added(history.revoke([writer], []))).toEqual(new Set([toHex(writer.hash)]))
    expect(added(history.revoke([admin], []))).toBeUndefined()
    expect(added(writer)).toEqual(new Set())
    expect(added(history.say({ kind: 'keys', to: [grantPrefix(writer.hash)] }))).toEqual(new Set())
  })

  it('leaves the membership it was made from as it was', () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const before = membershipOf(history)
    const after = before.with({ auth: [history.revoke([grant], []) as AuthEntry] })
    expect([before.roleOf(ann), after.roleOf(ann)]).toEqual(['writer', undefined])
  })
})

describe('from bytes', () => {
  it('evaluates signed entries as they are decoded', () => {
    const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
    const [owner, member] = [new AgentKey(fill(32, 1)), new AgentKey(fill(32, 2))]
    const clock = { wallMs: 5, counter: 0 }
    const common = { incarnation: fill(16, 3), heads: [], clock, data: undefined }
    const read = (bytes: Uint8Array) => decodeEntry(bytes) as Entry & AuthEntry
    const genesis = read(
      signEntry(
        owner,
        {
          ...common,
          kind: 'genesis',
          namespace: undefined,
          grant: undefined,
          seq: 0,
          previous: undefined,
          keyId: undefined,
        },
        { body: encodeAuthBody({ kind: 'genesis', type: 'namespace', nonce: fill(16, 4) }) },
      ).bytes,
    )
    const namespace = genesis.hash
    const keyId = fill(16, 5)
    const sealer = new Sealer(fill(32, 6))
    const subject = new Uint8Array(0)
    const box = sealer.seal(fill(32, 7), owner.publicKey, { kind: 'epoch', namespace, subject, keyId })
    const rotate = read(
      signEntry(
        owner,
        { ...common, kind: 'rotate', namespace, grant: namespace, seq: 1, previous: namespace, keyId },
        {
          keys: {
            wraps: [{ keyId: fill(16, 9), under: keyId, box: fill(48, 8) }],
            ephemeral: sealer.ephemeral,
            boxes: [{ keyId, ...box }],
          },
          body: encodeAuthBody({ kind: 'rotate', to: [grantPrefix(namespace)] }),
        },
      ).bytes,
    )
    const grant = read(
      signEntry(
        owner,
        { ...common, kind: 'grant', namespace, grant: namespace, seq: 2, previous: rotate.hash, keyId: undefined },
        { body: encodeAuthBody({ kind: 'grant', agent: member.publicKey, role: 'reader', sealed: false }) },
      ).bytes,
    )
    const membership = Membership.of(genesis).with({ auth: [genesis, grant, rotate] })
    expect(membership.roleOf(member.publicKey)).toBe('reader')
    expect(membership.owed).toMatchObject({ rotation: false, epoch: keyId, boxes: [{ agent: member.publicKey }] })
    expect([genesis, rotate, grant].every((entry) => membership.counts(entry))).toBe(true)
    expect(() => Membership.of(grant)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})
