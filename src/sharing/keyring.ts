import { bytesText, concatBytes, toHex } from '../encoding/index.ts'
import { type AgentKey, type HmacKey, openSealed, Sealer, unwrapKey, wrapKey, wrappingKey } from '../identity/index.ts'
import type { BoxLabel, KeySection, KeyWrap } from '../log/index.ts'
import { ArtifactKey, keyIdOf } from './artifact-key.ts'
import { groupKeyOf } from './group-key.ts'
import { HeldCapabilities } from './held-capabilities.ts'
import { unwrapArtifactKey } from './wrapped-body.ts'

/** Artifact keys kept at hand, some 250 bytes each. */
const maxKeptSecrets = 4_096
const noSubject = new Uint8Array(0)

/** An epoch's secret, as its holder knows it. */
export interface EpochSecret {
  readonly id: Uint8Array
  readonly secret: Uint8Array
  /** What it wraps other keys with. */
  readonly wrapping: HmacKey
}

/** An artifact key, whom to seal it to (raw public key), and the label of that box if it is for a capability. */
export interface SealingItem {
  readonly key: ArtifactKey
  readonly recipient: Uint8Array
  readonly label?: BoxLabel | undefined
}

/**
 * The keys that one agent can open in one namespace: a bag of secrets, each of which its id commits to. Which of them to
 * use is for whoever knows the members. Epoch secrets stay in memory; artifact keys are opened when asked for.
 */
export class Keyring {
  readonly #namespace: Uint8Array
  readonly #agent: AgentKey
  readonly #epochs = new Map<string, EpochSecret>()
  /** To make one takes some 0.1 ms, and whoever follows by way of a group shows one for each share. */
  readonly #groupKeys = new Map<string, AgentKey>()
  /** Epoch secrets wrapped under an epoch, by that epoch's id, then their own, each box once. Anyone who may write can bring any number that do not open. */
  readonly #wrapped = new Map<string, Map<string, Map<string, KeyWrap>>>()
  /** Which wraps of epochs were seen to open: older epoch and the one that it is under. */
  readonly #opened = new Set<string>()
  /** Of artifact keys that were opened of late. What is derived of them is a kilobyte more, and made again in 10 µs. */
  readonly #secrets = new Map<string, Uint8Array>()
  /** Boxes that are for this agent as a recipient of shares. */
  readonly capabilities = new HeldCapabilities()

  constructor(namespace: Uint8Array, agent: AgentKey) {
    this.#namespace = namespace
    this.#agent = agent
  }

  /** How many epochs this agent can open. */
  get size(): number {
    return this.#epochs.size
  }

  /** The secret of an epoch; `undefined` when this agent does not hold it. */
  epoch(id: Uint8Array): EpochSecret | undefined {
    return this.#epochs.get(toHex(id))
  }

  /** Of a group's log: the key pair of an epoch; `undefined` when this agent does not hold that. */
  groupKey(id: Uint8Array): AgentKey | undefined {
    const epoch = this.epoch(id)
    if (epoch === undefined) return undefined
    const name = toHex(id)
    const key = this.#groupKeys.get(name) ?? groupKeyOf(this.#namespace, epoch.secret)
    this.#groupKeys.set(name, key)
    return key
  }

  /** All epochs that this agent can open, in the order in which it could. */
  get epochs(): Iterable<EpochSecret> {
    return this.#epochs.values()
  }

  /** Whether a wrap of one epoch under another is known that opens; `false` where that other one is not held. */
  isWrapped(older: Uint8Array, under: Uint8Array): boolean {
    const [name, above] = [toHex(older), toHex(under)]
    if (this.#opened.has(name + above)) return true
    const epoch = this.#epochs.get(above)
    const wraps = this.#wrapped.get(above)?.get(name)
    if (epoch === undefined || wraps === undefined) return false
    for (const [box, wrap] of wraps) {
      if (this.#openWrap(wrap, epoch) !== undefined) {
        this.#opened.add(name + above)
        return true
      }
      wraps.delete(box)
    }
    return false
  }

  /** The epochs held of which no other one held is known to wrap them: whoever is given these can open all. */
  epochHeads(): EpochSecret[] {
    const below = new Set<string>()
    for (const [under, wraps] of this.#wrapped) {
      if (this.#epochs.has(under)) for (const name of wraps.keys()) below.add(name)
    }
    return [...this.#epochs].filter(([id]) => !below.has(id)).map(([, epoch]) => epoch)
  }

  /** Takes in an epoch's secret, and those of the older epochs that are known to be wrapped under it. */
  admitEpoch(secret: Uint8Array): EpochSecret {
    const epoch: EpochSecret = { id: keyIdOf(secret), secret, wrapping: wrappingKey(secret) }
    this.#epochs.set(toHex(epoch.id), epoch)
    const open = [epoch]
    for (let newer = open.pop(); newer !== undefined; newer = open.pop()) {
      for (const wraps of this.#wrapped.get(toHex(newer.id))?.values() ?? []) {
        for (const wrap of wraps.values()) {
          const older = this.#unwrapEpoch(wrap, newer)
          if (older !== undefined) open.push(older)
        }
      }
    }
    return epoch
  }

  /**
   * Takes in what the keys section of an auth entry gives this agent: the secret `keyId` if one of its boxes is sealed to it, and the older epochs that
   * it wraps. Gives whether any secret is new.
   *
   * @param mayBeSealed whether one of the boxes can be this agent's: trying costs an agreement
   */
  admit(keyId: Uint8Array, section: KeySection, mayBeSealed: boolean): boolean {
    const before = this.#epochs.size
    for (const wrap of section.wraps) this.#admitWrap(wrap)
    if (!mayBeSealed || this.#epochs.has(toHex(keyId))) return this.#epochs.size > before
    const secret = this.#openBox('epoch', noSubject, keyId, section)
    // The id commits to the key: a sealer that boxed another one to some members would split them.
    if (secret !== undefined && toHex(keyIdOf(secret)) === toHex(keyId)) this.admitEpoch(secret)
    return this.#epochs.size > before
  }

  /** Wraps an artifact key under an epoch. */
  wrap(key: ArtifactKey, artifact: Uint8Array, epoch: EpochSecret): KeyWrap {
    const context = { kind: 'artifact' as const, namespace: this.#namespace, subject: artifact, keyId: key.id }
    return { keyId: key.id, under: epoch.id, box: wrapKey(key.secret, epoch.wrapping, context) }
  }

  /** Wraps an older epoch under a newer one. */
  wrapEpoch(older: EpochSecret, under: EpochSecret): KeyWrap {
    const context = { kind: 'epoch' as const, namespace: this.#namespace, subject: noSubject, keyId: older.id }
    return { keyId: older.id, under: under.id, box: wrapKey(older.secret, under.wrapping, context) }
  }

  /**
   * Seals an epoch secret to agents (raw public keys), a box each in their order.
   *
   * @param seed 32 fresh random bytes
   */
  sealEpoch(epoch: EpochSecret, recipients: readonly Uint8Array[], seed: Uint8Array): KeySection {
    const context = { kind: 'epoch' as const, namespace: this.#namespace, subject: noSubject, keyId: epoch.id }
    const sealer = new Sealer(seed)
    const boxes = recipients.map((agent) => ({ keyId: epoch.id, ...sealer.seal(epoch.secret, agent, context) }))
    return { wraps: [], ephemeral: sealer.ephemeral, boxes }
  }

  /**
   * Seals keys of an artifact, a box for each item in that order.
   *
   * @param seed 32 fresh random bytes
   */
  sealKeys(artifact: Uint8Array, items: readonly SealingItem[], seed: Uint8Array): KeySection {
    const sealer = new Sealer(seed)
    const boxes = items.map(({ key, recipient, label }) => {
      const context = { kind: 'artifact' as const, namespace: this.#namespace, subject: artifact, keyId: key.id }
      return { keyId: key.id, ...sealer.seal(key.secret, recipient, context), label }
    })
    return { wraps: [], ephemeral: items.length === 0 ? undefined : sealer.ephemeral, boxes }
  }

  /**
   * The artifact key of that id, if it is kept at hand, or out of its wraps; `undefined` when none of them opens. It is not kept: whoever receives
   * a log opens every key in it once.
   */
  open(artifact: Uint8Array, keyId: Uint8Array, wraps: readonly KeyWrap[]): ArtifactKey | undefined {
    const secret = this.#secrets.get(secretName(artifact, keyId))
    if (secret !== undefined) return new ArtifactKey(secret, this.#namespace, artifact)
    for (const wrap of wraps) {
      const key = toHex(wrap.keyId) === toHex(keyId) ? this.#unwrap(artifact, wrap) : undefined
      if (key !== undefined) return key
    }
    return undefined
  }

  /** Whether a wrap of an artifact key opens; `false` where the epoch that it is under is not held. */
  opens(artifact: Uint8Array, wrap: KeyWrap): boolean {
    return this.#unwrap(artifact, wrap) !== undefined
  }

  /**
   * The artifact key of that id out of a box sealed to this agent, or to a group by a key of it, kept at hand from then on; `undefined` when none is.
   *
   * @param recipient whose box it is, when it is a group's
   */
  openSealed(
    artifact: Uint8Array,
    keyId: Uint8Array,
    section: KeySection,
    recipient = this.#agent,
  ): ArtifactKey | undefined {
    const key = this.#keyOf(artifact, keyId, this.#openBox('artifact', artifact, keyId, section, recipient))
    if (key !== undefined) this.remember(artifact, key)
    return key
  }

  /** Keeps an opened key at hand. */
  remember(artifact: Uint8Array, key: ArtifactKey): void {
    if (this.#secrets.size >= maxKeptSecrets) this.#secrets.delete(this.#secrets.keys().next().value as string)
    this.#secrets.set(secretName(artifact, key.id), key.secret)
  }

  /** Keeps none at hand any more: what they were in may have been taken out of the log. */
  forgetOpened(): void {
    this.#secrets.clear()
  }

  /** Whether it is the key of that id is for the caller to look at. */
  #openBox(
    kind: 'artifact' | 'epoch',
    subject: Uint8Array,
    keyId: Uint8Array,
    { ephemeral, boxes }: KeySection,
    recipient = this.#agent,
  ): Uint8Array | undefined {
    const own = boxes.filter((box) => toHex(box.keyId) === toHex(keyId))
    if (ephemeral === undefined || own.length === 0) return undefined
    return openSealed(ephemeral, own, recipient, { kind, namespace: this.#namespace, subject, keyId })
  }

  #unwrap(artifact: Uint8Array, wrap: KeyWrap): ArtifactKey | undefined {
    const epoch = this.#epochs.get(toHex(wrap.under))
    return epoch && unwrapArtifactKey(wrap, epoch.wrapping, this.#namespace, artifact)
  }

  #keyOf(artifact: Uint8Array, keyId: Uint8Array, secret: Uint8Array | undefined): ArtifactKey | undefined {
    if (secret === undefined) return undefined
    const key = new ArtifactKey(secret, this.#namespace, artifact)
    return toHex(key.id) === toHex(keyId) ? key : undefined
  }

  #admitWrap(wrap: KeyWrap): void {
    const under = toHex(wrap.under)
    const name = toHex(wrap.keyId)
    const known = this.#wrapped.get(under) ?? new Map<string, Map<string, KeyWrap>>()
    const wraps = known.get(name) ?? new Map<string, KeyWrap>()
    const box = bytesText(wrap.box)
    if (wraps.has(box)) return
    this.#wrapped.set(under, known.set(name, wraps.set(box, wrap)))
    const epoch = this.#epochs.get(under)
    const older = epoch && this.#unwrapEpoch(wrap, epoch)
    if (older !== undefined) this.admitEpoch(older.secret)
  }

  /** Takes in one wrapped epoch; gives it when it opens and is new. */
  #unwrapEpoch(wrap: KeyWrap, under: EpochSecret): EpochSecret | undefined {
    if (this.#epochs.has(toHex(wrap.keyId))) return undefined
    const secret = this.#openWrap(wrap, under)
    if (secret === undefined) return undefined
    const epoch = { id: wrap.keyId, secret, wrapping: wrappingKey(secret) }
    this.#epochs.set(toHex(wrap.keyId), epoch)
    return epoch
  }

  #openWrap({ keyId, box }: KeyWrap, under: EpochSecret): Uint8Array | undefined {
    const context = { kind: 'epoch' as const, namespace: this.#namespace, subject: noSubject, keyId }
    const secret = unwrapKey(box, under.wrapping, context)
    return secret === undefined || toHex(keyIdOf(secret)) !== toHex(keyId) ? undefined : secret
  }
}

function secretName(artifact: Uint8Array, keyId: Uint8Array): string {
  return bytesText(concatBytes(artifact, keyId))
}
