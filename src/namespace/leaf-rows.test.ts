import { randomBytes } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import type { ContentRoot } from '../catalog/index.ts'
import { MemoryBlocks } from '../content/content.test-helper.ts'
import { LeafTable } from '../content/index.ts'
import { AgentKey } from '../identity/index.ts'
import { leafOverheadBytes } from '../limits.ts'
import { HybridClock } from '../log/index.ts'
import type { ArtifactKey } from '../sharing/index.ts'
import { leafRowChanges, loadLeafRows } from './leaf-rows.ts'
import { Namespace } from './namespace.ts'

const random = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(randomBytes(length))
const artifact = random(20)
let store: MemoryKeyValueStore
let namespace: Namespace
let key: ArtifactKey
let warned: unknown[]
beforeEach(async () => {
  store = new MemoryKeyValueStore()
  warned = []
  const blocks = new MemoryBlocks()
  const environment = {
    store,
    packs: async () => blocks,
    agent: new AgentKey(random(32)),
    incarnation: random(16),
    clock: new HybridClock(() => 1_700_000_000_000),
    random,
    warn: (_: string, fields: Readonly<Record<string, unknown>>) => warned.push(fields.rows),
  }
  namespace = await Namespace.create(environment, () => [])
  key = namespace.artifactKeys.fresh(artifact)
})

/** A version of that many leaves, no two alike. */
function version(count: number): { leaves: LeafTable; root: ContentRoot } {
  const leaves = new LeafTable()
  for (let n = 0; n < count; n++) leaves.add(random(12), { digest: random(32), leafBytes: 600_000 + n })
  const sizes = { sizeBytes: count, storedBytes: count + count * leafOverheadBytes }
  return { leaves, root: { digest: random(32), codec: 0x70, inline: false, keyId: key.id, ...sizes } }
}

async function write({ leaves, root }: ReturnType<typeof version>): Promise<void> {
  await store.batch(await leafRowChanges(namespace, { artifact, key }, { root, leaves }), { sync: true })
}

const load = async (): Promise<Buffer[]> =>
  (await Array.fromAsync(loadLeafRows(namespace, { artifact, key }, undefined))).map((row) => Buffer.from(row))
const rows = async () => await Array.fromAsync(store.entries(namespace.keys.all('leafRows')))
const packedOf = ({ leaves }: ReturnType<typeof version>): Buffer[] =>
  [...leaves.packed(1024)].map((row) => Buffer.from(row))

test('come back row by row as they were written, and the next version’s take the place of all of them', async () => {
  const [first, second] = [version(3000), version(1500)]
  await write(first)
  expect(await load()).toEqual(packedOf(first))
  expect(await rows()).toHaveLength(3)
  await write(second)
  expect(await load()).toEqual(packedOf(second))
  expect(await rows()).toHaveLength(2)
  await write(version(15))
  expect(await load()).toEqual(packedOf(second))
  await write(version(16))
  expect(await rows()).toHaveLength(1)
  expect(warned).toEqual([])
})

test('of another key of the artifact are not loaded, and go when the next are written', async () => {
  await write(version(20))
  const old = key
  key = namespace.artifactKeys.fresh(artifact)
  expect(await load()).toEqual([])
  await write(version(20))
  expect(await rows()).toHaveLength(1)
  expect(await Array.fromAsync(loadLeafRows(namespace, { artifact, key: old }, undefined))).toEqual([])
  expect(warned).toEqual([])
})

test('in each other’s places are passed over, and the others are not', async () => {
  const first = version(3000)
  await write(first)
  const [[one, a], [two, b]] = (await rows()) as [[Uint8Array, Uint8Array], [Uint8Array, Uint8Array]]
  const swapped = [
    { type: 'put' as const, key: one, value: b },
    { type: 'put' as const, key: two, value: a },
  ]
  await store.batch(swapped, { sync: true })
  expect(await load()).toEqual(packedOf(first).slice(2))
  expect(warned).toEqual([2])
})

test('are another ciphertext each time, though the leaves are the same', async () => {
  const first = version(20)
  await write(first)
  const [[, before]] = (await rows()) as [[Uint8Array, Uint8Array]]
  await write(first)
  const [[, after]] = (await rows()) as [[Uint8Array, Uint8Array]]
  expect(Buffer.from(before.subarray(0, 12))).not.toEqual(Buffer.from(after.subarray(0, 12)))
  expect(await load()).toEqual(packedOf(first))
})
