/**
 * Run as a process of its own: puts one large content into a node, streams it out again, and tells the parent what came. Its
 * arguments are the kind of content, the data directory, the length and, for a sparse file, its path.
 */
import { createCipheriv, createHash } from 'node:crypto'
import { startNode } from '../../node/index.ts'

/** What the parent is told. */
export type LargeContentMessage =
  | { readonly phase: 'in' | 'out' }
  | {
      readonly phase: 'done'
      /** SHA-256 (hex) as the version has it, of what went in, and of what came out. */
      readonly sha256: { readonly version: string; readonly wentIn: string | undefined; readonly cameOut: string }
      /** Bytes as the version has it and as they came out. */
      readonly bytes: { readonly version: number; readonly cameOut: number }
      /** Bytes that came out and are not zero, up to the first piece with any. */
      readonly allZero: boolean
    }

const pieceBytes = 1024 * 1024
const zeros = Buffer.alloc(4 * pieceBytes)

/** Looks random, and never the same twice: the key stream of AES-256-CTR. */
async function* pseudoRandom(bytes: number, seen: (piece: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  const cipher = createCipheriv('aes-256-ctr', Buffer.alloc(32, 'a seed'), new Uint8Array(16))
  for (let left = bytes; left > 0; left -= pieceBytes) {
    const piece = cipher.update(zeros.subarray(0, Math.min(left, pieceBytes)))
    seen(piece)
    yield piece
  }
}

const [kind, dataDir = '', length, path = ''] = process.argv.slice(2)
const tell = (message: LargeContentMessage): void => {
  process.send?.(message)
}

await using node = await startNode({ network: 'offline', dataDir })
const { artifact } = node.client
tell({ phase: 'in' })
const wentIn = createHash('sha256')
const isSparse = kind === 'sparse'
const stored = isSparse
  ? await artifact.uploadFile({ path, name: 'large' })
  : await artifact.create({ name: 'large', data: pseudoRandom(Number(length), (piece) => wentIn.update(piece)) })

tell({ phase: 'out' })
const cameOut = createHash('sha256')
let bytesOut = 0
let allZero = true
for await (const piece of artifact.downloadStream({ artifactId: stored.id })) {
  cameOut.update(piece)
  bytesOut += piece.length
  allZero &&= zeros.compare(piece, 0, piece.length, 0, piece.length) === 0
}
tell({
  phase: 'done',
  sha256: {
    version: stored.sha256,
    wentIn: isSparse ? undefined : wentIn.digest('hex'),
    cameOut: cameOut.digest('hex'),
  },
  bytes: { version: stored.sizeBytes, cameOut: bytesOut },
  allZero,
})
