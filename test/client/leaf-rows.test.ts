/** What a node writes down of the leaves that it sealed: spares work after a restart, and is never believed when damaged. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import type { ArtifactHubNode, Logger } from '../../node/index.ts'
import { type ContentEngine, inThreadEngine } from '../../src/content/index.ts'
import { parseArtifactId, parseNamespaceId, toHex } from '../../src/encoding/index.ts'
import { NamespaceKeys } from '../../src/namespace/index.ts'
import { SimulatedMachine } from '../support/simulated-machine.ts'
import { expectBytes, MiB, seededBytes } from './contract-support.ts'

const first = seededBytes('first', 24 * MiB)
const edited = Uint8Array.from(first)
edited.fill(7, 10 * MiB, 10 * MiB + 100)

let machine: SimulatedMachine
/** Chunks sealed since it was last set to nothing, and what they became. */
let sealed: { readonly nonce: Uint8Array; readonly digest: Uint8Array }[] = []
let warnings: string[] = []

const engine: ContentEngine = {
  ...inThreadEngine,
  seal: async (chunk, keys, given) => {
    const leaf = await inThreadEngine.seal(chunk, keys, given)
    sealed.push({ nonce: leaf.block.slice(0, 12), digest: leaf.digest })
    return leaf
  },
}
const quiet = (): void => {}
const logger: Logger = { debug: quiet, info: quiet, error: quiet, warn: (message) => warnings.push(message) }

beforeEach(() => {
  machine = new SimulatedMachine(11)
  sealed = []
  warnings = []
})

// Every byte, when all is done.
afterEach(() => onNode(async (node) => expect((await node.check({ readData: true })).findings).toEqual([])))

/** Runs work on a node that was just started. */
async function onNode<T>(work: (node: ArtifactHubNode) => Promise<T>): Promise<T> {
  await using node = await machine.startNode({ engine, logger })
  sealed = []
  const result = await work(node)
  expect((await node.check()).findings).toEqual([])
  return result
}

const create = (data: Uint8Array, name = 'big') => onNode(({ client }) => client.artifact.create({ name, data }))

/** The next version in a node that was just started, read back. Gives its root and how many chunks were sealed for it. */
async function update(artifactId: string, data: Uint8Array): Promise<{ cid: string; sealedChunks: number }> {
  return await onNode(async ({ client }) => {
    const { cid } = await client.artifact.update({ artifactId, data })
    const sealedChunks = sealed.length
    expectBytes(await client.artifact.download({ artifactId }), data)
    return { cid, sealedChunks }
  })
}

interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

async function rowsOf({ namespace, id }: { namespace: string; id?: string }): Promise<Row[]> {
  const rows: Row[] = []
  const keys = new NamespaceKeys(parseNamespaceId(namespace))
  const prefix = toHex(keys.key('leafRows', ...(id === undefined ? [] : [parseArtifactId(id)])))
  for await (const [key, value] of machine.store.entries(keys.all('leafRows'))) {
    if (toHex(key).startsWith(prefix)) rows.push({ key, value })
  }
  return rows
}

async function putRow(key: Uint8Array, value: Uint8Array | undefined): Promise<void> {
  await machine.store.batch([value === undefined ? { type: 'del', key } : { type: 'put', key, value }], { sync: true })
}

describe('the next version after a restart', () => {
  test('seals only the chunks that changed', async () => {
    const { id, cid } = await create(first)
    const chunks = sealed.length
    expect(chunks).toBeGreaterThanOrEqual(16)
    const next = await update(id, edited)
    expect(next.sealedChunks).toBeGreaterThan(0)
    expect(next.sealedChunks).toBeLessThan(4)
    // What the version after it finds has the chunks of both: those that were found and those that were new.
    expect(await update(id, edited)).toEqual({ cid: next.cid, sealedChunks: 0 })
    expect((await update(id, first)).cid).toBe(cid)
    expect(warnings).toEqual([])
  })

  test('of one repeated chunk seals none', async () => {
    const zeros = new Uint8Array(40 * MiB)
    const { id } = await create(zeros)
    expect((await update(id, zeros)).sealedChunks).toBe(0)
  })

  test('is the same, and sealed anew, when the rows are lost', async () => {
    const artifact = await create(first)
    const chunks = sealed.length
    for (const { key } of await rowsOf(artifact)) await putRow(key, undefined)
    expect(await update(artifact.id, first)).toEqual({ cid: artifact.cid, sealedChunks: chunks })
    expect((await update(artifact.id, first)).sealedChunks).toBe(0)
  })

  test('is whole when the rows name leaves that are gone', async () => {
    const artifact = await create(first)
    const kept = await rowsOf(artifact)
    await onNode(async (node) => {
      await node.client.artifact.update({ artifactId: artifact.id, content: 'small' })
      await node.client.artifact.deleteVersion({ artifactId: artifact.id, version: 1 })
      await node.gc({ now: true })
    })
    expect(await rowsOf(artifact)).toEqual([])
    for (const { key, value } of kept) await putRow(key, value)
    const { cid, sealedChunks } = await update(artifact.id, first)
    expect(cid).toBe(artifact.cid)
    expect(sealedChunks).toBeGreaterThanOrEqual(16)
  })
})

describe('rows of known leaves', () => {
  test('tell nothing of nonces and digests to who has no key', async () => {
    const artifact = await create(first)
    const rows = await rowsOf(artifact)
    expect(rows).toHaveLength(1)
    for (const { nonce, digest } of sealed) {
      for (const { value } of rows) {
        expect(Buffer.from(value).includes(Buffer.from(nonce))).toBe(false)
        expect(Buffer.from(value).includes(Buffer.from(digest))).toBe(false)
      }
    }
  })

  const random = numbers(19)
  const flipped = (value: Uint8Array, at: number): Uint8Array => {
    const changed = Uint8Array.from(value)
    changed[at] = (changed[at] as number) ^ (1 << Math.floor(random() * 8))
    return changed
  }
  const damages: Record<string, (value: Uint8Array, other: Uint8Array) => Uint8Array> = {
    'a bit of the nonce flipped': (value) => flipped(value, 3),
    'a bit of the first entry flipped': (value) => flipped(value, 12 + 20),
    'a bit anywhere flipped': (value) => flipped(value, Math.floor(random() * value.length)),
    'a bit of the tag flipped': (value) => flipped(value, value.length - 1),
    'one entry cut off': (value) => value.subarray(0, value.length - 48),
    'a byte cut off': (value) => value.subarray(0, value.length - 1),
    'an entry more': (value) => Uint8Array.from([...value, ...value.subarray(12, 60)]),
    'nothing in them': () => new Uint8Array(0),
    'a megabyte of zeros in them': () => new Uint8Array(MiB),
    'another artifact’s in their place': (_, other) => other,
  }
  test('with damage are passed over, and written anew', async () => {
    const artifact = await create(first)
    const other = await create(seededBytes('other', 24 * MiB), 'other')
    const [row, otherRow] = [await rowsOf(artifact), await rowsOf(other)].flat() as [Row, Row]
    for (const [what, damage] of Object.entries(damages)) {
      await putRow(row.key, damage(row.value, otherRow.value))
      warnings = []
      const { cid, sealedChunks } = await update(artifact.id, first)
      expect({ what, cid, all: sealedChunks >= 16, warned: warnings.length }).toEqual({
        what,
        cid: artifact.cid,
        all: true,
        warned: 1,
      })
      expect({ what, ...(await update(artifact.id, first)) }).toEqual({ what, cid: artifact.cid, sealedChunks: 0 })
    }
  })

  test('that were put into another row are passed over, and removed', async () => {
    const artifact = await create(first)
    const [row] = (await rowsOf(artifact)) as [Row]
    await putRow(row.key, undefined)
    await putRow(flippedEnd(row.key), row.value)
    const { cid, sealedChunks } = await update(artifact.id, first)
    expect({ cid, all: sealedChunks >= 16, warned: warnings.length }).toEqual({
      cid: artifact.cid,
      all: true,
      warned: 1,
    })
    expect((await rowsOf(artifact)).map(({ key }) => toHex(key))).toEqual([toHex(row.key)])
  })

  test('are not written for small content, and stay when the next version is small', async () => {
    const small = await create(first.subarray(0, 2 * MiB), 'small')
    expect(await rowsOf(small)).toEqual([])
    const big = await create(first)
    await update(big.id, first.subarray(0, 2 * MiB))
    expect((await update(big.id, first)).sealedChunks).toBe(0)
  })

  test('go with the blocks: after the grace period, at once when asked to, and with the namespace', async () => {
    const artifact = await create(first)
    await onNode(async (node) => {
      const { namespace, artifact: artifacts } = node.client
      const other = await namespace.create({ name: 'other' })
      const there = await artifacts.create({ name: 'there', data: edited, namespace: other.id })
      expect(await rowsOf(there)).toHaveLength(1)
      await namespace.delete({ namespace: other.id })
      expect(await rowsOf({ namespace: other.id })).toEqual([])
      const stays = await artifacts.create({ name: 'stays', data: edited })
      await artifacts.delete({ artifactId: artifact.id })
      await node.gc()
      expect(await rowsOf(artifact)).toHaveLength(1)
      await node.gc({ now: true })
      expect(await rowsOf(artifact)).toEqual([])
      expect(await rowsOf(stays)).toHaveLength(1)
    })
  })
})

function flippedEnd(key: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(key)
  changed[key.length - 1] = (changed[key.length - 1] as number) ^ 1
  return changed
}
