import type { ArtifactState, Operation } from '../catalog/index.ts'
import type { Entry } from '../log/index.ts'

/**
 * What an entry of the log says to the catalog; `undefined` for an entry that says nothing to it.
 *
 * @param state what its body says; `undefined` in other entries than puts, and when it cannot be read here
 */
export function operationOf(
  artifact: Uint8Array,
  entry: Entry,
  state: ArtifactState | undefined,
): Operation | undefined {
  const { data, kind, author, clock } = entry.header
  if (data === undefined) return undefined
  const shared = { artifact, entry: entry.hash, author, clock, parents: data.parents }
  if (kind === 'delete') return { kind, ...shared }
  if (kind === 'drop') return { kind, ...shared, versions: data.versions }
  if (data.root === undefined) return undefined
  return { kind: 'put', ...shared, gen: data.gen, root: data.root, state }
}

/** Whether the body or the inline leaf that a header names is not there. */
export function isStripped({ header, body, leaf }: Entry): boolean {
  return (
    (header.bodyHash !== undefined && body === undefined) || (header.data?.root?.inline === true && leaf === undefined)
  )
}
