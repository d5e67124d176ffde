import { join } from 'node:path'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxOpenPacks } from '../../src/limits.ts'
import type { KeyValueStore } from '../../src/storage/key-value.ts'
import { type DiskFiles, diskError, nodeFiles } from './files.ts'
import { OpenPacks } from './open-packs.ts'
import { PackIndex } from './pack-index.ts'
import { PackNamespace } from './pack-namespace.ts'

/** How a PackStore is opened. */
export interface PackStoreOptions {
  /** The folder `packs`; made when absent. Its parent must exist. */
  readonly directory: string
  /** Holds the index. Whatever was synced there before must stay. */
  readonly index: KeyValueStore
  /** Every key of the index begins with this. */
  readonly keyPrefix: Uint8Array
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly files?: DiskFiles
  /** A pack is full at this many bytes; at most 4 GiB less one block. */
  readonly maxPackBytes?: number
}

const namespacePattern = /^[A-Za-z0-9_-]{1,128}$/
/** No namespace id begins with a dot. */
const removedPrefix = '.removed-'

/** Append-only pack files, one folder a namespace, with their index in a key-value store. See README.md. */
export class PackStore implements AsyncDisposable {
  readonly #options: PackStoreOptions
  readonly #files: DiskFiles
  readonly #openPacks: OpenPacks
  readonly #namespaces = new Map<string, Promise<PackNamespace>>()
  #closing: Promise<void> | undefined

  private constructor(options: PackStoreOptions) {
    this.#options = options
    this.#files = options.files ?? nodeFiles
    this.#openPacks = new OpenPacks(this.#files, maxOpenPacks)
  }

  /** @throws STORAGE_FULL, STORAGE_FAILED */
  static async open(options: PackStoreOptions): Promise<PackStore> {
    const store = new PackStore(options)
    try {
      await store.#files.mkdir(options.directory)
      await store.#files.syncDirectory(join(options.directory, '..'))
      for (const name of await store.#files.readdir(options.directory)) {
        if (name.startsWith(removedPrefix)) await store.#finishRemoval(name.slice(removedPrefix.length))
      }
    } catch (error) {
      throw diskError(error, 'make the folder for packs')
    }
    return store
  }

  /**
   * The blocks of a namespace, opened (and recovered) at the first call, then the same object. Begins empty.
   * @param id letters, digits, `_` and `-`
   * @throws INVALID_ARGUMENT, STORAGE_FULL, STORAGE_FAILED, UNSUPPORTED_FORMAT, CLOSED
   */
  async namespace(id: string): Promise<PackNamespace> {
    if (this.#closing) throw new ArtifactHubError('CLOSED', 'the block store is closed')
    if (!namespacePattern.test(id)) {
      throw new ArtifactHubError('INVALID_ARGUMENT', `not a namespace id: ${JSON.stringify(id)}`)
    }
    let opening = this.#namespaces.get(id)
    if (!opening) {
      opening = PackNamespace.open({
        id,
        directory: this.#path(id),
        files: this.#files,
        openPacks: this.#openPacks,
        store: this.#options.index,
        keyPrefix: this.#namespacePrefix(id),
        now: this.#options.now,
        maxPackBytes: this.#options.maxPackBytes,
      })
      this.#namespaces.set(id, opening)
      opening.catch(() => this.#namespaces.delete(id))
    }
    return opening
  }

  /** Ids of the namespaces that have a folder, in no order. */
  async namespaces(): Promise<string[]> {
    try {
      return (await this.#files.readdir(this.#options.directory)).filter((name) => namespacePattern.test(name))
    } catch (error) {
      throw diskError(error, 'list the folder of packs')
    }
  }

  /**
   * Removes a namespace's blocks for good; its writers and readers get CLOSED. Its folder is renamed first: from then on
   * the namespace is gone, and a kill in the middle is finished by the next open.
   * @throws STORAGE_FAILED
   */
  async removeNamespace(id: string): Promise<void> {
    const open = await this.namespace(id)
    this.#namespaces.set(id, Promise.reject(new ArtifactHubError('CLOSED', 'this namespace is being removed')))
    this.#namespaces.get(id)?.catch(() => {})
    try {
      await open.close()
      await this.#files.rename(this.#path(id), this.#path(removedPrefix + id))
      await this.#files.syncDirectory(this.#options.directory)
      await this.#finishRemoval(id)
    } catch (error) {
      throw diskError(error, 'remove a namespace')
    } finally {
      this.#namespaces.delete(id)
    }
  }

  /** Rows first, for good, then the files: a row never outlives its file, nor do files come back without the mark. */
  async #finishRemoval(id: string): Promise<void> {
    const folder = this.#path(removedPrefix + id)
    await new PackIndex(this.#options.index, this.#namespacePrefix(id)).clear({ rebuild: false })
    for (const name of await this.#files.readdir(folder)) {
      this.#openPacks.forget(join(this.#path(id), name))
      await this.#files.unlink(join(folder, name))
    }
    await this.#files.rmdir(folder)
    await this.#files.syncDirectory(this.#options.directory)
  }

  /** Closes every namespace. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    const open = await Promise.allSettled(this.#namespaces.values())
    for (const namespace of open) {
      if (namespace.status === 'fulfilled') await namespace.value.close()
    }
    await this.#openPacks.close()
  }

  #path(name: string): string {
    return join(this.#options.directory, name)
  }

  #namespacePrefix(id: string): Uint8Array {
    return Uint8Array.from([...this.#options.keyPrefix, ...Buffer.from(id), 0])
  }
}
