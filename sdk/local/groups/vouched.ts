import {
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  requireFormatVersion,
  toHex,
} from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { maxLogsByAgent, maxLogsByGroup, maxLogsByOthers } from '../../../src/limits.ts'
import { nodeKey, nodeRows } from '../../../src/namespace/index.ts'
import type { KeyValueStore } from '../../../src/storage/index.ts'

const formatVersion = 1
const maxRowBytes = 256

/** On whose word a log is here. */
export interface Voucher {
  /** The contact who added this agent to a group, or the member who wrote a namespace into a group's log: raw public key. */
  readonly by: Uint8Array
  /** The group (32 bytes) whose log names a namespace. */
  readonly group: Uint8Array | undefined
}

/**
 * The groups and namespaces that this node has, or is joining, on the word of others and not because somebody here named them: on disk and bounded, by whoever
 * vouches, by group and in all.
 */
export class Vouched {
  readonly #store: KeyValueStore
  /** By id in hex. */
  readonly #all = new Map<string, Voucher>()

  private constructor(store: KeyValueStore) {
    this.#store = store
  }

  /** @throws CORRUPT, UNSUPPORTED_FORMAT */
  static async open(store: KeyValueStore): Promise<Vouched> {
    const vouched = new Vouched(store)
    for await (const [id, value] of nodeRows(store, 'vouched')) vouched.#all.set(toHex(id), decodeRow(value))
    return vouched
  }

  get size(): number {
    return this.#all.size
  }

  /** On whose word a log is here; `undefined` for any other. */
  of(id: Uint8Array): Voucher | undefined {
    return this.#all.get(toHex(id))
  }

  /** Whether there is room for another log on that word. */
  hasRoom({ by, group }: Voucher): boolean {
    const all = [...this.#all.values()]
    const ofAgent = all.filter((one) => equalBytes(one.by, by)).length
    const ofGroup = group === undefined ? 0 : all.filter((one) => one.group && equalBytes(one.group, group)).length
    return all.length < maxLogsByOthers && ofAgent < maxLogsByAgent && ofGroup < maxLogsByGroup
  }

  /** A log (id: 32 bytes) is here on that word from now on. `{ v: 1, by, group }` */
  async add(id: Uint8Array, voucher: Voucher): Promise<void> {
    this.#all.set(toHex(id), voucher)
    const { by, group } = voucher
    const value = encodeCanonical({ v: formatVersion, by, group: group ?? null })
    await this.#store.batch([{ type: 'put', key: keyOf(id), value }], { sync: true })
  }

  /** It is here no more, or because somebody here wants it. Idempotent. */
  async remove(id: Uint8Array): Promise<void> {
    if (!this.#all.delete(toHex(id))) return
    await this.#store.batch([{ type: 'del', key: keyOf(id) }], { sync: true })
  }

  /** Forgets those that are not here after all, given what is (ids in hex). */
  async keepOnly(here: ReadonlySet<string>): Promise<void> {
    for (const id of [...this.#all.keys()]) if (!here.has(id)) await this.remove(new Uint8Array(Buffer.from(id, 'hex')))
  }
}

function keyOf(id: Uint8Array): Uint8Array {
  return nodeKey('vouched', id)
}

function decodeRow(value: Uint8Array): Voucher {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a row of what others brought' })
  const { v, by, group } = (typeof row === 'object' && row !== null ? row : {}) as Record<string, unknown>
  requireFormatVersion(v, formatVersion, 'what this node remembers of what others brought')
  if (!isBytes32(by) || (group !== null && !isBytes32(group)))
    throw new ArtifactHubError('CORRUPT', 'what this node remembers of what others brought is damaged')
  return { by, group: group ?? undefined }
}

function isBytes32(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32
}
