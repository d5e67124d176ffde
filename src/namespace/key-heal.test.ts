import { describe, expect, test } from 'vitest'
import { converge, type NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { forge } from '../../test/support/sharing-nodes.ts'
import { epochSettleMs } from '../limits.ts'
import { encodeAuthBody } from '../log/index.ts'
import type { EpochSecret } from '../sharing/index.ts'
import {
  expectOpened,
  give,
  giveMany,
  healAll,
  keysOf,
  manyByName,
  misled,
  onlyWraps,
  rubbish,
} from './closed-keys.test-helper.ts'

/** Has the disk of a node be full at one of its next batches, counted from 0. */
function fillDisk({ store }: NamespaceNode, at = 0): void {
  const { batch } = store
  let left = at
  store.batch = async (changes, options) => {
    if (changes.length === 0 || left-- > 0) return await batch.call(store, changes, options)
    store.batch = batch
    throw new Error('the disk is full')
  }
}

/** Writes under an epoch that is none, which a node holds. */
async function writeUnder(node: NamespaceNode, epoch: EpochSecret, to: Iterable<NamespaceNode>): Promise<void> {
  await give(to, keysOf(node, node.env.random(16), onlyWraps([rubbish(node.env.random(16), epoch.id)])))
}

describe('what could not be stored, for the disk was full, is given at the next look', () => {
  test('an epoch', async () => {
    const { owner, writer, members, artifact } = await misled()
    fillDisk(writer)
    await expect(writer.ns.healer.run()).rejects.toThrow('the disk is full')
    for (const { ns } of members) expect(await ns.healer.owedKeys()).toEqual([writer.id])
    expect(await writer.ns.healer.run()).toBe(1)
    expect(await writer.ns.healer.run()).toBe(0)
    await converge(...members)
    expect(await owner.read(artifact)).toBe('one')
  })

  test('keys by name, of which some were stored', async () => {
    const { owner, hostile, admin, members } = await misled()
    await healAll(members)
    const sealed = await giveMany(members, () => manyByName(hostile, owner), 3)
    fillDisk(owner, 1)
    await expect(owner.ns.healer.run()).rejects.toThrow('the disk is full')
    expect(await owner.ns.healer.run()).toBe(1)
    expect(await owner.ns.healer.run()).toBe(0)
    await converge(...members)
    await expectOpened(admin, sealed)
  })
})

test.each([
  ['what it knew is missing of the first', true, 'another'],
  ['what it knew is missing of the last', false, 'another'],
  // Whose own chain is not whole either: that is the same wait.
  ['who began it used it', true, 'the same'],
] as const)(
  'an epoch that was begun several times without a right to waits ten minutes: %s',
  async (_, isFirst, who) => {
    const { time, owner, writer, hostile, admin, members } = await misled()
    await healAll(members)
    const epoch = hostile.ns.keyring.admitEpoch(hostile.env.random(32))
    const to = [owner.ns.membership.grantsOf(writer.id)[0]?.hash.subarray(0, 8) ?? expect.fail('it has a grant')]
    for (const heads of isFirst ? [[hostile.env.random(32)], []] : [[], [hostile.env.random(32)]]) {
      const keys = hostile.ns.keyring.sealEpoch(epoch, [writer.id], hostile.env.random(32))
      const draft = { kind: 'rotate' as const, keyId: epoch.id, data: undefined, heads }
      await give(
        [hostile, writer],
        forge(hostile, draft, () => ({ keys, body: encodeAuthBody({ kind: 'rotate', to }) })),
      )
    }
    if (who === 'another') await writeUnder(writer, epoch, [writer])
    else await writeUnder(hostile, epoch, [hostile, writer])
    expect([await writer.ns.healer.run(), writer.ns.healer.isPutOff]).toEqual([0, true])
    time.nowMs += epochSettleMs
    expect([await writer.ns.healer.run(), writer.ns.healer.isPutOff]).toEqual([1, false])
    await admin.pull(writer)
    expect(admin.ns.keyring.epoch(epoch.id)).toBeDefined()
  },
)

test('more epochs than an entry has room for are given in one go', async () => {
  const { writer, hostile, admin, members } = await misled()
  await healAll(members)
  const epochs: EpochSecret[] = []
  for (const by of [writer, hostile, admin]) {
    for (let at = 0; at < 50; at++) {
      const epoch = writer.ns.keyring.admitEpoch(writer.env.random(32))
      epochs.push(epoch)
      await writeUnder(by, epoch, members)
    }
  }
  expect(await writer.ns.healer.run()).toBe(2)
  await converge(...members)
  for (const { ns } of members) for (const { id } of epochs) expect(ns.keyring.epoch(id)).toBeDefined()
})

describe('once what there was no room for is given, all is not looked through again', () => {
  test.each(['epochs', 'keys by name'])('%s', async (what) => {
    const { writer, members } = await misled()
    await healAll(members)
    for (let at = 0; at < (what === 'epochs' ? 70 : 6); at++) {
      if (what === 'epochs') await writeUnder(writer, writer.ns.keyring.admitEpoch(writer.env.random(32)), members)
      else await give(members, manyByName(writer, writer).entry)
    }
    await healAll(members)
    const { store, ns } = writer
    const { entries } = store
    let looks = 0
    store.entries = (range, options) => {
      if (Buffer.compare(range.gte ?? new Uint8Array(0), ns.keys.all('artifactKeys').gte) === 0) looks += 1
      return entries.call(store, range, options)
    }
    for (let again = 0; again < 3; again++) expect(await ns.healer.owedKeys()).toEqual([])
    expect(looks).toBe(0)
  })
})
