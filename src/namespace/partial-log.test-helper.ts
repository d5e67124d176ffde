import type { NamespaceNode } from '../../test/support/namespace-nodes.ts'
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
  for await (const { bytes } of from.ns.artifactEntries(wanted, { share: jti }))
    await ns.receive([bytes], { from: from.id })
}
