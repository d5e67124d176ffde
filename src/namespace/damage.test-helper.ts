import type { NamespaceNode } from '../../test/support/namespace-nodes.ts'

/** A node's disk loses the end of an entry. */
export async function damage({ store, ns: { keys } }: NamespaceNode, hash: Uint8Array): Promise<void> {
  const key = keys.key('entries', (await store.get(keys.key('places', hash))) as Uint8Array, hash)
  const value = ((await store.get(key)) as Uint8Array).slice(0, -1)
  await store.batch([{ type: 'put', key, value }], { sync: false })
}
