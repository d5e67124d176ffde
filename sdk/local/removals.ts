import { folderOf, forgetPartial, isPartialRemembered, isRemovalOwed, removeRows } from '../../src/namespace/index.ts'
import type { LocalEnvironment } from './environment.ts'

/** Removes what is here of a namespace (32 bytes) that was forgotten. Done again, it goes on. @throws STORAGE_FAILED */
export async function removeForgotten(env: LocalEnvironment, id: Uint8Array): Promise<void> {
  await env.removeBlocks(folderOf(id, false))
  await removeRows(env.store, id)
}

/**
 * Removes what is left of a namespace (32 bytes) that is open nowhere, and that could not be removed, or not even be forgotten, when it should: before anything of
 * it is stored anew, which would go with that, or be mixed with it.
 * @throws STORAGE_FAILED
 */
export async function finishRemoval(env: LocalEnvironment, id: Uint8Array): Promise<void> {
  const isRemembered = await isPartialRemembered(env.store, id)
  if (isRemembered) await env.store.batch(forgetPartial(id), { sync: true })
  if (isRemembered || (await isRemovalOwed(env.store, id))) await removeForgotten(env, id)
}
