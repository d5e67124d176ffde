import { expect } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { forge } from '../../test/support/sharing-nodes.ts'
import { artifactIdOf } from '../encoding/index.ts'
import { maxBoxesInEntry } from '../limits.ts'
import type { KeySection, KeyWrap } from '../log/index.ts'
import { artifactData } from './artifact-writes.ts'

/** A writer went by an epoch of an admin who had been removed; another writer or admin wishes the others to stay without it. */
export async function misled() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const join = async (seed: number) => await new NamespaceNode(seed, time).join(owner)
  const [removed, writer, hostile, admin] = [await join(10), await join(11), await join(12), await join(13)]
  for (const [{ id }, role] of [
    [removed, 'admin'],
    [admin, 'admin'],
    [writer, 'writer'],
    [hostile, 'writer'],
  ] as const)
    await owner.ns.members.grant({ agent: id, role })
  const members = [owner, writer, hostile, admin]
  await converge(...members, removed)
  await owner.ns.members.revoke({ agent: removed.id })
  await removed.ns.members.rotate()
  await writer.pull(removed)
  const [{ id: epoch } = expect.fail('it began one')] = removed.ns.membership.epochs
  const artifact = await writer.write('one')
  await writer.pull(owner)
  await converge(...members)
  return { time, owner, removed, writer, hostile, admin, members, join, epoch, artifact }
}

/** A wrap that does not open. */
export const rubbish = (id: Uint8Array, under: Uint8Array): KeyWrap => ({ keyId: id, under, box: new Uint8Array(48) })
/** Keys without boxes. */
export const onlyWraps = (wraps: readonly KeyWrap[]): KeySection => ({ wraps, ephemeral: undefined, boxes: [] })

/** A keys entry of an artifact, the next of that agent's chain. */
export function keysOf(
  node: NamespaceNode,
  artifactSalt: Uint8Array,
  keys: KeySection,
  heads: Uint8Array[] = [],
): Uint8Array {
  const keyId = keys.wraps[0]?.keyId ?? keys.boxes[0]?.keyId
  const draft = { kind: 'keys' as const, keyId, data: artifactData({ artifactSalt }), heads }
  return forge(node, draft, () => ({ keys }))
}

/** Keys of a new artifact, as many as an entry has room for, sealed to somebody by name. */
export function manyByName(node: NamespaceNode, to: NamespaceNode) {
  const salt = node.env.random(16)
  const artifact = artifactIdOf(node.ns.id, salt)
  const keys = Array.from({ length: maxBoxesInEntry }, () => node.ns.artifactKeys.fresh(artifact))
  const items = keys.map((key) => ({ key, recipient: to.id }))
  return { artifact, keys, entry: keysOf(node, salt, node.ns.keyring.sealKeys(artifact, items, node.env.random(32))) }
}

/** Has each store an entry that none holds. */
export async function give(nodes: Iterable<NamespaceNode>, entry: Uint8Array): Promise<void> {
  for (const { ns } of nodes) expect((await ns.receive([entry])).stored).toBe(1)
}

/** Has each store so many of such entries. */
export async function giveMany(
  nodes: readonly NamespaceNode[],
  make: () => ReturnType<typeof manyByName>,
  count: number,
): Promise<ReturnType<typeof manyByName>[]> {
  const made: ReturnType<typeof manyByName>[] = []
  for (let at = 0; at < count; at++) {
    const one = make()
    await give(nodes, one.entry)
    made.push(one)
  }
  return made
}

/** All of these keys are open to somebody. */
export async function expectOpened({ ns }: NamespaceNode, sealed: readonly ReturnType<typeof manyByName>[]) {
  for (const { artifact, keys } of sealed)
    for (const { id } of keys) expect((await ns.artifactKeys.open(artifact, id)).id).toEqual(id)
}

/** How many entries all wrote of what is owed, until nobody had any. */
export async function healAll(members: readonly NamespaceNode[]): Promise<number> {
  let written = 0
  for (let round = 0; round < 4; round++) {
    let some = 0
    for (const { ns } of members) some += await ns.healer.run()
    await converge(...members)
    written += some
    if (some === 0) return written
  }
  return expect.fail('there is always more to be written')
}
