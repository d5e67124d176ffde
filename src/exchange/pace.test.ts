import { expect, test } from 'vitest'
import { ManualScheduler } from '../../test/support/memory-network.ts'
import { Pace } from './pace.ts'

const [one, other] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

test('so many begin at once, and after that so many a second, each agent by itself', async () => {
  const scheduler = new ManualScheduler()
  const pace = new Pace(scheduler, { burst: 3, perSecond: 2, atOnce: 9 })
  const { signal } = new AbortController()
  const begun: string[] = []
  for (let at = 0; at < 6; at++) void pace.run(one, signal, async () => {}).then(() => begun.push(`one ${at}`))
  void pace.run(other, signal, async () => {}).then(() => begun.push('other'))
  await settled()
  expect(begun).toEqual(['one 0', 'one 1', 'one 2', 'other'])
  for (const [ms, count] of [
    [499, 4],
    [1, 5],
    [500, 6],
    [500, 7],
  ] as const) {
    scheduler.advance(ms)
    await settled()
    expect(begun).toHaveLength(count)
  }
  scheduler.advance(60_000)
  for (let at = 0; at < 4; at++) void pace.run(one, signal, async () => {}).then(() => begun.push(`later ${at}`))
  await settled()
  expect(begun).toHaveLength(10)
})

test('who gives up waits no longer, and a clock that is put back keeps nobody waiting', async () => {
  const scheduler = new ManualScheduler()
  let backMs = 0
  const pace = new Pace(
    { now: () => scheduler.now() - backMs, setTimer: (ms, work) => scheduler.setTimer(ms, work) },
    { burst: 1, perSecond: 1, atOnce: 9 },
  )
  const giving = new AbortController()
  await pace.run(one, giving.signal, async () => {})
  const waiting = pace.run(one, giving.signal, async () => {})
  giving.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
  await expect(pace.run(one, giving.signal, async () => {})).rejects.toThrow('enough')
  backMs = 24 * 3600_000
  const next = pace.run(one, undefined, async () => {})
  await settled()
  scheduler.advance(2_000)
  await next
})

test('no more is under way with one agent than it takes', async () => {
  const pace = new Pace(new ManualScheduler(), { burst: 9, perSecond: 1, atOnce: 2 })
  const ends = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
  const begun: number[] = []
  ends.forEach(({ promise }, at) => {
    void pace.run(one, undefined, async () => {
      begun.push(at)
      await promise
    })
  })
  await settled()
  expect(begun).toEqual([0, 1])
  ends[1]?.resolve()
  await settled()
  expect(begun).toEqual([0, 1, 2])
})
