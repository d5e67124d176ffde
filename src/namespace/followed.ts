import { bytesText, prefixEnd } from '../encoding/index.ts'
import { maxFollowedLogBytes } from '../limits.ts'
import type { KeyValueStore } from '../storage/index.ts'
import { readStored } from './stored-log.ts'
import type { NamespaceKeys } from './tables.ts'

const hashBytes = 32

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

  /**
   * Of a log that is open by `Namespace.follow`, for something may be held of the artifact.
   * @param after versions whose number is not above it are held without what is secret of them
   */
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
  /** Of the tables that follow from the log. */
  readonly keys: NamespaceKeys
  /** Of the log itself. Default `keys`. */
  readonly logKeys?: NamespaceKeys | undefined
}

/**
 * Whether what a log holds of artifacts is there for its own sake: they are followed, or were, though nobody may have said so yet since the start. Of others
 * there are only bare headers, which prove forks and tell branches apart. Looks into the store once for each.
 */
export class HeldForItself {
  readonly #part: HeldPart
  /** By artifact, as text. */
  readonly #found = new Map<string, boolean>()

  /** @param part the store as it stays meanwhile: of what is not followed nothing comes but such headers */
  constructor(part: HeldPart) {
    this.#part = part
  }

  async has(artifact: Uint8Array): Promise<boolean> {
    const { partial } = this.#part
    if (partial === undefined || partial.has(artifact)) return true
    const name = bytesText(artifact)
    const found = this.#found.get(name) ?? (await this.#isInStore(artifact))
    this.#found.set(name, found)
    return found
  }

  async #isInStore(artifact: Uint8Array): Promise<boolean> {
    const { store, keys, logKeys = keys } = this.#part
    for await (const _ of store.entries({ ...rangeOf(keys.key('artifactKeys', artifact)), limit: 1 })) return true
    // Of versions from before a share there are no keys, but there is the share: whole, for its header alone may be such a link.
    for await (const [key, place] of store.entries(rangeOf(keys.key('shares', artifact)))) {
      const bytes = await store.get(logKeys.key('entries', place, key.slice(-hashBytes)))
      if (bytes !== undefined && readStored(bytes)?.body !== undefined) return true
    }
    return false
  }
}

function rangeOf(prefix: Uint8Array): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: prefix, lt: prefixEnd(prefix) as Uint8Array }
}
