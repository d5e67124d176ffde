import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { equalBytes, sha256 } from '../encoding/index.ts'
import { signEntry } from '../log/index.ts'
import { follow, ownerAndWriter, shareWith, tell } from './partial-log.test-helper.ts'

/** An entry of the chain, as the next one names it. */
interface Made {
  readonly seq: number
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
}

/** Who holds, all or a part, a chain with branches of that length, of which the owner has adopted the longer one; and its author. */
async function longBranches(holder: 'member' | 'follower', length: number) {
  const { time, owner, writer, wanted } = await ownerAndWriter()
  await writer.update(wanted, 'wanted too')
  await converge(owner, writer)
  const record = await owner.ns.catalog.get(wanted)
  const { header } = (await owner.ns.held.entry(record?.entry as Uint8Array)) ?? expect.fail('it is held')
  const followedSalt = header.data?.artifactSalt as Uint8Array
  const tip = [...writer.ns.held.tips()].find(({ author }) => equalBytes(author, writer.id)) ?? expect.fail('it wrote')
  let made = 0
  const entryAfter = ({ seq, hash }: Pick<Made, 'seq' | 'hash'>): Made => {
    made += 1
    const drawn = sha256(Buffer.from(`entry ${made}`))
    // Of a member each of another artifact; who follows takes nothing of others.
    const artifactSalt = holder === 'member' ? drawn.slice(0, 16) : followedSalt
    const { entry, bytes } = signEntry(
      writer.agent,
      {
        kind: 'delete',
        namespace: writer.ns.id,
        grant: tip.grant,
        incarnation: tip.incarnation,
        seq: seq + 1,
        previous: hash,
        heads: [],
        clock: writer.env.clock.tick(),
        keyId: undefined,
        data: { artifactSalt, parents: [drawn], gen: 0, root: undefined, versions: [] },
      },
      {},
    )
    return { seq: seq + 1, hash: entry.hash, bytes }
  }
  const chainAfter = (start: Pick<Made, 'seq' | 'hash'>, count: number): Made[] => {
    const chain: Made[] = []
    for (let at = 0; at < count; at++) chain.push(entryAfter(chain.at(-1) ?? start))
    return chain
  }
  let [ns, store] = [owner.ns, owner.store]
  if (holder === 'follower') {
    const outside = new NamespaceNode(9, time)
    const jti = await shareWith(owner, wanted, outside.id)
    ns = (await follow(outside, owner, { wanted, jti })).ns
    store = outside.store
    await tell({ ns, wanted, jti }, owner)
  }
  const receive = async (entries: readonly Made[], by = writer.id) => {
    const batch = entries.map(({ bytes }) => bytes)
    if (ns !== owner.ns) await owner.ns.receive(batch, { from: by })
    return await ns.receive(batch, { from: by })
  }
  const branch = chainAfter(tip, length)
  const top = branch.at(-1) as Made
  await receive(branch)
  await owner.ns.members.adopt({ hash: top.hash })
  for await (const { bytes } of owner.ns.held.authEntries()) await ns.receive([bytes], { from: owner.id })
  const fork = entryAfter(branch[0] as Made)
  await receive([fork])
  return { ns, store, low: branch[0] as Made, top, fork, entryAfter, chainAfter, receive }
}

/** How many rows are read meanwhile. */
async function readsOf(store: NamespaceNode['store'], work: () => Promise<void>) {
  const { get, getMany, entries } = store
  let reads = 0
  store.get = (key) => {
    reads += 1
    return get.call(store, key)
  }
  store.getMany = (keys) => {
    reads += keys.length
    return getMany.call(store, keys)
  }
  store.entries = async function* (range, options) {
    for await (const row of entries.call(store, range, options)) {
      reads += 1
      yield row
    }
  }
  await work()
  Object.assign(store, { get, getMany, entries })
  return reads
}

const places = [
  'on the branch that counts',
  'on the other',
  'on both by turns',
  'each beside others',
  'each beside others far below',
] as const

describe.each(['member', 'follower'] as const)('what comes to a long chain with branches, to a %s,', (holder) => {
  test.each(places)('has no more read however long that is: %s', async (where: (typeof places)[number]) => {
    const found: number[] = []
    for (const length of [60, 240]) {
      const { ns, store, low, top, fork, entryAfter, chainAfter, receive } = await longBranches(holder, length)
      const [[first, ...on], [second, ...other]] = [chainAfter(top, 21), chainAfter(fork, 21)]
      // What is looked through once is not what is counted here.
      await receive([first as Made, second as Made, ...(where === 'each beside others' ? [entryAfter(top)] : [])])
      const come = {
        'on the branch that counts': on,
        'on the other': other,
        'on both by turns': on.flatMap((one, at) => [one, other[at] as Made]),
        'each beside others': on.map(() => entryAfter(top)),
        'each beside others far below': on.map(() => entryAfter(low)),
      }[where]
      const { entries } = ns.totals
      found.push(
        await readsOf(store, async () => {
          for (const one of come) await ns.receive([one.bytes])
        }),
      )
      expect(ns.totals.entries).toBe(entries + come.length)
    }
    expect(found[1]).toBe(found[0])
  })
})
