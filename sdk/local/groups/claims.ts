import { formatNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'

/** The namespaces that somebody here is joining or leaving: nothing that others say brings them meanwhile. */
export class Claims {
  /** In hex. */
  readonly #claimed = new Set<string>()

  /** Whether a namespace (32 bytes) is claimed. */
  has(namespace: Uint8Array): boolean {
    return this.#claimed.has(toHex(namespace))
  }

  /**
   * Does what somebody here wants with a namespace (32 bytes).
   * @throws CONFLICT while it is claimed already: who came first must not lose it; what `work` throws
   */
  async during<T>(namespace: Uint8Array, work: () => Promise<T>): Promise<T> {
    const key = toHex(namespace)
    if (this.#claimed.has(key))
      throw new ArtifactHubError('CONFLICT', 'this namespace is being joined or left already', {
        details: { namespace: formatNamespaceId(namespace) },
      })
    this.#claimed.add(key)
    try {
      return await work()
    } finally {
      this.#claimed.delete(key)
    }
  }
}
