import { expect, it } from 'vitest'
import { ManualScheduler } from '../../test/support/memory-network.ts'
import { maxSyncRounds, syncRoundTurnMs, syncRoundWaitMs } from '../limits.ts'
import { RoundPlaces } from './round-places.ts'

/** Places of which all are taken by rounds that last until they are told to end, or give way. */
function taken() {
  const scheduler = new ManualScheduler()
  const places = new RoundPlaces(scheduler, maxSyncRounds)
  const ending = new AbortController()
  const rounds = Array.from({ length: maxSyncRounds }, (_, at) => ({ at, begun: 0, gaveWay: 0 }))
  const ends = rounds.map((round) =>
    places.run(ending.signal, async (signal) => {
      round.begun += 1
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      if (!ending.signal.aborted) round.gaveWay += 1
      signal.throwIfAborted()
    }),
  )
  const begun = () => rounds.map(({ begun }) => begun)
  const end = async (): Promise<void> => {
    ending.abort(new Error('enough'))
    for (const { status } of await Promise.allSettled(ends)) expect(status).toBe('rejected')
    expect(scheduler.pending).toBe(0)
  }
  return { scheduler, places, begun, end }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const once = Array.from({ length: maxSyncRounds }, () => 1)

it('leaves a round alone for as long as it takes while nobody waits', async () => {
  const { scheduler, begun, end } = taken()
  scheduler.advance(100 * syncRoundTurnMs)
  await turn()
  expect(begun()).toEqual(once)
  await end()
})

it('has one that took long give way to each that waits for long, and begin anew when it is its turn', async () => {
  const { scheduler, places, begun, end } = taken()
  scheduler.advance(syncRoundTurnMs)
  const { signal } = new AbortController()
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const both = [first, second].map(({ promise }) => places.run(signal, () => promise))
  scheduler.advance(syncRoundWaitMs - 1)
  await turn()
  expect(begun()).toEqual(once)
  scheduler.advance(1)
  await turn()
  first.resolve('first')
  second.resolve('second')
  expect(await Promise.all(both)).toEqual(['first', 'second'])
  await turn()
  expect(begun()).toEqual([2, 2, ...once.slice(2)])
  await end()
})

it('has none give way that has not had its time, and the first that has had it', async () => {
  const { scheduler, places, begun, end } = taken()
  const waiting = places.run(new AbortController().signal, async () => 'its turn')
  scheduler.advance(syncRoundTurnMs - 1)
  await turn()
  expect(begun()).toEqual(once)
  scheduler.advance(1)
  expect(await waiting).toBe('its turn')
  await turn()
  expect(begun()).toEqual([2, ...once.slice(1)])
  await end()
})

it('fails with what a round fails with, and for who waits no more', async () => {
  const { places, end } = taken()
  const waiting = new AbortController()
  const gone = places.run(waiting.signal, async () => {})
  waiting.abort(new Error('gone'))
  await expect(gone).rejects.toThrow('gone')
  await end()
  const failing = places.run(new AbortController().signal, () => Promise.reject(new Error('broken')))
  await expect(failing).rejects.toThrow('broken')
})

it('has none give way at one place that waits for another: it would go to the end of that line, and never have its turn', async () => {
  const { scheduler, places, end } = taken()
  const ending = new AbortController()
  const dials = new RoundPlaces(scheduler, 1)
  const begun = Array.from({ length: 2 * maxSyncRounds }, () => 0)
  const long = begun.map((_, at) =>
    places.run(ending.signal, async (signal) => {
      begun[at] = (begun[at] ?? 0) + 1
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      signal.throwIfAborted()
    }),
  )
  const dialled = ['first', 'second'].map((name) => dials.run(ending.signal, async () => name, places))
  for (let turns = 0; turns < 8; turns++) {
    scheduler.advance(syncRoundTurnMs + syncRoundWaitMs)
    await turn()
  }
  ending.abort(new Error('enough'))
  await Promise.allSettled(long)
  expect(Math.min(...begun)).toBeGreaterThan(0)
  expect(await Promise.all(dialled)).toEqual(['first', 'second'])
  await end()
})
