import { expect } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { bytesText } from '../encoding/index.ts'
import { FollowedArtifacts, Namespace } from './index.ts'

/** A log of one artifact, which is followed by a share. */
export interface FollowerLog {
  readonly ns: Namespace
  readonly wanted: Uint8Array
  readonly jti: Uint8Array
}

/** An owner who wrote an artifact, and a writer who has heard of it. */
export async function ownerAndWriter() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  const wanted = await owner.write('wanted')
  await converge(owner, writer)
  return { time, owner, writer, wanted }
}

/** Shares an artifact with an agent; gives the name of the share. */
export async function shareWith({ ns }: NamespaceNode, artifact: Uint8Array, id: Uint8Array): Promise<Uint8Array> {
  const [share] = await ns.sharing.share({ artifact, audience: [{ kind: 'agent', id }] })
  return share?.claims.jti ?? expect.fail('there is a share')
}

/** Begins a log of one artifact, which was shared by the capability of that name. */
export async function follow({ env }: NamespaceNode, from: NamespaceNode, { wanted, jti }: Omit<FollowerLog, 'ns'>) {
  const partial = new FollowedArtifacts()
  partial.set(wanted, 0)
  const genesis = (await from.ns.held.bytes(from.ns.id)) as Uint8Array
  const ns = await Namespace.join(env, from.ns.id, genesis, () => [], partial)
  await ns.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
  return { ns, partial }
}

/** Has a member tell all that is lacking, as a round does. */
export async function tell({ ns, wanted, jti }: FollowerLog, from: NamespaceNode): Promise<void> {
  for await (const { bytes } of from.ns.held.authEntries()) await ns.receive([bytes], { from: from.id })
  const held = new Set<string>()
  for await (const { hash } of ns.held.artifactEntries(wanted, { share: jti })) held.add(bytesText(hash))
  for await (const hash of ns.held.incomplete()) held.delete(bytesText(hash))
  for await (const { bytes, hash } of from.ns.held.artifactEntries(wanted, { share: jti }))
    if (!held.has(bytesText(hash))) await ns.receive([bytes], { from: from.id })
}
