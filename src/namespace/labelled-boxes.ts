import { bytesText, equalBytes, prefixEnd } from '../encoding/index.ts'
import type { BoxLabel, Entry, KeyBox } from '../log/index.ts'
import type { KeyValueStore } from '../storage/index.ts'
import { readKeyRow } from './key-rows.ts'
import type { NamespaceKeys } from './tables.ts'

const jtiBytes = 16
const epochBytes = 16
/** In place of an epoch, for a box that is sealed to an agent. */
const noEpoch = new Uint8Array(epochBytes)

/**
 * The row of an artifact key's boxes with one label: ways as in the rows of artifact keys, for anyone may write boxes that open
 * for nobody. Apart from those, because thousands of shares must not crowd out the members' own ways.
 */
export function labelledBoxesKey(
  keys: NamespaceKeys,
  artifact: Uint8Array,
  keyId: Uint8Array,
  { jti, epoch }: BoxLabel,
): Uint8Array {
  return keys.key('labelledBoxes', artifact, keyId, jti, epoch ?? noEpoch)
}

/** A label, and the hashes of entries with boxes that have it. */
export interface UsedLabel extends BoxLabel {
  readonly entries: readonly Uint8Array[]
}

/** What boxes of an artifact key are labelled with, each label once. With `jti` only those of that name. */
export async function* labelsInStore(
  store: KeyValueStore,
  keys: NamespaceKeys,
  artifact: Uint8Array,
  keyId: Uint8Array,
  jti?: Uint8Array,
): AsyncGenerator<UsedLabel> {
  const gte = keys.key('labelledBoxes', artifact, keyId, ...(jti === undefined ? [] : [jti]))
  for await (const [key, row] of store.entries({ gte, lt: prefixEnd(gte) as Uint8Array })) {
    const label = key.slice(key.length - jtiBytes - epochBytes)
    const [jti, epoch] = [label.subarray(0, jtiBytes), label.subarray(jtiBytes)]
    const entries = readKeyRow(row, keyId).boxed.map((hash) => hash.slice())
    yield { jti, epoch: equalBytes(epoch, noEpoch) ? undefined : epoch, entries }
  }
}

/** A box that is for a capability. */
export type LabelledBox = KeyBox & { readonly label: BoxLabel }

/** By key and label, the boxes of an entry that are for a capability: several where a link is for several gateways. */
export function boxesByLabel({ keys }: Pick<Entry, 'keys'>): ReadonlyMap<string, readonly LabelledBox[]> {
  const labelled = (keys?.boxes ?? []).flatMap((box) => (box.label === undefined ? [] : [{ ...box, label: box.label }]))
  return Map.groupBy(
    labelled,
    ({ keyId, label: { jti, epoch } }) => bytesText(keyId) + bytesText(jti) + bytesText(epoch ?? noEpoch),
  )
}

/** Boxes of an entry that are for a capability, one of each key and label. */
export function labelledBoxesOf(entry: Pick<Entry, 'keys'>): LabelledBox[] {
  return [...boxesByLabel(entry).values()].map((boxes) => boxes.at(-1) as LabelledBox)
}

/** The ids of the keys that an entry seals by name, each once. */
export function keysSealedByName({ keys }: Pick<Entry, 'keys'>): Uint8Array[] {
  const named = keys?.boxes.filter(({ label }) => label === undefined) ?? []
  return [...new Map(named.map(({ keyId }) => [bytesText(keyId), keyId])).values()]
}
