import { expect, test } from 'vitest'
import type { LinkClaims } from '../../src/capability/index.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { UseLedger } from './use-ledger.ts'

const MiB = 1024 * 1024
const nowSeconds = 1_700_000_000
const exhausted = expect.objectContaining({ code: 'EXHAUSTED' })

function link(maxUses: number, name = 1): LinkClaims & { maxUses: number } {
  return {
    issuer: new Uint8Array(32).fill(7),
    jti: new Uint8Array(16).fill(name),
    expires: nowSeconds + 3_600,
    maxUses,
  } as LinkClaims & { maxUses: number }
}

test('of a hundred at once that want all of it, as many get it as there are uses', async () => {
  for (const uses of [1, 3, 100]) {
    const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
    const asked = Array.from({ length: 100 }, () => ledger.reserve(link(uses), 5_000, 5_000))
    const outcomes = await Promise.allSettled(asked)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(uses)
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toEqual(exhausted)
  }
})

test('ranges use up what they have of it, whatever their order', async () => {
  const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
  for (let part = 0; part < 10; part++) await (await ledger.reserve(link(1), 1_000, 100)).settle(100, false)
  await expect(ledger.reserve(link(1), 1_000, 1)).rejects.toEqual(exhausted)
  await ledger.reserve(link(1, 2), 1_000, 1_000)
})

test('what was set aside is spent when the gateway dies', async () => {
  const store = new MemoryKeyValueStore()
  const ledger = await UseLedger.open(store, nowSeconds)
  await ledger.reserve(link(2), 1_000, 1_000)
  await (await ledger.reserve(link(2), 1_000, 300)).settle(300, false)
  // Only what is on the disk.
  const after = await UseLedger.open(store.afterPowerCut(0), nowSeconds)
  await expect(after.reserve(link(2), 1_000, 701)).rejects.toEqual(exhausted)
  await after.reserve(link(2), 1_000, 700)
})

test('what was not sent is given back, and what was cut off on its way too', async () => {
  const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
  const size = 100 * MiB
  // 40 MiB were handed over; of the last 16 nobody knows whether they came.
  await (await ledger.reserve(link(1), size, size)).settle(40 * MiB, true)
  await expect(ledger.reserve(link(1), size, 76 * MiB + 1)).rejects.toEqual(exhausted)
  await (await ledger.reserve(link(1), size, 76 * MiB)).settle(76 * MiB, false)
  await expect(ledger.reserve(link(1), size, 1)).rejects.toEqual(exhausted)
})

test('cutting again and again gains a quarter of it at most, or 16 MiB', async () => {
  for (const size of [1 * MiB, 100 * MiB, 1_000 * MiB]) {
    const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
    let sent = 0
    for (let round = 0; round < 1_000; round++) {
      const bytes = Math.min(size, 16 * MiB)
      const reservation = await ledger.reserve(link(1), size, bytes).catch(() => undefined)
      if (reservation === undefined) break
      await reservation.settle(bytes, true)
      sent += bytes
    }
    expect(sent).toBeLessThanOrEqual(size + Math.max(Math.min(size, 16 * MiB), size / 4))
  }
})

test('an empty content has uses too', async () => {
  const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
  await (await ledger.reserve(link(1), 0, 0)).settle(0, false)
  await expect(ledger.reserve(link(1), 0, 0)).rejects.toEqual(exhausted)
})

test('a disk that fails lets nothing out, and what is in doubt counts as spent', async () => {
  const store = new MemoryKeyValueStore()
  const ledger = await UseLedger.open(store, nowSeconds)
  store.failNextBatch = 'after'
  await expect(ledger.reserve(link(1), 1_000, 1_000)).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  await expect(ledger.reserve(link(1), 1_000, 1)).rejects.toEqual(exhausted)
})

test('links that have long expired are forgotten', async () => {
  const store = new MemoryKeyValueStore()
  await (await UseLedger.open(store, nowSeconds)).reserve(link(1), 10, 10)
  await UseLedger.open(store, nowSeconds + 3_600)
  const kept = await UseLedger.open(store, nowSeconds)
  await expect(kept.reserve(link(1), 10, 1)).rejects.toEqual(exhausted)
  await UseLedger.open(store, nowSeconds + 3_601)
  await (await UseLedger.open(store, nowSeconds)).reserve(link(1), 10, 10)
})
