import type { ContentRef } from '../content/index.ts'

/** What a namespace knows of those who ask for it. */
export interface ReadableNamespace {
  /** The role that counts for an agent (32 bytes) now; `undefined` for a stranger and a former member. */
  roleOf(agent: Uint8Array): string | undefined
}

/** What a namespace knows of its contents. */
export interface NamespaceRoots extends ReadableNamespace {
  /** The content that `digest` is the root of, if a version of that artifact (20 bytes) in this namespace names it. */
  rootOf(artifact: Uint8Array, digest: Uint8Array): Promise<ContentRef | undefined> | ContentRef | undefined
}

/** Whether an agent may read a namespace. Whatever serves anything of a namespace asks this, and nothing else decides it. */
export function mayRead(namespace: ReadableNamespace | undefined, agent: Uint8Array): boolean {
  return namespace?.roleOf(agent) !== undefined
}

/**
 * The content that an agent may read by its root; `undefined` when it may not, and just so when there is no such namespace,
 * artifact or root: whoever asks is not told which.
 */
export async function readableRoot(
  namespace: NamespaceRoots | undefined,
  agent: Uint8Array,
  artifact: Uint8Array,
  digest: Uint8Array,
): Promise<ContentRef | undefined> {
  return mayRead(namespace, agent) ? await namespace?.rootOf(artifact, digest) : undefined
}
