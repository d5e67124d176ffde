import { artifactIdOf, toHex } from '../../src/encoding/index.ts'
import { type AgentKey, openSealed, unwrapKey } from '../../src/identity/index.ts'
import { decodeUnverifiedEntry, type Entry } from '../../src/log/index.ts'
import { groupKeyOf, Keyring } from '../../src/sharing/index.ts'
import type { SimulatedAgent, World } from './machine.ts'

/** What an agent can open that was handed every entry anybody ever signed, whatever its boxes are labelled with. */
export interface Reach {
  /** Ids (hex) of keys of artifacts. */
  readonly keys: ReadonlySet<string>
  /** Ids (hex) of epochs of the group. */
  readonly groupEpochs: ReadonlySet<string>
  /**
   * As `keys`, without entries that went with the last log that had them, for its user dropped it or put an older copy back: that a key was sealed there, nobody
   * who writes can know.
   */
  readonly keysLeft: () => ReadonlySet<string>
}

/** Computes what agents reach, from one world's ciphertext. */
export function reachesIn(world: World): (agent: SimulatedAgent) => Reach {
  const { id, group, ledger, groupLedger } = world
  const namespace = id as Uint8Array
  const entries = [...ledger.signed.values()].map((bytes) => decodeUnverifiedEntry(bytes))
  const left = entries.filter(({ hash }) => !isGone(world, toHex(hash)))
  const ofGroup = [...groupLedger.signed.values()].map((bytes) => decodeUnverifiedEntry(bytes))
  return (agent) => {
    const groupKeys = new Map<string, AgentKey>()
    if (group !== undefined) {
      const keyring = keyringOf(group, agent, ofGroup)
      for (const { header } of ofGroup) {
        const epoch = header.keyId && keyring.epoch(header.keyId)
        if (epoch !== undefined) groupKeys.set(toHex(epoch.id), groupKeyOf(group, epoch.secret))
      }
    }
    const epochs = keyringOf(namespace, agent, entries)
    const opened = (some: readonly Entry[]) => keysOpenedBy([agent, ...groupKeys.values()], epochs, namespace, some)
    return { keys: opened(entries), groupEpochs: new Set(groupKeys.keys()), keysLeft: () => opened(left) }
  }
}

function isGone({ ledger, machines }: World, hash: string): boolean {
  return ledger.excused.has(hash) && !machines.some((machine) => machine.isHonest && machine.keeps(hash))
}

function keyringOf(log: Uint8Array, agent: SimulatedAgent, entries: readonly Entry[]): Keyring {
  const keyring = new Keyring(log, agent)
  for (const { header, keys, auth } of entries) {
    if (auth !== undefined && keys !== undefined && header.keyId !== undefined) keyring.admit(header.keyId, keys, true)
  }
  return keyring
}

function keysOpenedBy(
  own: readonly AgentKey[],
  epochs: Keyring,
  namespace: Uint8Array,
  entries: readonly Entry[],
): Set<string> {
  const found = new Set<string>()
  for (const { header, keys } of entries) {
    if (header.data === undefined || keys === undefined) continue
    const subject = artifactIdOf(namespace, header.data.artifactSalt)
    const about = { kind: 'artifact' as const, namespace, subject }
    for (const { keyId, under, box } of keys.wraps) {
      const epoch = epochs.epoch(under)
      if (epoch !== undefined && unwrapKey(box, epoch.wrapping, { ...about, keyId })) found.add(toHex(keyId))
    }
    for (const { keyId, ...box } of keys.boxes) {
      if (found.has(toHex(keyId))) continue
      const isOpen = own.some((key) => openSealed(keys.ephemeral as Uint8Array, [box], key, { ...about, keyId }))
      if (isOpen) found.add(toHex(keyId))
    }
  }
  return found
}
