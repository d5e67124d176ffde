import { concatBytes } from '../../../src/encoding/index.ts'
import { keySpaces } from '../../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../../src/storage/index.ts'

// Beside the tables of `src/namespace/registry.ts` and `../replication/rows.ts`.
const leftTable = 0x67

/** The change that remembers that this agent left a group (32 bytes): nobody's word brings it back. */
export function putLeft(group: Uint8Array): KeyValueChange {
  return { type: 'put', key: leftKey(group), value: new Uint8Array(0) }
}

/** The change that forgets it. */
export function deleteLeft(group: Uint8Array): KeyValueChange {
  return { type: 'del', key: leftKey(group) }
}

/** Whether this agent left a group. */
export async function hasLeft(store: KeyValueStore, group: Uint8Array): Promise<boolean> {
  return (await store.get(leftKey(group))) !== undefined
}

function leftKey(group: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(keySpaces.node, leftTable), group)
}
