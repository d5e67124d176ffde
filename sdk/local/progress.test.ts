import { expect, test } from 'vitest'
import type { Progress } from '../client.ts'
import { ProgressMeter } from './progress.ts'

test('events come at most every 50 ms, the last one whenever it is over, with the rate of late', () => {
  const events: Progress[] = []
  let nowMs = 1_000
  const meter = new ProgressMeter(
    (event) => events.push(event),
    1_000_000,
    () => nowMs,
    400_000,
  )
  for (let loaded = 401_000; loaded <= 500_000; loaded += 1_000) {
    nowMs += 2
    meter.report(loaded)
  }
  expect(events.map(({ loaded }) => loaded)).toEqual([401_000, 426_000, 451_000, 476_000])
  for (const { total, bytesPerSecond } of events)
    expect([total, Math.round(bytesPerSecond)]).toEqual([1_000_000, 500_000])
  meter.report(1_000_000)
  meter.finish(1_000_000)
  expect(events.slice(4)).toEqual([{ loaded: 1_000_000, total: 1_000_000, bytesPerSecond: 3_000_000 }])
})

test('the rate is that of the last three seconds', () => {
  const rates: number[] = []
  let nowMs = 0
  const meter = new ProgressMeter(
    ({ bytesPerSecond }) => rates.push(bytesPerSecond),
    undefined,
    () => nowMs,
  )
  for (let second = 1; second <= 10; second++) {
    nowMs += 1_000
    meter.report(second <= 5 ? second * 9_000 : 45_000)
  }
  expect(rates[4]).toBe(9_000)
  expect(rates[9]).toBe(0)
})
