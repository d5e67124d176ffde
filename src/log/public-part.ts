import type { Entry } from './entry.ts'
import { encodeEntry } from './entry-codec.ts'

/** What is public of an entry: its header, and of an auth entry the body. Read with `partial`. */
export function publicPart(entry: Entry): Entry {
  const body = entry.auth === undefined ? undefined : entry.body
  return { ...entry, keys: undefined, keysBytes: undefined, body, leaf: undefined }
}

/** As `publicPart`, as it is stored and sent. */
export function publicBytes(entry: Entry): Uint8Array<ArrayBuffer> {
  return encodeEntry(publicPart(entry))
}
