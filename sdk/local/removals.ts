import { folderOf, isRemovalOwed, removeRows } from '../../src/namespace/index.ts'
import type { LocalEnvironment } from './environment.ts'

/** Removes what is here of a namespace (32 bytes) that was forgotten. Done again, it goes on. @throws STORAGE_FAILED */
export async function removeForgotten(env: LocalEnvironment, id: Uint8Array): Promise<void> {
  await env.removeBlocks(folderOf(id, false))
  await removeRows(env.store, id)
}

/**
 * Removes what is left of a namespace (32 bytes) that was forgotten and could not be removed then: before anything of it is stored anew, which would go with that.
 * @throws STORAGE_FAILED
 */
export async function finishRemoval(env: LocalEnvironment, id: Uint8Array): Promise<void> {
  if (await isRemovalOwed(env.store, id)) await removeForgotten(env, id)
}
