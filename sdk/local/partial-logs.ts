import { equalBytes } from '../../src/encoding/index.ts'
import {
  FollowedArtifacts,
  folderOf,
  forgetPartial,
  loadBeside,
  loadPartials,
  Namespace,
  putBeside,
  putPartial,
  removeBesideRows,
} from '../../src/namespace/index.ts'
import type { LocalEnvironment } from './environment.ts'
import { finishRemoval, removeForgotten } from './removals.ts'

/**
 * Opens the logs of which only single artifacts are here, and finishes removals that were cut off.
 * @param kept namespaces (32 bytes) of which this node has all, though it may be out of reach; `isEnded` when it is
 */
export async function openPartials(
  env: LocalEnvironment,
  kept: readonly { readonly id: Uint8Array; readonly isEnded: boolean }[],
): Promise<Namespace[]> {
  const logs: Namespace[] = []
  const keptOf = (id: Uint8Array) => kept.find((one) => equalBytes(one.id, id))
  for (const id of await loadPartials(env.store)) {
    // Which artifacts: whoever keeps the capabilities says so before anything is received.
    if (keptOf(id) === undefined) logs.push(await Namespace.open(env, id, new FollowedArtifacts()))
  }
  for (const { id, isGone } of await loadBeside(env.store)) {
    // It was taken up again, and what lay beside it was not removed any more.
    if (isGone || keptOf(id)?.isEnded === false) await removeBeside(env, id)
    else logs.push(await Namespace.open(env, id, new FollowedArtifacts({ isBeside: true })))
  }
  return logs
}

/**
 * Makes room for single artifacts of a namespace.
 * @param options.isBeside whether a log of all of it is kept: what one may read of it is another place's matter
 * @throws CORRUPT when that is not its genesis
 */
export async function makePartial(
  env: LocalEnvironment,
  id: Uint8Array,
  genesis: Uint8Array,
  { isBeside }: { readonly isBeside: boolean },
): Promise<Namespace> {
  const remember = () => [isBeside ? putBeside({ id, isGone: false }) : putPartial(id)]
  // What could not be removed before is not taken for this one's.
  const isLeft = isBeside && (await loadBeside(env.store)).some((one) => equalBytes(one.id, id))
  if (isLeft) await removeBeside(env, id)
  if (!isBeside) await finishRemoval(env, id)
  return await Namespace.join(env, id, genesis, remember, new FollowedArtifacts({ isBeside }))
}

/** Forgets a partial log, which is closed, and removes what it had: interrupted, the rest goes at the next start. */
export async function removePartial(env: LocalEnvironment, { id, partial }: Namespace): Promise<void> {
  if (partial?.isBeside === true) return await removeBeside(env, id)
  await env.store.batch(forgetPartial(id), { sync: true })
  await removeForgotten(env, id)
}

async function removeBeside(env: LocalEnvironment, id: Uint8Array): Promise<void> {
  await env.store.batch([putBeside({ id, isGone: true })], { sync: true })
  await env.removeBlocks(folderOf(id, true))
  await removeBesideRows(env.store, id)
}
