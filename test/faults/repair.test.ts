import { expect, test } from 'vitest'
import { numbers, systemError } from '../../node/disk/test-support/simulated-disk.ts'
import type { ArtifactHubNode } from '../../node/index.ts'
import { parseNamespaceId } from '../../src/encoding/index.ts'
import { NamespaceKeys } from '../../src/namespace/index.ts'
import { sha256Of } from '../support/ledger.ts'
import type { MemoryKeyValueStore } from '../support/memory-key-value.ts'
import { bytesOf } from '../support/mixed-workload.ts'
import { SimulatedMachine, WatchedStore } from '../support/simulated-machine.ts'

type Row = [Uint8Array, Uint8Array]
type Range = { gte: Uint8Array; lt: Uint8Array }
const packIndex: Range = { gte: Uint8Array.of(3), lt: Uint8Array.of(4) }

/** A node with an inline artifact and one in a pack; what they hold by id, in order. */
async function setUp(node: ArtifactHubNode) {
  const { artifact } = node.client
  const [inline, packed] = [bytesOf(numbers(1), 5_000), bytesOf(numbers(2), 80_000)]
  const first = await artifact.create({ name: 'inline', data: inline })
  const second = await artifact.create({ name: 'packed', data: packed })
  const contents = new Map([
    [first.id, inline],
    [second.id, packed],
  ])
  return { contents, namespace: first.namespace, keys: new NamespaceKeys(parseNamespaceId(first.namespace)) }
}

async function expectReads(node: ArtifactHubNode, contents: ReadonlyMap<string, Uint8Array>): Promise<void> {
  for (const [artifactId, bytes] of contents) {
    expect(sha256Of(await node.client.artifact.download({ artifactId }))).toBe(sha256Of(bytes))
  }
}

async function rowsOf(store: MemoryKeyValueStore, range: Range): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of store.entries(range)) rows.push(row)
  return rows
}

async function removeRows(store: MemoryKeyValueStore, rows: readonly Row[]): Promise<void> {
  expect(rows.length).toBeGreaterThan(0)
  await store.batch(
    rows.map(([key]) => ({ type: 'del', key })),
    { sync: true },
  )
}

async function garbleRows(store: MemoryKeyValueStore, rows: readonly Row[]): Promise<void> {
  expect(rows.length).toBeGreaterThan(0)
  const garbled = (value: Uint8Array) =>
    value.map((byte, at) => (at === value.length - 9 || at === 0 ? byte ^ 0x41 : byte))
  await store.batch(
    rows.map(([key, value]) => ({ type: 'put', key, value: garbled(value) })),
    { sync: true },
  )
}

/** Flips one bit of one entry, genesis being 0 and the rotate 1. Gives its row as it is then. */
async function flipEntry(store: MemoryKeyValueStore, keys: NamespaceKeys, seq: number): Promise<Row> {
  const [key, value] = (await rowsOf(store, keys.all('entries')))[seq] as Row
  const flipped = value.map((byte, at) => (at === value.length - 9 ? byte ^ 1 : byte))
  await store.batch([{ type: 'put', key, value: flipped }], { sync: true })
  return [key, flipped]
}

for (const how of ['the signal', 'a batch that is not written', 'a batch that is written and fails'] as const) {
  test(`a repair ended at any batch by ${how} loses no entry: writes go on where the log ends, and it can be done again`, async () => {
    let ended = 0
    for (let at = 0; ; at++) {
      const store = new WatchedStore()
      const machine = new SimulatedMachine(3, undefined, store)
      const node = await machine.startNode()
      const { contents, keys } = await setUp(node)
      await removeRows(store, await rowsOf(store, keys.all('totals')))
      const entries = await rowsOf(store, keys.all('entries'))
      const stop = new AbortController()
      let batches = 0
      let hit = false
      store.onBatch = (moment) => {
        if (moment !== 'before' || batches++ !== at) return
        hit = true
        if (how === 'the signal') stop.abort()
        else store.failNextBatch = how === 'a batch that is not written' ? 'before' : 'after'
      }
      await node.check({ repair: true, signal: stop.signal }).catch(() => (ended += 1))
      store.onBatch = () => {}
      const why = `batch ${at}`
      await expectReads(node, contents)
      for (let more = 0; more < 3; more++) {
        const { id } = await node.client.artifact.create({ name: 'after', data: Uint8Array.of(more) })
        contents.set(id, Uint8Array.of(more))
      }
      const now = await rowsOf(store, keys.all('entries'))
      expect(now.slice(0, entries.length), why).toEqual(entries)
      expect(now, why).toHaveLength(entries.length + 3)
      await node.close()
      await using next = await machine.startNode()
      await expectReads(next, contents)
      await next.check({ repair: true })
      expect((await next.check({ readData: true })).findings, why).toEqual([])
      if (!hit) break
    }
    expect(ended).toBeGreaterThan(4)
  })
}

for (const [table, count] of [
  ['totals', 1],
  ['tips', 1],
  ['auth', 2],
] as const) {
  for (const [what, damage] of [
    ['altered', garbleRows],
    ['lost', removeRows],
  ] as const) {
    test(`with the rows of ${table} ${what} a node starts, reads and writes, and a repair leaves nothing wrong`, async () => {
      const machine = new SimulatedMachine(4)
      const first = await machine.startNode()
      const { contents, keys } = await setUp(first)
      await first.close()
      const rows = await rowsOf(machine.store, keys.all(table))
      expect(rows).toHaveLength(count)
      const entries = await rowsOf(machine.store, keys.all('entries'))
      await damage(machine.store, rows)
      await using node = await machine.startNode()
      await expectReads(node, contents)
      await node.client.artifact.create({ name: 'after', data: Uint8Array.of(1) })
      expect((await rowsOf(machine.store, keys.all('entries'))).slice(0, entries.length)).toEqual(entries)
      await node.check({ repair: true })
      expect((await node.check()).findings).toEqual([])
      await expectReads(node, contents)
    })
  }
}

for (const error of ['EIO', 'EMFILE', 'ENOENT']) {
  test(`a repair while reads of packs fail with ${error} forgets no block, and gc after it takes none`, async () => {
    const machine = new SimulatedMachine(5)
    await using node = await machine.startNode()
    const { contents } = await setUp(node)
    machine.disk.fault = ({ kind }) => (kind === 'read' ? systemError(error) : undefined)
    const { findings } = await node.check({ repair: true, readData: true })
    expect(findings.length).toBeGreaterThan(0)
    expect(findings.filter(({ repaired }) => repaired)).toEqual([])
    machine.disk.fault = () => undefined
    await expectReads(node, contents)
    await node.gc({ now: true })
    await expectReads(node, contents)
    expect((await node.check({ readData: true })).findings).toEqual([])
  })
}

test.each(['EIO', 'EISDIR'])(
  'a check while reads of packs fail with %s goes on to its end, and names what cannot be read whole',
  async (error) => {
    const machine = new SimulatedMachine(7)
    await using node = await machine.startNode()
    const { contents, keys } = await setUp(node)
    const packed = [...contents.keys()][1] as string
    const tree = bytesOf(numbers(3), 2_600_000)
    const { id } = await node.client.artifact.create({ name: 'of several chunks', data: tree })
    contents.set(id, tree)
    machine.disk.fault = ({ kind }) => (kind === 'read' ? systemError(error) : undefined)
    for (const options of [{}, { readData: true }, { readData: true, repair: true }]) {
      const { findings, versions } = await node.check(options)
      expect(versions).toBe(3)
      expect(new Set(findings.map(({ kind }) => kind))).toEqual(new Set(['block-unreadable']))
      expect(new Set(findings.flatMap(({ artifacts }) => artifacts))).toEqual(new Set([packed, id]))
      expect(findings.filter(({ repaired }) => repaired)).toEqual([])
    }
    // With more amiss, what was counted of what cannot be read now is not made anew from what can.
    const counted = await rowsOf(machine.store, keys.all('references'))
    await garbleRows(machine.store, await rowsOf(machine.store, keys.all('tips')))
    const { findings } = await node.check({ repair: true })
    expect(findings).toContainEqual(expect.objectContaining({ kind: 'catalog-differs', repaired: false }))
    expect(await rowsOf(machine.store, keys.all('references'))).toEqual(counted)
    machine.disk.fault = () => undefined
    await node.check({ repair: true })
    expect((await node.check({ readData: true })).findings).toEqual([])
    await expectReads(node, contents)
  },
)

test('a repair with a damaged entry keeps what was derived from it, names the artifact and keeps the bytes; gc then takes nothing', async () => {
  const machine = new SimulatedMachine(6)
  const { store } = machine
  await using node = await machine.startNode()
  const { contents, keys, namespace } = await setUp(node)
  const packed = [...contents].slice(1)
  const whole = await rowsOf(store, keys.all('entries'))
  // The one whose content is in a pack: it reads as before.
  const [, flipped] = await flipEntry(store, keys, 3)
  const catalog = await rowsOf(store, keys.all('catalog'))
  for (let again = 0; again < 2; again++) {
    const { findings } = await node.check({ repair: true })
    expect(findings).toContainEqual(
      expect.objectContaining({ kind: 'entry-corrupt', artifacts: packed.map(([id]) => id), repaired: false }),
    )
    expect(findings.filter(({ kind, repaired }) => kind === 'catalog-differs' && repaired)).toEqual([])
  }
  expect(await rowsOf(store, keys.all('catalog'))).toEqual(catalog)
  const aside = await machine.disk.readdir(`/quarantine/${namespace}`)
  expect(aside).toHaveLength(1)
  expect((await machine.disk.stat(`/quarantine/${namespace}/${aside[0]}`)).size).toBe(flipped.length)
  await node.client.artifact.delete({ artifactId: [...contents.keys()][0] as string })
  const { removedBlocks, erasedBodies } = await node.gc({ now: true })
  expect([removedBlocks, erasedBodies]).toEqual([0, 0])
  await expectReads(node, new Map(packed))
  // With the entry back all is well, and gc works again.
  const [key, value] = whole[3] as Row
  await store.batch([{ type: 'put', key, value }], { sync: true })
  await node.check({ repair: true })
  expect((await node.check()).findings).toEqual([])
  expect((await node.gc({ now: true })).erasedBodies).toBe(1)
  await expectReads(node, new Map(packed))
})

test('after a damaged or lost newest entry writes go to a new chain, at once and after a restart; nothing is written over', async () => {
  for (const damage of ['damaged', 'lost'] as const) {
    const machine = new SimulatedMachine(7)
    const { store } = machine
    let node = await machine.startNode()
    const { keys, contents } = await setUp(node)
    const [first] = [...contents]
    const newest = await flipEntry(store, keys, 3)
    if (damage === 'lost') await removeRows(store, [newest])
    for (const step of ['check', 'restart'] as const) {
      if (step === 'check') {
        const { findings } = await node.check({ repair: true })
        expect(findings.map(({ kind }) => kind)).toContain('entry-corrupt')
      } else {
        await node.close()
        node = await machine.startNode()
      }
      await node.client.artifact.create({ name: step, data: Uint8Array.of(9) })
      expect(await store.get(newest[0])).toEqual(damage === 'lost' ? undefined : newest[1])
      if (first !== undefined) await expectReads(node, new Map([first]))
    }
    await node.close()
  }
})

test('index rows that were lost are made again by a repair, and what they name reads again', async () => {
  const machine = new SimulatedMachine(8)
  await using node = await machine.startNode()
  const { contents } = await setUp(node)
  // A block's row is 16 bytes long.
  const blocks = (await rowsOf(machine.store, packIndex)).filter(([, value]) => value.length === 16)
  await removeRows(machine.store, blocks)
  await expect(node.client.artifact.download({ artifactId: [...contents.keys()][1] as string })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  })
  const { findings } = await node.check({ repair: true })
  expect(findings.map(({ kind, repaired }) => [kind, repaired])).toEqual([['block-missing', true]])
  await expectReads(node, contents)
  expect((await node.check({ readData: true })).findings).toEqual([])
})

test('gc passes over a damaged entry of an ended version', async () => {
  const machine = new SimulatedMachine(9)
  await using node = await machine.startNode()
  const { contents, keys } = await setUp(node)
  const [inline, packed] = [...contents] as [[string, Uint8Array], [string, Uint8Array]]
  await node.client.artifact.delete({ artifactId: inline[0] })
  await flipEntry(machine.store, keys, 2)
  expect((await node.gc({ now: true })).erasedBodies).toBe(0)
  await expectReads(node, new Map([packed]))
})

for (const maintenance of ['check', 'gc'] as const) {
  test(`a ${maintenance} passes over a namespace that is deleted while it runs, and makes no folder for it again`, async () => {
    let deletions = 0
    for (let at = 0; ; at++) {
      const store = new WatchedStore()
      const machine = new SimulatedMachine(10, undefined, store)
      await using node = await machine.startNode()
      const { contents } = await setUp(node)
      const { id } = await node.client.namespace.create({ name: 'other' })
      const { artifact } = node.client
      const packed = await artifact.create({ name: 'a', data: bytesOf(numbers(3), 40_000), namespace: 'other' })
      await artifact.create({ name: 'b', data: bytesOf(numbers(4), 4_000), namespace: 'other' })
      await artifact.delete({ artifactId: packed.id })
      await artifact.delete({ artifactId: [...contents.keys()][0] as string })
      let reads = 0
      let deletion: Promise<void> | undefined
      const due = () => {
        if (reads++ === at * 3) deletion = node.client.namespace.delete({ namespace: 'other' })
      }
      machine.disk.fault = () => {
        due()
        return undefined
      }
      store.onBatch = due
      if (maintenance === 'check') expect((await node.check({ readData: true })).findings).toEqual([])
      else await node.gc({ now: true })
      machine.disk.fault = () => undefined
      store.onBatch = () => {}
      if (deletion === undefined) break
      await deletion
      deletions += 1
      expect(await machine.disk.readdir('/packs'), `at ${at}`).not.toContain(id)
      await expectReads(node, new Map([...contents].slice(1)))
    }
    expect(deletions).toBeGreaterThan(2)
  })
}
