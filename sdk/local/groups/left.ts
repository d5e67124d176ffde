import { equalBytes } from '../../../src/encoding/index.ts'
import { nodeKey } from '../../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../../src/storage/index.ts'
import type { OpenNamespace } from '../namespace-book.ts'

/** The change that remembers that this agent left a group or a namespace (32 bytes): nobody's word brings it back. */
export function putLeft(id: Uint8Array): KeyValueChange {
  return { type: 'put', key: leftKey(id), value: new Uint8Array(0) }
}

/** The change that remembers that a namespace was left, if a group might bring it back. */
export function markLeft({ log }: OpenNamespace): KeyValueChange[] {
  const { owner, groups } = log.membership
  const isAlone = equalBytes(owner, log.env.agent.publicKey) && groups.recorded.length === 0
  return isAlone ? [] : [putLeft(log.id)]
}

/** The change that forgets it. */
export function deleteLeft(id: Uint8Array): KeyValueChange {
  return { type: 'del', key: leftKey(id) }
}

/** Whether this agent left a group or a namespace. */
export async function hasLeft(store: KeyValueStore, id: Uint8Array): Promise<boolean> {
  return (await store.get(leftKey(id))) !== undefined
}

function leftKey(id: Uint8Array): Uint8Array {
  return nodeKey('left', id)
}
