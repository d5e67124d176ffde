import { expect, it } from 'vitest'
import { ManualScheduler } from '../../test/support/memory-network.ts'
import type { NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { shareClaims } from '../capability/capability.test-helper.ts'
import { encodePresentation } from '../capability/index.ts'
import { artifactIdOf, toHex } from '../encoding/index.ts'
import { maxFollowedScopes } from '../limits.ts'
import { decodeEntry } from '../log/index.ts'
import { World } from './capability-world.test-helper.ts'
import { FollowerNews } from './follower-news.ts'
import { agentOf, MemoryLog } from './memory-log.test-helper.ts'
import { Replicator } from './replicator.ts'
import type { ReplicatedLog } from './sync-log.ts'

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
  await owner.ns.sharing.unshare({ artifact, audience: [{ kind: 'agent', id: outside.id }] })
  expect(await settles(async () => log.membership.refusalOf(claims) === 'REVOKED')).toBe(true)
  await owner.update(artifact, 'three', 'report')
  expect(await settles(async () => (await newest()) === 3)).toBe(false)
})

it('who follows more of a namespace than is kept count of is told of what it asked for last', async () => {
  const [owner, follower] = [agentOf(0), agentOf(1)]
  const log = MemoryLog.create(owner)
  const told: string[] = []
  const open: ReplicatedLog = Object.assign(log, { allows: () => ({ allowed: true as const }) })
  const news = new FollowerNews(open, {
    scheduler: new ManualScheduler(),
    self: owner.publicKey,
    push: (_agent, _log, entries) => void told.push(...entries.map((bytes) => toHex(decodeEntry(bytes).hash))),
  })
  const salts = Array.from({ length: maxFollowedScopes + 1 }, (_, at) => {
    const salt = new Uint8Array(16)
    new DataView(salt.buffer).setUint32(0, at)
    return salt
  })
  const follow = (salt: Uint8Array) => {
    const artifact = artifactIdOf(log.id, salt)
    const claims = { ...shareClaims, namespace: log.id, artifact, jti: salt }
    const presentation = { capability: { claims, token: new Uint8Array(0) }, proof: undefined }
    news.add(follower.publicKey, { scope: { kind: 'artifact', artifact }, presentation })
  }
  const [first, second, ...others] = salts as [Uint8Array, Uint8Array, ...Uint8Array[]]
  const write = async (salt: Uint8Array) => {
    const hash = log.put(60, salt)
    news.tell({
      written: [],
      received: 1,
      authChanged: false,
      entries: [decodeEntry((await log.bytes(hash)) as Uint8Array)],
    })
    return toHex(hash)
  }
  for (const salt of [first, second, ...others.slice(0, -1)]) follow(salt)
  // Asked for again: the second is the oldest now.
  follow(first)
  const heard = [await write(first), await write(second)]
  expect(told).toEqual(heard)
  follow(others.at(-1) as Uint8Array)
  await write(second)
  heard.push(await write(first), await write(others.at(-1) as Uint8Array))
  expect(told).toEqual(heard)
})
