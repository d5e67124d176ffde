import type { MultiaddrConnection, Stream, StreamMuxerFactory } from '@libp2p/interface'
import { type YamuxMuxerInit, yamux } from '@libp2p/yamux'
import { maxShortFrames, shortFrameBytes, streamWindowBytes } from '../../src/limits.ts'

/** A frame's version, type, flags, stream and length (https://github.com/hashicorp/yamux/blob/master/spec.md). */
const headerBytes = 12
const lengthAt = 8
const dataFrame = 0

/** What is used of yamux's decoder, which has no interface of its own. */
interface Decoder {
  readonly buffer: { readonly byteLength: number; getUint32(at: number): number }
  readFrame(): unknown
}

interface Frame {
  readonly header: { readonly streamID: number; readonly type: number; readonly length: number }
}

/** And of its muxer. */
interface Muxer {
  readonly decoder: Decoder
  readonly streams: readonly (Stream & { readonly streamId: number })[]
  handleStreamMessage(frame: Frame): void
}

/** What libp2p reads by itself, in lists of all pieces of a message; '' while it is being agreed upon what a stream is for. */
const readByLibp2p = /^$|^\/(ipfs|meshsub|artifact-hub\/kad|libp2p\/(autonat|dcutr))/

/**
 * libp2p's yamux with bounds on two things that anyone who is connected could do. Of itself it holds a frame until all of it is there before it looks whether the
 * stream that it is for, if there is one, may bring so much: up to 4 GiB a connection. Here a connection with a frame longer than any stream's window is cut when the
 * frame begins. And of messages that libp2p itself reads each piece takes 200 bytes beside its own, and to take many thousands off its list takes many seconds: a
 * stream that brings them in more than `maxShortFrames` pieces is cut.
 */
export function boundedYamux(init: YamuxMuxerInit, monotonic: () => number): () => StreamMuxerFactory {
  return () => {
    const factory = yamux(init)()
    const createStreamMuxer = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection: MultiaddrConnection) => {
      const made = createStreamMuxer(connection)
      const muxer = made as unknown as Muxer
      boundFrames(muxer.decoder)
      boundPieces(muxer, monotonic)
      return made
    }
    return factory
  }
}

function boundFrames(decoder: Decoder): void {
  const readFrame = decoder.readFrame.bind(decoder)
  /** Whether the frame that is under way was looked at: a long one comes in many pieces. */
  let isChecked = false
  decoder.readFrame = () => {
    const frame = readFrame()
    const { buffer } = decoder
    if (frame !== undefined) isChecked = false
    else if (!isChecked && buffer.byteLength >= headerBytes) {
      // Only those with data are more than a header.
      if (buffer.getUint32(lengthAt) > streamWindowBytes) throw new Error('a frame longer than a window')
      isChecked = true
    }
    return frame
  }
}

function boundPieces(muxer: Muxer, monotonic: () => number): void {
  const { burst, perSecond } = maxShortFrames
  /** By stream, how many may come at a time. */
  const left = new WeakMap<Stream, { readonly count: number; readonly at: number }>()
  const handle = muxer.handleStreamMessage.bind(muxer)
  muxer.handleStreamMessage = (frame) => {
    const { streamID, type, length } = frame.header
    if (type === dataFrame && length < shortFrameBytes) {
      const stream = muxer.streams.find(({ streamId }) => streamId === streamID)
      if (stream !== undefined && readByLibp2p.test(stream.protocol)) {
        const now = monotonic()
        const { count, at } = left.get(stream) ?? { count: burst, at: now }
        const rest = Math.min(burst, count + ((now - at) / 1_000) * perSecond) - 1
        left.set(stream, { count: rest, at: now })
        if (rest < 0) stream.abort(new Error('too many short pieces'))
      }
    }
    handle(frame)
  }
}
