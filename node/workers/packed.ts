const lengthBytes = 4

/** Byte strings in memory of their own, that can be moved to another thread: each its length (u32, big-endian) and the bytes. */
export function pack(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0
  for (const part of parts) length += lengthBytes + part.length
  const packed = new Uint8Array(length)
  const view = new DataView(packed.buffer)
  let at = 0
  for (const part of parts) {
    view.setUint32(at, part.length)
    packed.set(part, at + lengthBytes)
    at += lengthBytes + part.length
  }
  return packed
}

/** What was packed: parts of that memory. */
export function unpack(packed: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  const parts: Uint8Array<ArrayBuffer>[] = []
  for (let at = 0; at < packed.length; ) {
    const from = at + lengthBytes
    at = from + view.getUint32(at)
    parts.push(packed.subarray(from, at))
  }
  return parts
}
