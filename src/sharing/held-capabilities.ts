import { toHex } from '../encoding/index.ts'
import type { AgentKey } from '../identity/index.ts'
import type { BoxLabel } from '../log/index.ts'

/** A capability that this agent holds, by itself or as a member of a group. */
export interface HeldCapability {
  /** 20 bytes. */
  readonly artifact: Uint8Array
  /** 16 bytes. */
  readonly jti: Uint8Array
  /** Groups (32 bytes each) of its audience. */
  readonly groups: readonly Uint8Array[]
}

/** What boxes that are for this agent are labelled with, and whose key opens them; `undefined`: its own. */
interface ExpectedLabel {
  readonly label: BoxLabel
  readonly key: AgentKey | undefined
}

/** How an agent finds boxes that are for it as the audience of capabilities, not as a member. */
export class HeldCapabilities {
  /** By artifact, then by jti and groups: others may have signed another capability of that jti. */
  readonly #held = new Map<string, Map<string, HeldCapability>>()
  /** By group, then by epoch. */
  readonly #groupKeys = new Map<string, Map<string, { readonly epoch: Uint8Array; readonly key: AgentKey }>>()

  /** Gives whether it is new. */
  hold(capability: HeldCapability): boolean {
    const { artifact, jti, groups } = capability
    return addTo(this.#held, toHex(artifact), [jti, ...groups].map(toHex).join(), capability)
  }

  /** The key of a group in an epoch (id, 16 bytes) of it. Gives whether it is new. */
  admitGroupKey(group: Uint8Array, epoch: Uint8Array, key: AgentKey): boolean {
    return addTo(this.#groupKeys, toHex(group), toHex(epoch), { epoch, key })
  }

  *labelsOf(artifact: Uint8Array): Generator<ExpectedLabel> {
    for (const { jti, groups } of this.#held.get(toHex(artifact))?.values() ?? []) {
      yield { label: { jti, epoch: undefined }, key: undefined }
      for (const group of groups) {
        for (const { epoch, key } of this.#groupKeys.get(toHex(group))?.values() ?? []) {
          yield { label: { jti, epoch }, key }
        }
      }
    }
  }
}

function addTo<T>(all: Map<string, Map<string, T>>, first: string, second: string, value: T): boolean {
  const some = all.get(first) ?? new Map<string, T>()
  if (some.has(second)) return false
  all.set(first, some.set(second, value))
  return true
}
