import { artifactIdOf, equalBytes } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { WrappedBody } from '../sharing/index.ts'
import type { NamespaceParts } from './parts.ts'

/** What bodies of entries say, opened ahead of their turn. */
export type OpenedBodies = ReadonlyMap<Entry, Uint8Array>

const none: OpenedBodies = new Map()

/**
 * Opens beside this thread, where there is another, the bodies of puts that bring their key wrapped under an epoch that is held: of a log that is received,
 * nearly all. What is not among what this gives is opened when its turn comes.
 *
 * @param signed whose signature is the author's
 */
export async function openBodiesBeside(
  { env, keyring, id }: NamespaceParts,
  signed: readonly Entry[],
): Promise<OpenedBodies> {
  if (env.openBodies === undefined) return none
  const entries: Entry[] = []
  const bodies: WrappedBody[] = []
  for (const entry of signed) {
    const { header, body, keys } = entry
    const { data, keyId, grant, author, incarnation, seq } = header
    if (data?.root === undefined || keyId === undefined || grant === undefined || body === undefined) continue
    const wrap = keys?.wraps.find((one) => equalBytes(one.keyId, keyId))
    const epoch = wrap && keyring.epoch(wrap.under)
    if (wrap === undefined || epoch === undefined) continue
    const place = { namespace: id, author, grant, incarnation, seq }
    entries.push(entry)
    bodies.push({ epoch: epoch.secret, artifact: artifactIdOf(id, data.artifactSalt), wrap, place, body })
  }
  const opened = (await env.openBodies(bodies)) ?? []
  return new Map(entries.flatMap((entry, at) => (opened[at] === undefined ? [] : [[entry, opened[at]]])))
}
