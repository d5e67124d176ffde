import { expect, test } from 'vitest'
import { SharedWaits } from './shared-waits.ts'

const never = new AbortController().signal

test('what several wait for is done once', async () => {
  const waits = new SharedWaits(60_000)
  let runs = 0
  const gate = Promise.withResolvers<void>()
  const work = async () => {
    runs++
    await gate.promise
  }
  const all = [1, 2, 3].map(() => waits.wait('one', never, work))
  const other = waits.wait('other', never, async () => {
    runs += 10
  })
  await other
  gate.resolve()
  await Promise.all(all)
  expect(runs).toBe(11)
  await waits.wait('one', never, async () => {
    runs++
  })
  expect(runs).toBe(12)
})

test('who leaves leaves the others waiting, and failures are for nobody', async () => {
  const waits = new SharedWaits(60_000)
  const gate = Promise.withResolvers<void>()
  const leaver = new AbortController()
  const leaving = waits.wait('one', leaver.signal, () => gate.promise)
  const staying = waits.wait('one', never, () => gate.promise)
  leaver.abort(new Error('gone'))
  await expect(leaving).rejects.toThrow('gone')
  await expect(waits.wait('one', leaver.signal, () => gate.promise)).rejects.toThrow('gone')
  gate.reject(new Error('did not work'))
  await staying
})

test('it is bounded in time, and ends with whoever has it', async () => {
  const ends = (signal: AbortSignal) => new Promise((_, reject) => signal.addEventListener('abort', reject))
  const hasty = new SharedWaits(1)
  await hasty.wait('one', never, ends)
  const waits = new SharedWaits(60_000)
  const waiting = waits.wait('one', never, ends)
  await waits.close()
  await waiting
})
