import type { MultiaddrConnection } from '@libp2p/interface'
import { expect, test } from 'vitest'
import { streamWindowBytes } from '../../src/limits.ts'
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
