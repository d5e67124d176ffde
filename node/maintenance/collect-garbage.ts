import type { LocalEnvironment, OpenNamespace } from '../../sdk/local/index.ts'
import type { VersionRoot } from '../../src/catalog/index.ts'
import { childrenOf, type Subtree, subtreeOfRoot, walkTree } from '../../src/content/index.ts'
import { isHubError } from '../../src/errors.ts'
import { gcGraceMs } from '../../src/limits.ts'
import { eraseBodies, isKnownDamaged, removeStaleLeafRows, removeStaleUploads } from '../../src/namespace/index.ts'
import type { PackNamespace, PackStore } from '../disk/index.ts'
import type { Logger } from '../logger.ts'
import type { GcOptions, GcReport } from '../node-types.ts'
import { DigestSet } from './digest-set.ts'

interface GcContext {
  readonly env: LocalEnvironment
  readonly packs: PackStore
  readonly namespaces: readonly OpenNamespace[]
  readonly logger: Logger | undefined
}

/**
 * Removes what nothing needs any more: blocks and bodies of versions that ended longer ago than the grace period, and
 * what interrupted uploads left. Safe beside writers and readers, and to be stopped anywhere.
 */
export async function collectGarbage(
  { env, packs, namespaces, logger }: GcContext,
  options: GcOptions,
): Promise<GcReport> {
  const { now = false, signal } = options
  const before = now ? Number.POSITIVE_INFINITY : env.now() - gcGraceMs
  const report = { removedBlocks: 0, removedBytes: 0, freedBytes: 0, erasedBodies: 0, keptBlocks: 0 }
  for (const namespace of namespaces) {
    signal?.throwIfAborted()
    // Deleted meanwhile. Asked for in this step, its packs are those that are open: no folder is made again.
    if (namespace.log.closed) continue
    const blocks = packs.namespace(namespace.log.folder)
    try {
      await collectFrom(namespace, await blocks, report, { before, logger, signal })
    } catch (error) {
      signal?.throwIfAborted()
      if (!namespace.log.closed) throw error
    }
  }
  return report
}

async function collectFrom(
  namespace: OpenNamespace,
  blocks: PackNamespace,
  report: { -readonly [figure in keyof GcReport]: number },
  { before, logger, signal }: { before: number; logger: Logger | undefined; signal: AbortSignal | undefined },
): Promise<void> {
  const leave = (why: string, keptBlocks: number): void => {
    logger?.warn(`gc left a namespace alone, for ${why}: run check`, { namespace: namespace.log.idText })
    report.keptBlocks += keptBlocks
  }
  const { blocks: atFirst } = await blocks.usage()
  // What a damaged entry said may be all that keeps a block.
  if (await isKnownDamaged(namespace.log)) return leave('its log has damaged entries', atFirst)
  report.erasedBodies += await eraseBodies(namespace.log, { before, signal })
  await removeStaleUploads(namespace.log, { before, isUnderWay: (mark) => namespace.uploading.has(mark) })
  const kept: KeptBlocks = { all: new DigestSet(), live: 0 }
  const result = await sweep(namespace, blocks, kept, before, signal)
  if (result === undefined) return leave('blocks of live versions are missing', atFirst)
  await removeStaleLeafRows(namespace.log, { before, signal })
  report.removedBlocks += result.removedBlocks
  report.removedBytes += result.removedBytes
  report.freedBytes += result.reclaimedBytes
  const { blocks: left } = await blocks.usage()
  report.keptBlocks += Math.max(0, left - kept.live)
}

/** What a sweep leaves alone. */
interface KeptBlocks {
  /** Blocks of live versions, and of versions in their grace period. */
  readonly all: DigestSet
  /** How many are of live versions. */
  live: number
}

/** `undefined` when a tree is not whole: what hangs below the missing node cannot be told from garbage then. */
async function sweep(
  { log }: OpenNamespace,
  blocks: PackNamespace,
  kept: KeptBlocks,
  before: number,
  signal: AbortSignal | undefined,
) {
  try {
    return await blocks.sweep({
      storedBefore: before,
      ...(signal === undefined ? {} : { signal }),
      markLive: async () => {
        for await (const version of log.catalog.liveRoots(undefined, { signal }))
          await mark(log, version, kept.all, signal)
        kept.live = kept.all.size
        for await (const version of log.catalog.endedVersions(undefined, { signal })) {
          // What is gone already needs no keeping.
          if (version.endedMs >= before) await mark(log, version, kept.all, signal).catch(ignoreMissing)
        }
        return (digest) => kept.all.has(digest)
      },
    })
  } catch (error) {
    ignoreMissing(error)
    return undefined
  }
}

async function mark(
  log: OpenNamespace['log'],
  { artifact, root }: VersionRoot,
  live: DigestSet,
  signal: AbortSignal | undefined,
): Promise<void> {
  // A tree whose root is marked was walked for another version.
  if (root.inline || live.has(root.digest)) return
  if (await log.isEstimated(artifact, root)) return await markHeld(log, root, live, signal)
  for await (const { digest } of walkTree({ root, blocks: log.blocks, signal })) live.add(digest)
}

/** Of content that was never whole here, what a fetch that was cut off left: the next one goes on from it. */
async function markHeld(
  { blocks }: OpenNamespace['log'],
  root: VersionRoot['root'],
  live: DigestSet,
  signal: AbortSignal | undefined,
): Promise<void> {
  const childrenIn = <T>(read: () => T[]): T[] => {
    try {
      return read()
    } catch (error) {
      // Sizes that no content has: nothing is fetched for such a version.
      if (!isHubError(error, 'CORRUPT')) throw error
      return []
    }
  }
  const open: Subtree[] = childrenIn(() => [subtreeOfRoot(root)])
  for (let tree = open.pop(); tree !== undefined; tree = open.pop()) {
    signal?.throwIfAborted()
    live.add(tree.digest)
    const node = tree.level === 0 ? undefined : await blocks.read(tree.digest)
    const parent = tree
    if (node !== undefined) open.push(...childrenIn(() => childrenOf(parent, node)))
  }
}

function ignoreMissing(error: unknown): void {
  if (!isHubError(error, 'UNAVAILABLE') && !isHubError(error, 'CORRUPT')) throw error
}
