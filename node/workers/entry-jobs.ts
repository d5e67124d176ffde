import { orderedUint64, readUint64 } from '../../src/encoding/bytes.ts'
import { verifySignature } from '../../src/identity/agent-key.ts'
import type { Entry } from '../../src/log/index.ts'
import { openWrappedBody, type WrappedBody } from '../../src/sharing/wrapped-body.ts'
import type { EntryJob } from './messages.ts'
import { pack, unpack } from './packed.ts'

/** What a worker does with entries of a log, and how it is put into messages: many in one, as one piece of memory. */

const partsOfEntry = 3
const partsOfBody = 10
const nothing = new Uint8Array(0)

/** Does a job; what it gives is memory of its own, put among what is to be moved. */
export function doPacked({ kind, packed }: EntryJob, moved: ArrayBuffer[]): Uint8Array<ArrayBuffer> {
  const done = kind === 'verify' ? verifyPacked(packed) : openPacked(packed)
  moved.push(done.buffer)
  return done
}

/** For `verify`. */
export function packEntries(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  return pack(entries.flatMap(({ header, headerBytes, signature }) => [headerBytes, header.author, signature]))
}

/** A byte for each entry: 1 if its signature is its author's. */
function verifyPacked(packed: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const parts = unpack(packed)
  const verdicts = new Uint8Array(parts.length / partsOfEntry)
  for (let at = 0; at < verdicts.length; at++) {
    const part = (index: number) => parts[at * partsOfEntry + index] as Uint8Array
    verdicts[at] = verifySignature('entry', part(0), part(1), part(2)) ? 1 : 0
  }
  return verdicts
}

/** What came of `verify`. */
export function unpackVerdicts(verdicts: Uint8Array): boolean[] {
  return Array.from(verdicts, (verdict) => verdict === 1)
}

/** For `open-bodies`. */
export function packBodies(bodies: readonly WrappedBody[]): Uint8Array<ArrayBuffer> {
  return pack(
    bodies.flatMap(({ epoch, artifact, wrap, place, body }) => {
      const { namespace, author, grant, incarnation, seq } = place
      return [epoch, artifact, wrap.keyId, wrap.box, namespace, author, grant, incarnation, orderedUint64(seq), body]
    }),
  )
}

/** What the bodies say, packed; nothing for one that does not open, for none says nothing. */
function openPacked(packed: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const parts = unpack(packed)
  const opened: Uint8Array[] = []
  for (let at = 0; at < parts.length; at += partsOfBody) {
    const part = (index: number) => parts[at + index] as Uint8Array
    const place = {
      namespace: part(4),
      author: part(5),
      grant: part(6),
      incarnation: part(7),
      seq: readUint64(part(8)),
    }
    const wrap = { keyId: part(2), box: part(3) }
    opened.push(openWrappedBody({ epoch: part(0), artifact: part(1), wrap, place, body: part(9) }) ?? nothing)
  }
  return pack(opened)
}

/** What came of `open-bodies`. */
export function unpackBodies(packed: Uint8Array<ArrayBuffer>): (Uint8Array | undefined)[] {
  return unpack(packed).map((body) => (body.length === 0 ? undefined : body))
}
