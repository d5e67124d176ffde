import { expect, test } from 'vitest'
import { BodyMemory, type Place } from './body-memory.ts'

const MiB = 1024 * 1024
const never = new AbortController().signal

test('there are only so many places; others come in turn', async () => {
  const memory = new BodyMemory(4 * MiB, () => 0)
  const first = memory.take(never) as Place
  void memory.take(never)
  const order: string[] = []
  const third = Promise.resolve(memory.take(never)).then(() => order.push('third'))
  void Promise.resolve(memory.take(never)).then(() => order.push('fourth'))
  expect(memory.load).toEqual({ holding: 2, waiting: 2 })
  first[Symbol.dispose]()
  await third
  expect(memory.load).toEqual({ holding: 2, waiting: 1 })
  // Once.
  first[Symbol.dispose]()
  expect(memory.load.holding).toBe(2)
  const second = memory.take(never)
  expect(second).toBeInstanceOf(Promise)
  expect(order).toEqual(['third'])
})

test('who has waited longest for its client makes room', async () => {
  let nowMs = 0
  const memory = new BodyMemory(4 * MiB, () => nowMs)
  const slow = memory.take(never) as Place
  const slower = memory.take(never) as Place
  const parked: string[] = []
  slower.wait(() => {
    parked.push('slower')
    slower[Symbol.dispose]()
  })
  nowMs = 10
  slow.wait(() => parked.push('slow'))
  nowMs = 100
  await memory.take(never)
  expect(parked).toEqual(['slower'])
})

test('who waits for a moment only is let be', async () => {
  const memory = new BodyMemory(2 * MiB, () => performance.now())
  const quick = memory.take(never) as Place
  let isParked = false
  quick.wait(() => {
    isParked = true
  })
  const next = Promise.resolve(memory.take(never))
  quick.resume()
  quick[Symbol.dispose]()
  await next
  expect(isParked).toBe(false)
})

test('who gives up waits no more', async () => {
  const memory = new BodyMemory(2 * MiB, () => 0)
  void memory.take(never)
  const stop = new AbortController()
  const waiting = Promise.resolve(memory.take(stop.signal))
  stop.abort(new Error('gone'))
  await expect(waiting).rejects.toThrow('gone')
  expect(memory.load).toEqual({ holding: 1, waiting: 0 })
})

test('the more there are, the less each reads ahead', () => {
  const memory = new BodyMemory(64 * MiB, () => 0)
  const first = memory.take(never) as Place
  expect(first.aheadBytes()).toBe(30 * MiB)
  expect([first.isShared(), first.isTight()]).toEqual([false, false])
  for (let others = 1; others < 5; others++) void memory.take(never)
  expect([first.isShared(), first.isTight()]).toEqual([true, false])
  for (let others = 5; others < 32; others++) void memory.take(never)
  expect(first.aheadBytes()).toBe(0)
  expect(first.isTight()).toBe(true)
})
