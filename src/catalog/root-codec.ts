import { type Reader, record } from '../encoding/index.ts'
import { leafOverheadBytes, maxContentBytes, maxInlineBytes } from '../limits.ts'
import type { ContentRoot } from './operation.ts'

const rawCodec = 0x55
const dagPbCodec = 0x70

/** Members of the list that is a root in every format: `[digest, codec, inline, plaintext bytes, leaf bytes, key id]`. */
export const rootMembers = 6

/** A root as canonical DAG-CBOR has it, in entries and capabilities. */
export function encodeRoot(root: ContentRoot): unknown[] {
  return [root.digest, root.codec, root.inline, root.sizeBytes, root.storedBytes, root.keyId]
}

/** @param reader of a list of `rootMembers`  @throws CORRUPT for what no content has */
export function decodeRoot(reader: Reader): ContentRoot {
  const root = record<ContentRoot>({
    digest: reader.bytes(0, 32),
    codec: reader.integer(1, 0, 0xff),
    inline: reader.boolean(2),
    sizeBytes: reader.integer(3, 0, maxContentBytes),
    storedBytes: reader.integer(4, leafOverheadBytes, 2 * maxContentBytes),
    keyId: reader.bytes(5, 16),
  })
  if (root.codec !== rawCodec && root.codec !== dagPbCodec) throw reader.malformed('a root is raw or dag-pb')
  if (root.codec === rawCodec && root.storedBytes !== root.sizeBytes + leafOverheadBytes) {
    throw reader.malformed('sizes of a leaf disagree')
  }
  if (root.inline && (root.codec !== rawCodec || root.sizeBytes > maxInlineBytes)) {
    throw reader.malformed('this cannot be inline')
  }
  return root
}
