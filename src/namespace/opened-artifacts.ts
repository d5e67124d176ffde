import { bytesText, prefixEnd } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { KeyValueStore } from '../storage/index.ts'
import type { FollowedArtifacts } from './followed.ts'
import { keysSealedByName } from './labelled-boxes.ts'
import { readStored } from './stored-log.ts'
import type { NamespaceKeys } from './tables.ts'

const hashBytes = 32

interface OpenedArtifactsInit {
  /** Absent: the log is whole. */
  readonly partial: FollowedArtifacts | undefined
  /** As it stays meanwhile. */
  readonly store: KeyValueStore
  /** Of the tables that follow from the log. */
  readonly keys: NamespaceKeys
  /** Of the log itself. Default `keys`. */
  readonly logKeys?: NamespaceKeys | undefined
}

/**
 * Of which artifacts a log speaks: of all, or, a partial one, of those of which it holds a key or a share. What it holds of others (headers that prove forks or tell
 * branches apart, and what comes before the first key or share) says nothing to the catalog, whatever is followed: so the same entries make the same rows. Looks into
 * the store once for each.
 */
export class OpenedArtifacts {
  readonly #init: OpenedArtifactsInit
  /** By artifact, as text. */
  readonly #inStore = new Map<string, boolean>()
  readonly #noted = new Set<string>()
  #untaken: Uint8Array[] = []

  constructor(init: OpenedArtifactsInit) {
    this.#init = init
  }

  async has(artifact: Uint8Array): Promise<boolean> {
    return this.#init.partial === undefined || this.#noted.has(bytesText(artifact)) || (await this.hadBefore(artifact))
  }

  /** Whether it was one before what was noted. */
  async hadBefore(artifact: Uint8Array): Promise<boolean> {
    const name = bytesText(artifact)
    const found = this.#inStore.get(name) ?? (await this.#isInStore(artifact))
    this.#inStore.set(name, found)
    return found
  }

  /** An entry of an artifact comes into the store. */
  note(artifact: Uint8Array, entry: Entry): void {
    if (this.#init.partial === undefined || this.#noted.has(bytesText(artifact)) || !opens(entry)) return
    this.#noted.add(bytesText(artifact))
    this.#untaken.push(artifact)
  }

  /** Artifacts of which a key or a share was noted since this was last asked. */
  takeNoted(): readonly Uint8Array[] {
    const taken = this.#untaken
    this.#untaken = []
    return taken
  }

  async #isInStore(artifact: Uint8Array): Promise<boolean> {
    const { store, keys, logKeys = keys } = this.#init
    for await (const _ of store.entries({ ...rangeOf(keys.key('artifactKeys', artifact)), limit: 1 })) return true
    for await (const [key, place] of store.entries(rangeOf(keys.key('shares', artifact)))) {
      const bytes = await store.get(logKeys.key('entries', place, key.slice(-hashBytes)))
      const share = bytes && readStored(bytes)
      if (share !== undefined && opens(share)) return true
    }
    return false
  }
}

/** Whether an entry brings a key of its artifact, or is a share of it: of versions from before a share there are no keys, but there is the share. Its header alone may be a link. */
function opens(entry: Entry): boolean {
  const { header, body, keys } = entry
  const isKeyed = (keys?.wraps.length ?? 0) > 0 || keysSealedByName(entry).length > 0
  return isKeyed || (header.data?.jti !== undefined && body !== undefined)
}

function rangeOf(prefix: Uint8Array): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: prefix, lt: prefixEnd(prefix) as Uint8Array }
}
