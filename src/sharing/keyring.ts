import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { type AgentKey, type HmacKey, openSealed, unwrapKey, wrapKey, wrappingKey } from '../identity/index.ts'
import type { KeySection, KeyWrap } from '../log/index.ts'
import { ArtifactKey, keyIdOf } from './artifact-key.ts'

const maxCachedKeys = 4_096
const noSubject = new Uint8Array(0)

/** An epoch's secret, as its holder knows it. */
export interface EpochSecret {
  readonly id: Uint8Array
  readonly secret: Uint8Array
  /** What it wraps artifact keys with. */
  readonly wrapping: HmacKey
}

/** The keys that one agent can open in one namespace. Epoch secrets stay in memory; artifact keys are opened when asked for. */
export class Keyring {
  readonly #namespace: Uint8Array
  readonly #epochs = new Map<string, EpochSecret>()
  readonly #opened = new Map<string, ArtifactKey>()
  #current: EpochSecret | undefined

  constructor(namespace: Uint8Array) {
    this.#namespace = namespace
  }

  /** The epoch that new keys are wrapped under. @throws ACCESS_DENIED when this agent holds none */
  get currentEpoch(): EpochSecret {
    if (this.#current === undefined)
      throw new ArtifactHubError('ACCESS_DENIED', 'this agent holds no key of the namespace')
    return this.#current
  }

  /** Takes in the secret that a rotate entry introduces under `keyId`; `false` when nothing in it is sealed to `agent`. */
  admitEpoch(keyId: Uint8Array, keys: KeySection, agent: AgentKey): boolean {
    const context = { kind: 'epoch' as const, namespace: this.#namespace, subject: noSubject, keyId }
    const boxes = keys.boxes.filter((box) => toHex(box.keyId) === toHex(keyId))
    const secret = keys.ephemeral === undefined ? undefined : openSealed(keys.ephemeral, boxes, agent, context)
    // The id commits to the key: a sealer that boxed another one to some members would split them.
    if (secret === undefined || toHex(keyIdOf(secret)) !== toHex(keyId)) return false
    this.#current = { id: keyId, secret, wrapping: wrappingKey(secret) }
    this.#epochs.set(toHex(keyId), this.#current)
    return true
  }

  /** Wraps an artifact key under the current epoch. */
  wrap(key: ArtifactKey, artifact: Uint8Array): KeyWrap {
    const epoch = this.currentEpoch
    const context = { kind: 'artifact' as const, namespace: this.#namespace, subject: artifact, keyId: key.id }
    return { keyId: key.id, under: epoch.id, box: wrapKey(key.secret, epoch.wrapping, context) }
  }

  /** The artifact key of that id out of its wraps; `undefined` when none of them opens. */
  open(artifact: Uint8Array, keyId: Uint8Array, wraps: readonly KeyWrap[]): ArtifactKey | undefined {
    const name = toHex(artifact) + toHex(keyId)
    const cached = this.#opened.get(name)
    if (cached !== undefined) return cached
    for (const { under, box } of wraps) {
      const epoch = this.#epochs.get(toHex(under))
      if (epoch === undefined) continue
      const context = { kind: 'artifact' as const, namespace: this.#namespace, subject: artifact, keyId }
      const secret = unwrapKey(box, epoch.wrapping, context)
      if (secret === undefined || toHex(keyIdOf(secret)) !== toHex(keyId)) continue
      const key = new ArtifactKey(secret, this.#namespace, artifact)
      this.remember(artifact, key)
      return key
    }
    return undefined
  }

  /** Keeps an opened key at hand. */
  remember(artifact: Uint8Array, key: ArtifactKey): void {
    if (this.#opened.size >= maxCachedKeys) this.#opened.delete(this.#opened.keys().next().value as string)
    this.#opened.set(toHex(artifact) + toHex(key.id), key)
  }
}
