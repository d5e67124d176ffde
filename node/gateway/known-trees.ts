import { type BlockReader, type ContentRef, walkTree } from '../../src/content/index.ts'

/**
 * Blocks for a reader that remembers trees and so asks for leaves alone. Whoever fetches them knows only leaves that a node told of: for
 * the first one that is not to be had the nodes above the range are read once more, by way of `blocks`.
 */
export function withNodesRead(
  blocks: BlockReader,
  root: ContentRef,
  range: { readonly start: number; readonly end: number },
  signal: AbortSignal,
): BlockReader {
  let reading: Promise<void> | undefined
  const readNodes = async (): Promise<void> => {
    // It never reads leaves.
    for await (const _ of walkTree({ root, blocks, range, signal }));
  }
  return {
    async read(digest, options) {
      const bytes = await blocks.read(digest, options)
      if (bytes !== undefined) return bytes
      reading ??= readNodes()
      await reading
      return await blocks.read(digest, options)
    },
    inPlace: async (digest, use, options) => await blocks.inPlace?.(digest, use, options),
  }
}
