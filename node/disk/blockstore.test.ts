import { NotFoundError } from 'interface-store'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { sha256, sha512 } from 'multiformats/hashes/sha2'
import { beforeEach, expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { NamespaceBlockstore } from './blockstore.ts'
import type { PackNamespace } from './pack-namespace.ts'
import { PackStore } from './pack-store.ts'
import { SimulatedDisk } from './test-support/simulated-disk.ts'

let packs: PackNamespace
let blockstore: NamespaceBlockstore
let disk: SimulatedDisk

beforeEach(async () => {
  disk = new SimulatedDisk()
  const index = new MemoryKeyValueStore()
  const store = await PackStore.open({
    directory: '/packs',
    index,
    keyPrefix: Uint8Array.of(1),
    now: Date.now,
    files: disk,
  })
  packs = await store.namespace('ns_a')
  blockstore = new NamespaceBlockstore(packs)
})

const bytesOf = (text: string) => new TextEncoder().encode(text)
const cidOf = async (bytes: Uint8Array, codec = 0x55) => CID.createV1(codec, await sha256.digest(bytes))

async function collect(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<string> {
  let text = ''
  for await (const part of source) text += new TextDecoder().decode(part)
  return text
}

test('gives back what was put whole, in parts or as a stream, under any codec', async () => {
  for (const [text, input] of [
    ['whole', bytesOf('whole')],
    ['in parts', [bytesOf('in '), bytesOf('parts')]],
    [
      'a stream',
      (async function* () {
        yield bytesOf('a stream')
      })(),
    ],
  ] as const) {
    const cid = await cidOf(bytesOf(text))
    expect(await blockstore.put(cid, input)).toBe(cid)
    expect(await collect(blockstore.get(CID.createV1(0x70, cid.multihash)))).toBe(text)
  }
})

test('refuses bytes that do not hash to the CID and stores nothing', async () => {
  const cid = await cidOf(bytesOf('right'))
  await expect(blockstore.put(cid, bytesOf('wrong'))).rejects.toMatchObject({ code: 'CORRUPT' })
  expect(await blockstore.has(cid)).toBe(false)
})

test('throws NotFoundError for a block that is not here, and only then', async () => {
  const cid = await cidOf(bytesOf('x'))
  await expect(collect(blockstore.get(cid))).rejects.toBeInstanceOf(NotFoundError)
  await blockstore.put(cid, bytesOf('x'))
  disk.fault = ({ kind }) => (kind === 'read' ? Object.assign(new Error('EIO'), { code: 'EIO' }) : undefined)
  await expect(collect(blockstore.get(cid))).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
})

test('does not hand out a block whose bytes changed on the disk', async () => {
  const cid = await cidOf(bytesOf('sound'))
  await blockstore.put(cid, bytesOf('sound'))
  const file = disk.bytes('/packs/ns_a/00000001.pack')
  file[file.length - 1] = (file.at(-1) as number) ^ 1
  await expect(collect(blockstore.get(cid))).rejects.toMatchObject({ code: 'CORRUPT' })
})

test('answers identity CIDs from themselves and refuses other hash functions', async () => {
  const cid = CID.createV1(0x55, identity.digest(bytesOf('inside')))
  expect(await collect(blockstore.get(cid))).toBe('inside')
  expect(await blockstore.has(cid)).toBe(true)
  const other = CID.createV1(0x55, await sha512.digest(bytesOf('x')))
  await expect(blockstore.has(other)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

test('puts, gets and lists many', async () => {
  const texts = Array.from({ length: 150 }, (_, i) => `block ${i}`)
  const pairs = await Promise.all(
    texts.map(async (text) => ({ cid: await cidOf(bytesOf(text)), bytes: bytesOf(text) })),
  )
  const put: string[] = []
  for await (const cid of blockstore.putMany(pairs)) put.push(cid.toString())
  expect(put).toEqual(pairs.map(({ cid }) => cid.toString()))
  const got: string[] = []
  for await (const { bytes } of blockstore.getMany(pairs.map(({ cid }) => cid))) got.push(await collect(bytes))
  expect(got).toEqual(texts)
  const all: string[] = []
  for await (const { bytes } of blockstore.getAll()) all.push(await collect(bytes))
  expect(all.sort()).toEqual(texts.toSorted())
})

test('refuses to delete', async () => {
  const cid = await cidOf(bytesOf('kept'))
  await blockstore.put(cid, bytesOf('kept'))
  await expect(blockstore.delete(cid)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  await expect(blockstore.deleteMany([cid]).next()).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  expect(await blockstore.has(cid)).toBe(true)
})
