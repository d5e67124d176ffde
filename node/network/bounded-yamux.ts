import type { MultiaddrConnection, StreamMuxerFactory } from '@libp2p/interface'
import { type YamuxMuxerInit, yamux } from '@libp2p/yamux'
import { streamWindowBytes } from '../../src/limits.ts'

/** A frame's version, type, flags, stream and length (https://github.com/hashicorp/yamux/blob/master/spec.md). */
const headerBytes = 12
const typeAt = 1
const lengthAt = 8
const dataFrame = 0

/** What is used of yamux's decoder, which has no interface of its own. */
interface Decoder {
  readonly buffer: { readonly byteLength: number; get(at: number): number; getUint32(at: number): number }
  readFrame(): unknown
}

/**
 * libp2p's yamux, which of itself holds a frame until all of it is there before it looks whether the stream that it is for, if there is one, may
 * bring so much: up to 4 GiB a connection. Here a connection with a frame longer than any stream's window is cut when the frame begins.
 */
export function boundedYamux(init: YamuxMuxerInit): () => StreamMuxerFactory {
  return () => {
    const factory = yamux(init)()
    const createStreamMuxer = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection: MultiaddrConnection) => {
      const muxer = createStreamMuxer(connection)
      bound((muxer as unknown as { readonly decoder: Decoder }).decoder)
      return muxer
    }
    return factory
  }
}

function bound(decoder: Decoder): void {
  const readFrame = decoder.readFrame.bind(decoder)
  decoder.readFrame = () => {
    const { buffer } = decoder
    const isData = buffer.byteLength >= headerBytes && buffer.get(typeAt) === dataFrame
    if (isData && buffer.getUint32(lengthAt) > streamWindowBytes) throw new Error('a frame longer than a window')
    return readFrame()
  }
}
