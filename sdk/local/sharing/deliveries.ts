import { toHex } from '../../../src/encoding/index.ts'
import { nodeKey, nodeRows } from '../../../src/namespace/index.ts'
import type { KeyValueStore } from '../../../src/storage/index.ts'

const namespaceBytes = 32
const refusedMark = 0x01

/** What whoever a share is for made of what tells of it: it has it, or will not have it. */
export type DeliveryAnswer = 'taken' | 'refused'

/** A share's namespace (32 bytes), and its name (`capabilityName`, 16 bytes). */
export interface DeliveryName {
  readonly namespace: Uint8Array
  readonly name: Uint8Array
}

/**
 * Shares of which whoever they are for was told and gave an answer: on the disk, so that they are not told again. Rows `01 77` ‖ namespace ‖ name →
 * nothing when it was taken, one byte `01` when it was refused.
 */
export class Deliveries {
  readonly #store: KeyValueStore
  /** By namespace, then by name, both in hex. */
  readonly #answers = new Map<string, Map<string, DeliveryAnswer>>()

  private constructor(store: KeyValueStore) {
    this.#store = store
  }

  static async open(store: KeyValueStore): Promise<Deliveries> {
    const deliveries = new Deliveries(store)
    for await (const [key, value] of nodeRows(store, 'deliveries')) {
      const namespace = key.subarray(0, namespaceBytes)
      const name = key.subarray(namespaceBytes)
      deliveries.#set({ namespace, name }, value[0] === refusedMark ? 'refused' : 'taken')
    }
    return deliveries
  }

  answerOf({ namespace, name }: DeliveryName): DeliveryAnswer | undefined {
    return this.#answers.get(toHex(namespace))?.get(toHex(name))
  }

  /** Told again after a power cut, nothing is lost: it need not be synced. */
  async add(names: readonly DeliveryName[], answer: DeliveryAnswer): Promise<void> {
    if (names.length === 0) return
    const value = answer === 'refused' ? Uint8Array.of(refusedMark) : new Uint8Array(0)
    const changes = names.map((name) => ({ type: 'put' as const, key: keyOf(name), value }))
    await this.#store.batch(changes, { sync: false })
    for (const name of names) this.#set(name, answer)
  }

  /** Forgets some. Idempotent. */
  async remove(names: readonly DeliveryName[]): Promise<void> {
    const known = names.filter((name) => this.answerOf(name) !== undefined)
    if (known.length === 0) return
    await this.#store.batch(
      known.map((name) => ({ type: 'del' as const, key: keyOf(name) })),
      { sync: false },
    )
    for (const { namespace, name } of known) {
      const of = this.#answers.get(toHex(namespace))
      of?.delete(toHex(name))
      if (of?.size === 0) this.#answers.delete(toHex(namespace))
    }
  }

  /** Forgets those of a namespace (32 bytes) that `isOver` says are of no share in force any more. */
  async forget(namespace: Uint8Array, isOver: (name: string) => boolean): Promise<void> {
    const over = [...(this.#answers.get(toHex(namespace))?.keys() ?? [])].filter(isOver)
    await this.remove(over.map((name) => ({ namespace, name: new Uint8Array(Buffer.from(name, 'hex')) })))
  }

  #set({ namespace, name }: DeliveryName, answer: DeliveryAnswer): void {
    const known = this.#answers.get(toHex(namespace)) ?? new Map<string, DeliveryAnswer>()
    this.#answers.set(toHex(namespace), known)
    known.set(toHex(name), answer)
  }
}

function keyOf({ namespace, name }: DeliveryName): Uint8Array {
  return nodeKey('deliveries', namespace, name)
}
