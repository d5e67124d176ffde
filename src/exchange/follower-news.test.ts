import { expect, it } from 'vitest'
import type { NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { encodePresentation } from '../capability/index.ts'
import { World } from './capability-world.test-helper.ts'
import { Replicator } from './replicator.ts'

/** Lets everything run that needs no time to pass, until something holds; gives whether it does. */
async function settles(holds: () => Promise<boolean>): Promise<boolean> {
  for (let turn = 0; turn < 4_000; turn++) {
    if (await holds()) return true
    await new Promise<void>((resolve) => setImmediate(resolve))
  }
  return false
}

it('who follows an artifact is told of what is written while connected at once, and of nothing once it is taken back', async () => {
  const world = await World.make()
  const { owner, outside, scheduler } = world
  const artifact = await owner.write('one', 'report')
  const { claims, token } = await world.share(artifact)
  const log = await world.partial(outside, artifact)
  await log.holdCapabilities([{ artifact, jti: claims.jti, groups: [] }])
  const start = (node: NamespaceNode) =>
    new Replicator({ network: world.peerOf(node), scheduler, random: () => 0.5, self: node.id })
  await using serving = start(owner)
  await using asking = start(outside)
  serving.follow(owner.ns)
  const following = {
    capability: { claims, token },
    scope: { kind: 'artifact' as const, artifact },
    present: () => encodePresentation(token, undefined),
    name: 'the report',
  }
  asking.followPartial(log, [following], [{ agent: owner.id, addresses: [] }])
  expect(await scheduler.until(asking.syncNow(log.id))).toBe(1)
  const newest = async () => (await log.catalog.get(artifact))?.number
  expect(await newest()).toBe(1)

  // No time passes, so nothing is asked for: it is told.
  await owner.update(artifact, 'two', 'report')
  expect(await settles(async () => (await newest()) === 2)).toBe(true)
  await owner.ns.unshare({ artifact, audience: [{ kind: 'agent', id: outside.id }] })
  expect(await settles(async () => log.membership.refusalOf(claims) === 'REVOKED')).toBe(true)
  await owner.update(artifact, 'three', 'report')
  expect(await settles(async () => (await newest()) === 3)).toBe(false)
})
