import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'

export type CopiedMember = Awaited<ReturnType<typeof copiedMember>>

/**
 * A member, `one`, runs on a second machine with a copy of its store, and both have written since: nobody has heard of the fork yet. Once they have, what
 * `one` writes beside the copy counts for nothing.
 *
 * @param before what else is done before the store is copied
 */
export async function copiedMember({
  role = 'writer',
  before,
}: {
  role?: 'admin' | 'writer'
  before?: (team: Record<'owner' | 'one' | 'admin' | 'writer' | 'bob', NamespaceNode>, artifact: Uint8Array) => unknown
} = {}) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const join = async (seed: number) => await new NamespaceNode(seed, time).join(owner)
  const [one, admin, writer, bob] = [await join(2), await join(3), await join(4), await join(5)]
  await owner.ns.members.grant({ agent: one.id, role })
  await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  const artifact = await owner.write('one', 'report')
  const all = [owner, one, admin, writer, bob]
  await converge(...all)
  await before?.({ owner, one, admin, writer, bob }, artifact)
  await one.write('before')
  await converge(...all)
  const copy = await new NamespaceNode(2, time, { copyOf: one }).open(owner.ns.id)
  await one.write('beside what the copy writes')
  for (const text of ['on the other branch', 'there too', 'and there']) await copy.write(text)
  return { time, join, owner, one, copy, admin, writer, bob, artifact, members: [owner, one, copy, admin, writer] }
}
