/** A video that was made here. */
export interface Video {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly seconds: number
}

/** One picture of 16 by 16 pixels as VP8 has it (RFC 6386), a key frame each. */
const white = Buffer.from('MAEAnQEqEAAQAALATCWkAANwAP73jAAA', 'base64')
const black = Buffer.from('MAEAnQEqEAAQAALATCWkAANwAP74H4AA', 'base64')

const framesPerSecond = 10

/**
 * A WebM (https://www.webmproject.org/docs/container) whose first half is white and whose second half is black. Each second has `paddingBytes` in it
 * that players skip, so that it is as large as one with more to see, and what tells where the seconds are comes last: who seeks has to ask for ranges.
 */
export function makeVideo(seconds: number, paddingBytes: number): Video {
  const info = element(0x1549a966, [
    element(0x2ad7b1, uint(1_000_000)), // nanoseconds a tick
    element(0x4489, float(seconds * 1000)),
    element(0x4d80, Buffer.from('test')),
    element(0x5741, Buffer.from('test')),
  ])
  const video = element(0xe0, [element(0xb0, uint(16)), element(0xba, uint(16))])
  const track = [element(0xd7, uint(1)), element(0x73c5, uint(1)), element(0x83, uint(1))]
  const tracks = element(0x1654ae6b, element(0xae, [...track, element(0x86, Buffer.from('V_VP8')), video]))
  const clusters = Array.from({ length: seconds }, (_, second) => {
    const picture = second < seconds / 2 ? white : black
    return element(0x1f43b675, [
      element(0xe7, uint(second * 1000)),
      ...Array.from({ length: framesPerSecond }, (_, frame) => simpleBlock((frame * 1000) / framesPerSecond, picture)),
      element(0xec, Buffer.alloc(paddingBytes)),
    ])
  })
  // The length of what tells places does not depend on them.
  const seekHead = (cuesAt: number) =>
    element(0x114d9b74, [
      seek(0x1549a966, seekBytes),
      seek(0x1654ae6b, seekBytes + info.length),
      seek(0x1c53bb6b, cuesAt),
    ])
  const seekBytes = element(0x114d9b74, [seek(0, 0), seek(0, 0), seek(0, 0)]).length
  const places: number[] = []
  let at = seekBytes + info.length + tracks.length
  for (const { length } of clusters) {
    places.push(at)
    at += length
  }
  const cues = element(
    0x1c53bb6b,
    places.map((place, second) =>
      element(0xbb, [
        element(0xb3, uint(second * 1000)),
        element(0xb7, [element(0xf7, uint(1)), element(0xf1, uint(place))]),
      ]),
    ),
  )
  const head = element(0x1a45dfa3, [
    element(0x4286, uint(1)),
    element(0x42f7, uint(1)),
    element(0x42f2, uint(4)),
    element(0x42f3, uint(8)),
    element(0x4282, Buffer.from('webm')),
    element(0x4287, uint(2)),
    element(0x4285, uint(2)),
  ])
  const segment = element(0x18538067, [seekHead(at), info, tracks, ...clusters, cues])
  return { bytes: new Uint8Array(Buffer.concat([head, segment])), seconds }
}

/** EBML (RFC 8794): id, length in eight bytes, content. */
function element(id: number, content: Buffer | readonly Buffer[]): Buffer {
  const body = Array.isArray(content) ? Buffer.concat(content) : (content as Buffer)
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(body.length) | (1n << 56n))
  return Buffer.concat([idBytes(id), length, body])
}

function idBytes(id: number): Buffer {
  const hex = id.toString(16)
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
}

function uint(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes
}

function seek(id: number, place: number): Buffer {
  const name = Buffer.alloc(4)
  name.writeUInt32BE(id)
  return element(0x4dbb, [element(0x53ab, name), element(0x53ac, uint(place))])
}

/** Of track 1, a key frame. */
function simpleBlock(milliseconds: number, frame: Buffer): Buffer {
  const header = Buffer.from([0x81, 0, 0, 0x80])
  header.writeInt16BE(milliseconds, 1)
  return element(0xa3, Buffer.concat([header, frame]))
}
