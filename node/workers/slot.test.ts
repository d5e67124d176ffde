import { Worker } from 'node:worker_threads'
import { afterEach, expect, test, vi } from 'vitest'
import { ArtifactHubError } from '../../src/errors.ts'
import { WorkerSlot } from './slot.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('a process waits for a worker that is being stopped, also when what it did last is done meanwhile', async () => {
  const unref = vi.spyOn(Worker.prototype, 'unref')
  const slot = new WorkerSlot(() => {})
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  slot.send({ job: { kind: 'collect' }, transfer: [], signal: undefined, resolve, reject })
  const [worker] = unref.mock.contexts as [Worker]
  const before = unref.mock.calls.length
  const stopped = slot.stop(new ArtifactHubError('CLOSED', 'it is closed'))
  worker.emit('message', { id: 0, result: 'done' })
  await stopped
  expect(await promise).toBe('done')
  expect(unref).toHaveBeenCalledTimes(before)
})
