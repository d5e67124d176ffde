import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { expect, test } from 'vitest'
import { afterWhatCame } from './connect-limit.ts'

test('what came while this process stood still is told of before its time is over', async () => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const told: string[] = []
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const stop = afterWhatCame(5, () => told.push('late'))
  socket.once('connect', () => {
    told.push('connected')
    stop()
  })
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
  await once(socket, 'close')
  expect(told).toEqual(['connected'])
  server.close()
})

test('what does not come is late', async () => {
  const late = Promise.withResolvers<void>()
  const stop = afterWhatCame(5, late.resolve)
  const staying = setInterval(() => {}, 1_000)
  await late.promise
  clearInterval(staying)
  stop()
})
