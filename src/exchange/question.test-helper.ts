import { encodeCanonical } from '../encoding/index.ts'

/** A question or an answer as it goes over a stream: its length (u32, big-endian) and then the message. */
export function framed(message: unknown): Uint8Array {
  const payload = encodeCanonical(message)
  const frame = new Uint8Array(4 + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, 4)
  return frame
}
