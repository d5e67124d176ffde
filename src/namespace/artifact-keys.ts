import type { VersionRecord } from '../catalog/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { KeyWrap } from '../log/index.ts'
import { ArtifactKey } from '../sharing/index.ts'
import type { KnownDescriptors } from './group-descriptor.ts'
import type { Ledger } from './ledger.ts'
import { openArtifactKey, storedSecrets } from './secrets.ts'
import { isKeySuperseded } from './share-keys.ts'
import { SharingView } from './sharing-view.ts'

/** An artifact to write to: its id, the salt that makes it, and the key in force. */
export interface ArtifactHandle {
  readonly artifact: Uint8Array
  readonly salt: Uint8Array
  readonly key: ArtifactKey
  /** Whether no entry has used the key yet: the one that does carries it to those who may know it. */
  readonly isFresh: boolean
}

/** The keys of artifacts, to read and write their versions with. */
export class ArtifactKeys {
  readonly #ledger: Ledger
  readonly #descriptors: KnownDescriptors

  constructor(ledger: Ledger, descriptors: KnownDescriptors) {
    this.#ledger = ledger
    this.#descriptors = descriptors
  }

  /** One that nobody knows yet. */
  fresh(artifact: Uint8Array): ArtifactKey {
    const { env, id } = this.#ledger.parts
    return new ArtifactKey(env.random(32), id, artifact)
  }

  /** The one of that id. @throws ACCESS_DENIED when this agent cannot open it */
  async open(artifact: Uint8Array, keyId: Uint8Array): Promise<ArtifactKey> {
    const key = await openArtifactKey(storedSecrets(this.#ledger.parts), artifact, keyId, [])
    if (key === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent cannot open the artifact’s key')
    return key
  }

  /**
   * What the next version of an artifact is written with: the key in force, or a fresh one when that is known to anyone who
   * is no member any more.
   *
   * @param version the current one
   * @throws ACCESS_DENIED, CORRUPT when the log lacks its entry
   */
  async handleOf({ artifact, entry: hash }: Pick<VersionRecord, 'artifact' | 'entry'>): Promise<ArtifactHandle> {
    await this.#descriptors.writeDown()
    const { parts, membership } = this.#ledger
    const entry = await parts.log.entry(hash)
    const { data, keyId } = entry?.header ?? {}
    if (data === undefined || keyId === undefined)
      throw new ArtifactHubError('CORRUPT', 'the log lacks the entry of a version that the catalog lists')
    const salt = data.artifactSalt
    if (await isKeySuperseded(parts, SharingView.stored(parts, membership), artifact, keyId)) {
      return { artifact, salt, key: this.fresh(artifact), isFresh: true }
    }
    return { artifact, salt, key: await this.open(artifact, keyId), isFresh: false }
  }

  /**
   * Wraps an artifact key under the best epoch that this agent can open. For the node's own use until the write, which wraps
   * it anew when that epoch is no longer good. @throws ACCESS_DENIED when it can open none
   */
  wrap(key: ArtifactKey, artifact: Uint8Array): KeyWrap {
    const { parts, membership } = this.#ledger
    const { keyring } = parts
    const [fallback] = keyring.epochHeads()
    const best = membership.epochs.find(({ id }) => membership.isGoodEpoch(id) && keyring.epoch(id) !== undefined)
    const epoch = (best && keyring.epoch(best.id)) ?? fallback
    if (epoch === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent holds no key of the namespace')
    keyring.remember(artifact, key)
    return keyring.wrap(key, artifact, epoch)
  }
}
