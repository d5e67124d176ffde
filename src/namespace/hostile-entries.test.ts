import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { forge } from '../../test/support/sharing-nodes.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { boxedKeyBytes, boxTagBytes } from '../identity/index.ts'
import { maxSurplusBytes, maxSurplusEntries } from '../limits.ts'
import {
  decodeEntry,
  type EntrySections,
  encodeAuthBody,
  grantPrefix,
  type HeaderDraft,
  type KeySection,
  signEntry,
} from '../log/index.ts'
import { Overlay } from '../storage/index.ts'
import { Accounts, readTotals } from './accounts.ts'
import type { Tip } from './chains.ts'

/** An owner with a namespace, and agents that have joined it and been granted these roles. */
async function team(...roles: readonly ('admin' | 'writer' | 'reader')[]) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const others: NamespaceNode[] = []
  for (const [at, role] of roles.entries()) {
    const other = await new NamespaceNode(2 + at, time).join(owner)
    await owner.ns.members.grant({ agent: other.id, role })
    others.push(other)
  }
  await converge(owner, ...others)
  const joins = async (): Promise<NamespaceNode> => {
    const late = await new NamespaceNode(40, time).join(owner)
    await owner.ns.members.grant({ agent: late.id, role: 'reader' })
    return late
  }
  return { time, owner, others: others as [NamespaceNode, NamespaceNode], joins }
}

type Draft = Pick<HeaderDraft, 'kind' | 'keyId' | 'data'>

/** Entries one after another on a chain, signed by whoever they are of, whatever the rules say. */
function chainOn(
  { agent, ns }: NamespaceNode,
  start: Pick<Tip, 'grant' | 'incarnation'> & Partial<Pick<Tip, 'seq' | 'hash'>>,
  entries: readonly (Draft & EntrySections)[],
): Uint8Array[] {
  let [seq, previous] = start.seq === undefined ? [0, undefined] : [start.seq + 1, start.hash]
  return entries.map(({ kind, keyId, data, ...sections }) => {
    const { grant, incarnation } = start
    const place = { namespace: ns.id, grant, incarnation, seq, previous, heads: [] }
    const { entry, bytes } = signEntry(agent, { kind, keyId, data, ...place, clock: ns.env.clock.tick() }, sections)
    seq += 1
    previous = entry.hash
    return bytes
  })
}

/** Entries that bring many ways to an artifact key, none of which leads anywhere. */
async function falseWays(owner: NamespaceNode, artifact: Uint8Array, under: Uint8Array | 'boxes') {
  const record = await owner.ns.catalog.get(artifact)
  const header = (await owner.ns.held.entry(record?.entry as Uint8Array))?.header
  const [keyId, salt] = [header?.keyId as Uint8Array, header?.data?.artifactSalt as Uint8Array]
  const data = { artifactSalt: salt, parents: [], gen: 0, root: undefined, versions: [] }
  const sections: KeySection[] =
    under === 'boxes'
      ? Array.from({ length: 260 }, () => ({
          wraps: [],
          ephemeral: new Uint8Array(32).fill(9),
          boxes: [{ keyId, tag: new Uint8Array(boxTagBytes), box: new Uint8Array(boxedKeyBytes) }],
        }))
      : Array.from({ length: 3 }, (_, entry) => ({
          wraps: Array.from({ length: 128 }, (_, at) => {
            const box = new Uint8Array(boxedKeyBytes)
            box.set([entry, at])
            return { keyId, under, box }
          }),
          ephemeral: undefined,
          boxes: [],
        }))
  return { keyId, entries: sections.map((keys) => ({ kind: 'keys' as const, keyId, data, keys })) }
}

function tipOf(node: NamespaceNode): Tip {
  return [...node.ns.held.tips()].find(({ author }) => equalBytes(author, node.id)) as Tip
}

describe('what a former writer signs, beyond its cut,', () => {
  test.each(['boxes', 'wraps'])('does not hide the key of anyone’s artifact behind false %s', async (what) => {
    const { owner, others, joins } = await team('writer', 'reader')
    const [former, reader] = others
    const artifact = await owner.write('precious')
    await owner.update(artifact, 'more precious')
    await former.write('mine')
    await converge(owner, former, reader)
    const { entries } = await falseWays(owner, artifact, what === 'boxes' ? what : new Uint8Array(16))
    await owner.ns.members.revoke({ agent: former.id })
    await converge(owner, reader)
    const { stored } = await reader.ns.receive(chainOn(former, tipOf(former), entries))
    expect(stored).toBe(entries.length)
    const late = await joins()
    await converge(owner, reader, late)
    for (const node of [owner, reader, late]) {
      await node.open()
      expect(await node.read(artifact)).toBe('more precious')
      expect(await node.read(artifact, 1)).toBe('precious')
    }
  })

  test('does not make a key that it knows look as if it did not', async () => {
    for (let draw = 0; draw < 4; draw++) {
      const { owner, others } = await team('writer')
      const [former] = others
      owner.env.random(draw + 1)
      const artifact = await owner.write('precious')
      await former.write('mine')
      await converge(owner, former)
      await owner.ns.members.revoke({ agent: former.id })
      // The id of the new epoch is public.
      const epoch = owner.ns.membership.epochs.find(({ id }) => owner.ns.membership.isGoodEpoch(id))
      const { keyId, entries } = await falseWays(owner, artifact, epoch?.id as Uint8Array)
      owner.ns.keyring.remember(artifact, await owner.ns.artifactKeys.open(artifact, keyId))
      await owner.ns.receive(chainOn(former, tipOf(former), entries))
      await owner.update(artifact, 'not for the former writer')
      const current = await owner.ns.catalog.get(artifact)
      const { header } = (await owner.ns.held.entry(current?.entry as Uint8Array)) as { header: { keyId: Uint8Array } }
      expect(toHex(header.keyId)).not.toBe(toHex(keyId))
    }
  })
})

describe('what a former writer goes on writing', () => {
  const draft = {
    artifactSalt: new Uint8Array(16),
    parents: [new Uint8Array(32)],
    gen: 0,
    root: undefined,
    versions: [],
  }
  const deletes = (count: number) =>
    Array.from({ length: count }, () => ({ kind: 'delete' as const, keyId: undefined, data: draft }))

  /** An owner, a reader, and a writer who was removed after it wrote something. */
  async function withFormer() {
    const { owner, others } = await team('writer', 'reader')
    const [former, reader] = others
    await former.write('mine')
    await converge(owner, former, reader)
    await owner.ns.members.revoke({ agent: former.id })
    return { owner, former, reader }
  }

  test('is kept in a bounded amount, under whatever incarnations, and told to nobody', async () => {
    const { owner, former, reader } = await withFormer()
    await converge(owner, reader)
    const [hash, { entries }] = [toHex(owner.ns.held.vectorHash), owner.ns.totals]
    const start = tipOf(former)
    const fresh = { grant: start.grant, incarnation: new Uint8Array(16).fill(1) }
    let stored = 0
    for (const chain of [chainOn(former, start, deletes(700)), chainOn(former, fresh, deletes(700))]) {
      for (let at = 0; at < chain.length; at += 140) {
        const got = await owner.ns.receive(chain.slice(at, at + 140))
        expect(got.refused.every(({ code }) => code === 'void')).toBe(true)
        stored += got.stored
      }
    }
    expect(stored).toBe(maxSurplusEntries)
    expect(owner.ns.totals.entries).toBe(entries + maxSurplusEntries)
    expect(toHex(owner.ns.held.vectorHash)).toBe(hash)
    await owner.open()
    expect(toHex(owner.ns.held.vectorHash)).toBe(hash)
    expect(toHex(reader.ns.held.vectorHash)).toBe(hash)
    expect(await Array.fromAsync(owner.ns.held.entriesBeyond(reader.ns.held.vector()))).toEqual([])
  })

  test('is bounded over incarnations that are all forked, after a restart too', async () => {
    const { owner, former } = await withFormer()
    const { entries } = owner.ns.totals
    const { grant } = tipOf(former)
    const send = async (incarnation: number) => {
      const fresh = { grant, incarnation: new Uint8Array(16).fill(incarnation) }
      const chain = chainOn(former, fresh, deletes(400))
      const { hash } = decodeEntry(chain.at(-2) as Uint8Array)
      const beside = chainOn(former, { ...fresh, seq: 398, hash }, deletes(1))
      for (let at = 0; at < chain.length; at += 200) await owner.ns.receive(chain.slice(at, at + 200))
      await owner.ns.receive(beside)
    }
    for (let incarnation = 1; incarnation <= 4; incarnation += 1) await send(incarnation)
    expect(owner.ns.totals.entries - entries).toBeLessThan(maxSurplusEntries + 10)
    await owner.open()
    await send(5)
    expect(owner.ns.totals.entries - entries).toBeLessThan(maxSurplusEntries + 10)
  })

  test('is not counted when it could not be stored', async () => {
    const { owner, former } = await withFormer()
    const { getMany } = owner.store
    const chain = chainOn(former, tipOf(former), deletes(200))
    for (let turn = 0; turn < 2 * (maxSurplusEntries / chain.length); turn += 1) {
      let calls = 0
      // Some time after the entries were taken for storing.
      owner.store.getMany = async (keys) => {
        calls += 1
        if (calls >= 4) throw new Error('the disk fails')
        return await getMany.call(owner.store, keys)
      }
      await expect(owner.ns.receive(chain)).rejects.toThrow('the disk fails')
    }
    owner.store.getMany = getMany
    expect((await owner.ns.receive(chain)).stored).toBe(chain.length)
  })

  test('is bounded in bytes too', async () => {
    const { owner, former } = await withFormer()
    const artifact = await owner.write('precious')
    const before = owner.ns.totals.entryBytes
    const { entries } = await falseWays(owner, artifact, new Uint8Array(16))
    const chain = chainOn(former, tipOf(former), Array.from({ length: 80 }, () => entries).flat())
    for (let at = 0; at < chain.length; at += 12) await owner.ns.receive(chain.slice(at, at + 12))
    expect(chain.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(maxSurplusBytes)
    expect(owner.ns.totals.entryBytes - before).toBeLessThanOrEqual(maxSurplusBytes)
  })

  test('travels once it is adopted', async () => {
    const { owner, former, reader } = await withFormer()
    await former.write('written while away')
    await owner.pull(former)
    await converge(owner, reader)
    expect(await reader.names()).toEqual(['mine'])
    expect(toHex(reader.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
    await owner.ns.members.adopt({ hash: tipOf(former).hash })
    await converge(owner, reader)
    expect(await reader.names()).toEqual(['mine', 'written while away'])
    expect(toHex(reader.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
  })

  test('on both branches of a fork is bounded, and the proof of the fork reaches everybody', async () => {
    const { owner, others } = await team('writer', 'reader')
    const [writer, reader] = others
    await writer.write('mine')
    await converge(owner, writer, reader)
    const [one, two] = [0, 1].map(() => chainOn(writer, tipOf(writer), deletes(1_300)))
    for (const [node, chain] of [
      [owner, one],
      [reader, two],
    ] as const) {
      for (let at = 0; at < 1_300; at += 260) await node.ns.receive((chain as Uint8Array[]).slice(at, at + 260))
    }
    await converge(owner, reader)
    expect(owner.ns.membership.forks).toHaveLength(1)
    expect(reader.ns.membership.forks).toEqual(owner.ns.membership.forks)
    expect(toHex(reader.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
    expect(owner.ns.totals.entries).toBeLessThan(1_300 + 100)
  })
})

test('epochs that anyone seals to a member are not taken for the namespace’s, nor kept', async () => {
  const { time, owner, joins } = await team()
  await owner.write('from before')
  const stranger = await new NamespaceNode(70, time).join(owner)
  const forged = Array.from({ length: 140 }, () => {
    const epoch = stranger.ns.keyring.admitEpoch(stranger.env.random(32))
    const keys = stranger.ns.keyring.sealEpoch(epoch, [owner.id], stranger.env.random(32))
    const body = encodeAuthBody({ kind: 'rotate', to: [grantPrefix(owner.ns.id)] })
    const place = { grant: stranger.env.random(32), incarnation: stranger.env.random(16) }
    return chainOn(stranger, place, [{ kind: 'rotate', keyId: epoch.id, data: undefined, keys, body }])
  }).flat()
  const { size } = owner.ns.keyring
  expect(await owner.ns.receive(forged)).toMatchObject({ stored: 0, refused: [] })
  expect(owner.ns.keyring.size).toBe(size)
  await owner.ns.members.rotate()
  const late = await joins()
  await converge(owner, late)
  expect(await late.names()).toEqual(['from before'])
})

test('what versions claim to weigh, however much, is counted and taken off again', async () => {
  const { owner } = await team()
  const { keys, blocks, env } = owner.ns
  const totals = { ...owner.ns.totals, exactLeafBytes: BigInt(Number.MAX_SAFE_INTEGER) - 5n }
  const accounts = new Accounts({ keys, blocks, overlay: new Overlay(env.store), totals, isNew: () => true })
  const root = {
    digest: new Uint8Array(32).fill(3),
    codec: 0x70,
    inline: false,
    sizeBytes: 10e9,
    storedBytes: 20e9,
    keyId: new Uint8Array(16),
  }
  await accounts.hold(new Uint8Array(20), root)
  const [row] = accounts.changes
  const read = readTotals((row as { value: Uint8Array }).value)
  expect(read).toEqual(accounts.totals)
  expect(read).toMatchObject({ exactLeafBytes: totals.exactLeafBytes + 20_000_000_000n })
  expect(read?.leafBytes).toBe(Number.MAX_SAFE_INTEGER)
  await accounts.release(new Uint8Array(20), root)
  expect(accounts.totals.exactLeafBytes).toBe(totals.exactLeafBytes)
  expect(accounts.addedLeafBytes).toBe(0)
})

test.each([
  ['a namespace', 'of small order', new Uint8Array(32)],
  ['a namespace', 'no field element', new Uint8Array(32).fill(0xff)],
  ['a group', 'of small order', new Uint8Array(32)],
])(
  'an admin of %s who gives a role to what is no key (%s) keeps nobody from being removed, itself neither',
  async (what, _, nobody) => {
    const isGroup = what === 'a group'
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create({ isGroup })
    const [admin, other] = [await new NamespaceNode(2, time).join(owner), await new NamespaceNode(3, time).join(owner)]
    await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
    await owner.ns.members.grant({ agent: other.id, role: 'writer' })
    await converge(owner, admin, other)
    const body = encodeAuthBody({ kind: 'grant', agent: nobody, role: 'writer', sealed: false, via: undefined })
    const bytes = forge(admin, { kind: 'grant', keyId: undefined, data: undefined }, () => ({ body }))
    for (const { ns } of [owner, other]) expect(await ns.receive([bytes])).toMatchObject({ stored: 1 })
    const before = owner.ns.membership.epochs.length
    await owner.ns.healer.run()
    for (const { id } of [other, admin]) await owner.ns.members.revoke({ agent: id })
    expect(owner.ns.membership.epochs.length).toBeGreaterThan(before)
    expect(owner.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
    expect(owner.ns.membership.members.map(({ agent }) => agent)).toEqual([owner.id])
  },
)

test('nothing is stored under a grant that only lets read', async () => {
  const { owner, others } = await team('reader')
  const [reader] = others
  const grant = owner.ns.membership.grantsOf(reader.id)[0]?.hash as Uint8Array
  const data = {
    artifactSalt: new Uint8Array(16),
    parents: [new Uint8Array(32)],
    gen: 0,
    root: undefined,
    versions: [],
  }
  const entries = Array.from({ length: 5 }, () => ({ kind: 'delete' as const, keyId: undefined, data }))
  const place = { grant, incarnation: new Uint8Array(16) }
  const { entries: before } = owner.ns.totals
  expect(await owner.ns.receive(chainOn(reader, place, entries))).toMatchObject({ stored: 0 })
  expect(owner.ns.totals.entries).toBe(before)
})

test('who is granted a role after epochs began at the same time reads what was written under each', async () => {
  const { owner, others, joins } = await team('admin')
  const [admin] = others
  await owner.ns.members.rotate()
  await admin.ns.members.rotate()
  await owner.write('by the owner')
  await admin.write('by the admin')
  await converge(owner, admin)
  const late = await joins()
  await owner.ns.healer.run()
  await converge(owner, admin, late)
  expect(await late.names()).toEqual(['by the admin', 'by the owner'])
  const { entries } = owner.ns.totals
  for (const node of [owner, admin]) expect(await node.ns.healer.run()).toBe(0)
  expect(owner.ns.totals.entries).toBe(entries)
})
