import { bytesText, prefixEnd } from '../encoding/index.ts'
import { maxFollowedLogBytes } from '../limits.ts'
import type { KeyValueStore } from '../storage/index.ts'
import type { NamespaceKeys } from './tables.ts'

/**
 * The artifacts that a partial log is about: it holds their entries, all that say who may do what, and bare copies of what
 * proves forks. Links between entries of a chain may be missing there.
 */
export class FollowedArtifacts {
  /** By artifact, as text: versions up to that number were not shared. */
  readonly #after = new Map<string, number>()
  /** What the log may weigh: beyond it no more is taken of artifacts. */
  readonly maxBytes: number

  constructor({ maxBytes = maxFollowedLogBytes }: { readonly maxBytes?: number } = {}) {
    this.maxBytes = maxBytes
  }

  /** @param after versions whose number is not above it are held without what is secret of them */
  set(artifact: Uint8Array, after: number): void {
    this.#after.set(bytesText(artifact), after)
  }

  delete(artifact: Uint8Array): void {
    this.#after.delete(bytesText(artifact))
  }

  has(artifact: Uint8Array): boolean {
    return this.#after.has(bytesText(artifact))
  }

  /** Versions up to that number come without what is secret of them. */
  after(artifact: Uint8Array): number {
    return this.#after.get(bytesText(artifact)) ?? 0
  }
}

interface HeldPart {
  /** Absent: the log is whole. */
  readonly partial: FollowedArtifacts | undefined
  readonly store: KeyValueStore
  readonly keys: NamespaceKeys
}

/**
 * Whether what a log holds of an artifact is there for its own sake: it is followed, or was, though nobody may have said so yet since the start. Of others there
 * is only what proves forks.
 */
export async function isHeldForItself({ partial, store, keys }: HeldPart, artifact: Uint8Array): Promise<boolean> {
  if (partial === undefined || partial.has(artifact)) return true
  // Of versions from before a share there are no keys, but there is the share.
  for (const table of ['artifactKeys', 'shares'] as const) {
    const gte = keys.key(table, artifact)
    for await (const _ of store.entries({ gte, lt: prefixEnd(gte) as Uint8Array, limit: 1 })) return true
  }
  return false
}
