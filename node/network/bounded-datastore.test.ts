import { Key } from 'interface-datastore/key'
import { expect, test } from 'vitest'
import { maxPeerDataBytes } from '../../src/limits.ts'
import { BoundedDatastore } from './bounded-datastore.ts'

const rowBytes = 64 * 1024

async function bytesIn(store: BoundedDatastore): Promise<number> {
  let bytes = 0
  for await (const { value } of store.query({})) bytes += value.length
  return bytes
}

test('keeps what is used, within its bound, whatever else is put into it', async () => {
  const store = new BoundedDatastore()
  const own = new Key('/peers/self')
  await store.put(own, Uint8Array.of(1))
  const rows = (2 * maxPeerDataBytes) / rowBytes
  for (let row = 0; row < rows; row++) {
    await store.put(new Key(`/dht/provider/${row}`), new Uint8Array(rowBytes))
    expect(await store.get(own)).toEqual(Uint8Array.of(1))
  }
  expect(await bytesIn(store)).toBeLessThanOrEqual(maxPeerDataBytes)
  expect(await bytesIn(store)).toBeGreaterThan(0.9 * maxPeerDataBytes)
  expect(await store.has(new Key('/dht/provider/0'))).toBe(false)
  expect(await store.has(new Key(`/dht/provider/${rows - 1}`))).toBe(true)
})

test('a row that is replaced or deleted gives its room back', async () => {
  const store = new BoundedDatastore()
  const kept = new Key('/kept')
  await store.put(kept, Uint8Array.of(1))
  const key = new Key('/changes')
  for (let round = 0; round < (4 * maxPeerDataBytes) / rowBytes; round++) {
    await store.put(key, new Uint8Array(rowBytes))
    if (round % 2 === 0) await store.delete(key)
  }
  expect(await store.get(kept)).toEqual(Uint8Array.of(1))
  await expect(async () => store.get(new Key('/absent'))).rejects.toMatchObject({ name: 'NotFoundError' })
})
