import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LinkClaims } from '../../src/capability/index.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { type Reservation, UseLedger } from './use-ledger.ts'

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

const first = (bytes: number, client = 'one') => ({ start: 0, end: bytes, client })

test('of a hundred at once that want all of it, as many get it as there are uses', async () => {
  for (const uses of [1, 3, 100]) {
    const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
    const asked = Array.from({ length: 100 }, () => ledger.reserve(link(uses), 5_000, first(5_000)))
    const outcomes = await Promise.allSettled(asked)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(uses)
    for (const outcome of outcomes) if (outcome.status === 'rejected') expect(outcome.reason).toEqual(exhausted)
  }
})

test('ranges use up what they have of it, whatever their order', async () => {
  const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
  for (let part = 0; part < 10; part++) await (await ledger.reserve(link(1), 1_000, first(100))).settle(100, false)
  await expect(ledger.reserve(link(1), 1_000, first(1))).rejects.toEqual(exhausted)
  await ledger.reserve(link(1, 2), 1_000, first(1_000))
})

test('what was set aside is spent when the gateway dies', async () => {
  const store = new MemoryKeyValueStore()
  const ledger = await UseLedger.open(store, nowSeconds)
  await ledger.reserve(link(2), 1_000, first(1_000))
  await (await ledger.reserve(link(2), 1_000, first(300))).settle(300, false)
  // Only what is on the disk.
  const after = await UseLedger.open(store.afterPowerCut(0), nowSeconds)
  await expect(after.reserve(link(2), 1_000, first(701))).rejects.toEqual(exhausted)
  await after.reserve(link(2), 1_000, first(700))
})

test('what was not sent is given back, and what was cut off on its way too', async () => {
  const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
  const size = 100 * MiB
  // 40 MiB were handed over; of the last 16 nobody knows whether they came.
  await (await ledger.reserve(link(1), size, first(size))).settle(40 * MiB, true)
  await expect(ledger.reserve(link(1), size, first(76 * MiB + 1))).rejects.toEqual(exhausted)
  await (await ledger.reserve(link(1), size, first(76 * MiB))).settle(76 * MiB, false)
  await expect(ledger.reserve(link(1), size, first(1))).rejects.toEqual(exhausted)
})

test('cutting again and again gains a quarter of it at most, or 16 MiB', async () => {
  for (const size of [1 * MiB, 100 * MiB, 1_000 * MiB]) {
    const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
    let sent = 0
    for (let round = 0; round < 1_000; round++) {
      const bytes = Math.min(size, 16 * MiB)
      const reservation = await ledger.reserve(link(1), size, first(bytes)).catch(() => undefined)
      if (reservation === undefined) break
      await reservation.settle(bytes, true)
      sent += bytes
    }
    expect(sent).toBeLessThanOrEqual(size + Math.max(Math.min(size, 16 * MiB), size / 4))
  }
})

test('an empty content has uses too', async () => {
  const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
  await (await ledger.reserve(link(1), 0, first(0))).settle(0, false)
  await expect(ledger.reserve(link(1), 0, first(0))).rejects.toEqual(exhausted)
})

test('a disk that fails lets nothing out, and what is in doubt counts as spent', async () => {
  const store = new MemoryKeyValueStore()
  const ledger = await UseLedger.open(store, nowSeconds)
  store.failNextBatch = 'after'
  await expect(ledger.reserve(link(1), 1_000, first(1_000))).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  await expect(ledger.reserve(link(1), 1_000, first(1))).rejects.toEqual(exhausted)
})

test('links that have long expired are forgotten', async () => {
  const store = new MemoryKeyValueStore()
  await (await UseLedger.open(store, nowSeconds)).reserve(link(1), 10, first(10))
  await UseLedger.open(store, nowSeconds + 3_600)
  const kept = await UseLedger.open(store, nowSeconds)
  await expect(kept.reserve(link(1), 10, first(1))).rejects.toEqual(exhausted)
  await UseLedger.open(store, nowSeconds + 3_601)
  await (await UseLedger.open(store, nowSeconds)).reserve(link(1), 10, first(10))
})

describe('a part that begins in what a request of the same client has not sent', () => {
  const size = 100 * MiB
  const part = (start: number, end = size, client = 'one') => ({ start, end, client })

  test('takes over the rest of it, durably no more than all of it', async () => {
    const store = new MemoryKeyValueStore()
    const ledger = await UseLedger.open(store, nowSeconds)
    const whole = await ledger.reserve(link(1), size, part(0))
    expect(whole.claim(10 * MiB)).toBe(10 * MiB)
    const tail = await ledger.reserve(link(1), size, part(60 * MiB))
    const middle = await ledger.reserve(link(1), size, part(30 * MiB, 60 * MiB))
    const between = await ledger.reserve(link(1), size, part(80 * MiB, 90 * MiB))
    expect([whole, middle, tail, between].map((one) => one.claim(size) / MiB)).toEqual([30, 60, 80, 90])
    await whole.settle(30 * MiB, false)
    await middle.settle(30 * MiB, false)
    await tail.settle(20 * MiB, false)
    // It was told to end at 90, and what lies beyond is there for whoever asks.
    await between.settle(10 * MiB, false)
    const after = await UseLedger.open(store.afterPowerCut(0), nowSeconds)
    await (await after.reserve(link(1), size, part(90 * MiB))).settle(10 * MiB, false)
    await expect(after.reserve(link(1), size, part(0, 1))).rejects.toEqual(exhausted)
  })

  test('takes nothing from what went out, from the beginning of another, or from other clients', async () => {
    const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds, 0)
    const whole = await ledger.reserve(link(1), size, part(0))
    whole.claim(10 * MiB)
    const refused = [part(0), part(10 * MiB - 1), part(20 * MiB, size, 'another'), part(0, 5)]
    for (const one of refused)
      await expect(ledger.reserve(link(1), size, one), `${one.start}`).rejects.toEqual(exhausted)
    expect(whole.claim(size)).toBe(size)
  })

  test('is let in when what it needs was given back instead, and then nobody ends early', async () => {
    const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds)
    const whole = await ledger.reserve(link(1), size, part(0))
    whole.claim(50 * MiB)
    const asking = ledger.reserve(link(1), size, part(40 * MiB))
    await whole.settle(50 * MiB, true)
    expect((await asking).claim(size)).toBe(size)
  })

  test('leaves no way to have more of it than there is, whatever is asked for and however much of it is sent', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(999), fc.integer({ min: 1, max: 1_000 }), fc.nat(1_000)), { maxLength: 30 }),
        async (parts) => {
          const ledger = await UseLedger.open(new MemoryKeyValueStore(), nowSeconds, 0)
          const given: { reservation: Reservation; start: number; end: number; sent: number }[] = []
          for (const [start, length, sentLater] of parts) {
            const wanted = part(start, Math.min(1_000, start + length))
            const reservation = await ledger.reserve(link(1), 1_000, wanted).catch(() => undefined)
            if (reservation !== undefined) given.push({ reservation, ...wanted, sent: 0 })
            for (const one of given) {
              one.sent = Math.max(one.sent, one.reservation.claim(Math.min(one.end, one.start + sentLater)) - one.start)
            }
          }
          for (const one of given) one.sent = one.reservation.claim(one.end) - one.start
          expect(given.reduce((sum, { sent }) => sum + sent, 0)).toBeLessThanOrEqual(1_000)
        },
      ),
      { numRuns: 60 },
    )
  })
})
