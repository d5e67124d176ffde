import { describe, expect, it } from 'vitest'
import { memoryInUse } from '../../test/support/memory-in-use.ts'
import { ManualScheduler } from '../../test/support/memory-network.ts'
import { maxSyncBytesUnderWay, syncBatchBytes, syncBatchMs, syncFrameTimeoutMs } from '../limits.ts'
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

it('holds little more than a frame while it comes, however short the pieces', async () => {
  const entry = new Uint8Array(60_000).fill(1)
  const bytes = frame(entry)
  const before = memoryInUse()
  let held = 0
  let at = 0
  const peer: PeerStream = {
    agent: new Uint8Array(32),
    read: async () => {
      if (at === bytes.length - 1) held = memoryInUse() - before
      return bytes.subarray(at, ++at)
    },
    write: async () => {},
    closeWrite: async () => {},
    close: async () => {},
    abort: () => {},
  }
  const stream = new SyncStream(peer, { network: { penalise: () => {} }, scheduler: new ManualScheduler() })
  expect(await stream.receive()).toEqual({ type: 'entries', entries: [entry] })
  expect(held).toBeLessThan(20 * bytes.length)
})

it('is cut when it is to end in order and its signal was aborted before', async () => {
  const stop = new AbortController()
  const ends: unknown[] = []
  const peer: PeerStream = {
    agent: new Uint8Array(32),
    read: async () => undefined,
    write: async () => {},
    closeWrite: async () => {},
    close: async () => void ends.push('closed'),
    abort: (reason) => ends.push(reason),
  }
  const network = { penalise: (): void => {} }
  const stream = new SyncStream(peer, { network, scheduler: new ManualScheduler(), signal: stop.signal })
  const reason = new Error('no more')
  stop.abort(reason)
  await stream.end()
  expect(ends).toEqual([reason])
})

/** A stream to one who takes frames, and says something, when the test lets it. */
class Slow {
  readonly scheduler = new ManualScheduler()
  readonly penalties: string[] = []
  readonly stream: SyncStream
  #isTaking = true
  #frame: PromiseWithResolvers<void> | undefined
  #say: ((bytes: Uint8Array) => void) | undefined

  constructor() {
    const stream: PeerStream = {
      agent: new Uint8Array(32),
      read: () => new Promise((resolve) => (this.#say = resolve)),
      write: async () => {
        if (this.#isTaking) return
        this.#frame = Promise.withResolvers()
        await this.#frame.promise
      },
      closeWrite: async () => {},
      close: async () => {},
      abort: (reason) => this.#frame?.reject(reason),
    }
    const penalise = (_: Uint8Array, kind: string): void => void this.penalties.push(kind)
    this.stream = new SyncStream(stream, { network: { penalise }, scheduler: this.scheduler })
  }

  /** Sends so many batches, each taken after a time. */
  async send(batches: number, eachMs = 0): Promise<void> {
    for (let sent = 0; sent < batches; sent++) {
      this.#isTaking = eachMs === 0
      const sending = this.stream.send({ type: 'entries', entries: [new Uint8Array(syncBatchBytes)] })
      this.scheduler.advance(eachMs)
      this.#frame?.resolve()
      await sending
    }
  }

  async say(): Promise<void> {
    const heard = this.stream.receive()
    this.#say?.(frame(Uint8Array.of(1)))
    await heard
  }
}

describe('one who was sent entries', () => {
  const longestMs = syncFrameTimeoutMs + (maxSyncBytesUnderWay / syncBatchBytes) * syncBatchMs

  it('is late by as much as these may need once, not with each frame', async () => {
    const slow = new Slow()
    await slow.send(200)
    await slow.send(1, longestMs - 1)
    expect(slow.penalties).toEqual([])
    // For the last of them, a batch more.
    await expect(slow.send(1, syncFrameTimeoutMs + syncBatchMs)).rejects.toThrow('no progress')
    expect(slow.penalties).toEqual(['too-slow'])
  })

  it('and takes one in half a second, of a log that fills the window many times, is not too slow', async () => {
    const slow = new Slow()
    const inWindow = 128
    for (let window = 0; window < 20; window++) {
      await slow.send(inWindow)
      await slow.send(1, inWindow * 500)
    }
    expect(slow.penalties).toEqual([])
  })

  it('has taken them in once it says something', async () => {
    const slow = new Slow()
    await slow.send(200)
    await slow.say()
    await expect(slow.send(1, syncFrameTimeoutMs)).rejects.toThrow('no progress')
  })
})
