import { type ContentRef, walkTree } from '../content/index.ts'
import { isHubError } from '../errors.ts'
import type { NamespaceBlocks } from '../storage/index.ts'
import type { Holds } from './holding-codec.ts'

/**
 * How much of a content is here. `all` only after every block of it was found and is durable.
 * @throws what the store throws; CORRUPT for a damaged tree; the signal's reason
 */
export async function durableShare(
  root: ContentRef,
  blocks: NamespaceBlocks,
  signal?: AbortSignal | undefined,
): Promise<Holds> {
  await using writer = blocks.openWriter()
  let found = 0
  let isWhole = true
  try {
    for await (const { kind, digest } of walkTree({ root, blocks, signal })) {
      const isHere = kind === 'node' || (await writer.find(digest))
      if (isHere) found++
      else isWhole = false
      if (!isWhole && found > 0) return 'part'
    }
  } catch (error) {
    if (!isHubError(error, 'UNAVAILABLE')) throw error
    return found > 0 ? 'part' : 'none'
  }
  if (!isWhole) return 'none'
  await writer.sync()
  return 'all'
}
