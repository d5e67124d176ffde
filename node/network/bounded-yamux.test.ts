import type { MultiaddrConnection } from '@libp2p/interface'
import { expect, test } from 'vitest'
import { maxShortFrames, streamWindowBytes } from '../../src/limits.ts'
import type { Libp2pNetwork } from './libp2p-network.ts'
import { eventually, Nodes } from './test-support/nodes.ts'

/** The beginning of a frame with data for a stream. */
function header(stream: number, length: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(12))
  bytes.setUint32(4, stream)
  bytes.setUint32(8, length)
  return new Uint8Array(bytes.buffer)
}

test.each([
  ['of no stream', 1_001],
  ['of the connection', 0],
])('a frame %s that no window has room for ends the connection when it begins', async (_what, stream) => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair()
  await a.network.ping(b.agent)
  const [connection] = (a.network as Libp2pNetwork).libp2p.getConnections() as unknown as {
    muxer: { maConn: MultiaddrConnection }
  }[]
  expect(b.network.status().connections).toBe(1)
  connection?.muxer.maConn.send(header(stream, streamWindowBytes + 1))
  await eventually(() => expect(b.network.status().connections).toBe(0))
})

test('a stream that libp2p reads is cut when it brings more short pieces than anybody has reason to', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({}, { monotonic: () => 0 })
  let came = 0
  const cut = Promise.withResolvers<void>()
  const { libp2p } = b.network as Libp2pNetwork
  await libp2p.handle('/ipfs/test/1', (stream) => {
    stream.addEventListener('message', ({ data }) => {
      came += data.byteLength
    })
    stream.addEventListener('close', () => cut.resolve())
  })
  const stream = await a.network.open(b.agent, '/ipfs/test/1')
  const pieces = Array.from({ length: 2 * maxShortFrames.burst }, () => stream.write(Uint8Array.of(0)))
  await Promise.allSettled(pieces)
  await cut.promise
  expect(came).toBeLessThanOrEqual(maxShortFrames.burst)
  expect(came).toBeGreaterThan(maxShortFrames.burst - 10)
  expect(await a.network.ping(b.agent)).toBeGreaterThan(0)
})
