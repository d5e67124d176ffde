import type { NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { bytesText } from '../encoding/index.ts'
import type { Namespace } from './index.ts'

/** A log of one artifact, which is followed by a share. */
export interface FollowerLog {
  readonly ns: Namespace
  readonly wanted: Uint8Array
  readonly jti: Uint8Array
}

/** Has a member tell all that is lacking, as a round does. */
export async function tell({ ns, wanted, jti }: FollowerLog, from: NamespaceNode): Promise<void> {
  for await (const { bytes } of from.ns.authEntries()) await ns.receive([bytes], { from: from.id })
  const held = new Set<string>()
  for await (const { hash } of ns.artifactEntries(wanted, { share: jti })) held.add(bytesText(hash))
  for await (const hash of ns.incomplete()) held.delete(bytesText(hash))
  for await (const { bytes, hash } of from.ns.artifactEntries(wanted, { share: jti }))
    if (!held.has(bytesText(hash))) await ns.receive([bytes], { from: from.id })
}
