import { expect, it } from 'vitest'
import type { PeerStream } from './peer-network.ts'
import { encodeSyncMessage } from './sync-codec.ts'
import { SyncStream } from './sync-stream.ts'

const network = { penalise: () => {} }
const scheduler = { now: () => 0, setTimer: () => () => {} }

/** A stream that gives these pieces. */
function streamOf(...pieces: Uint8Array[]): SyncStream {
  const stream: PeerStream = {
    agent: new Uint8Array(32),
    read: async () => pieces.shift(),
    write: async () => {},
    closeWrite: async () => {},
    close: async () => {},
    abort: () => {},
  }
  return new SyncStream(stream, { network, scheduler })
}

/** A frame of entries, as it goes over the wire. */
function frame(...entries: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const payload = encodeSyncMessage({ type: 'entries', entries })
  const whole = new Uint8Array(4 + payload.length)
  new DataView(whole.buffer).setUint32(0, payload.length)
  whole.set(payload, 4)
  return whole
}

it('gives back memory that the stream gave once all of it is read, and nothing of what others may be in', async () => {
  const [one, two] = [new Uint8Array(500).fill(1), new Uint8Array(700).fill(2)]
  const bytes = frame(one, two)
  const first = bytes.slice(0, 300)
  const around = new Uint8Array(bytes.length)
  const second = around.subarray(300)
  second.set(bytes.subarray(300))
  const stream = streamOf(first, second)
  expect(await stream.receive()).toEqual({ type: 'entries', entries: [one, two] })
  expect(first.buffer.byteLength).toBe(0)
  expect(around.length).toBe(bytes.length)
  expect(second.at(-1)).toBe(2)
  expect(await stream.receive()).toBeUndefined()
})

it('keeps what belongs to the next frame', async () => {
  const both = new Uint8Array([...frame(Uint8Array.of(1)), ...frame(Uint8Array.of(2))])
  const stream = streamOf(both)
  expect(await stream.receive()).toEqual({ type: 'entries', entries: [Uint8Array.of(1)] })
  expect(both.buffer.byteLength).toBeGreaterThan(0)
  expect(await stream.receive()).toEqual({ type: 'entries', entries: [Uint8Array.of(2)] })
  expect(both.buffer.byteLength).toBe(0)
})
