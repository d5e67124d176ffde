import { expect, it } from 'vitest'
import { encodePresentation } from '../capability/index.ts'
import { maxDenialsExplained } from '../limits.ts'
import { World } from './capability-world.test-helper.ts'
import { Replicator } from './replicator.ts'
import { nextTurn } from './transfer.test-helper.ts'

it('of what another denies without saying why, only so much is asked about once more', async () => {
  const world = await World.make()
  const { owner, outside, scheduler } = world
  const capabilities = []
  for (let at = 0; at < maxDenialsExplained + 4; at++)
    capabilities.push(await world.share(await owner.write(`content ${at}`, `name ${at}`)))
  const log = await world.partial(outside, ...capabilities.map(({ claims }) => claims.artifact))
  await log.holdCapabilities(capabilities.map(({ claims: { artifact, jti } }) => ({ artifact, jti, groups: [] })))
  owner.ns.allows = () => ({ allowed: false, reason: 'EXPIRED' })
  const evidenceAgainst = owner.ns.held.evidenceAgainst.bind(owner.ns.held)
  let explained = 0
  owner.ns.held.evidenceAgainst = (claims) => {
    explained++
    return evidenceAgainst(claims)
  }
  await using serving = new Replicator({
    network: world.peerOf(owner),
    scheduler,
    random: () => 0.5,
    self: owner.id,
  })
  await using asking = new Replicator({
    network: world.peerOf(outside),
    scheduler,
    random: () => 0.5,
    self: outside.id,
  })
  serving.follow(owner.ns)
  const following = capabilities.map(({ claims, token }, at) => ({
    capability: { claims, token },
    scope: { kind: 'artifact' as const, artifact: claims.artifact },
    present: () => encodePresentation(token, undefined),
    name: `share ${at}`,
  }))
  asking.followPartial(log, following, [{ agent: owner.id, addresses: [] }])
  const isDenied = async (): Promise<void> => {
    while (asking.status(log.id)?.peers[0]?.outcome !== 'denied') await nextTurn()
  }
  await scheduler.until(isDenied())
  expect(explained).toBe(maxDenialsExplained)
})

it('followed no more, waits for what it is storing that somebody asked for', async () => {
  const world = await World.make()
  const { owner, outside, scheduler } = world
  const capability = await world.share(await owner.write('content', 'name'))
  const { claims, token } = capability
  const log = await world.partial(outside, claims.artifact)
  await log.holdCapabilities([{ artifact: claims.artifact, jti: claims.jti, groups: [] }])
  const common = { scheduler, random: () => 0.5 }
  await using serving = new Replicator({ ...common, network: world.peerOf(owner), self: owner.id })
  await using asking = new Replicator({ ...common, network: world.peerOf(outside), self: outside.id })
  serving.follow(owner.ns)
  const [begun, stored] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const receive = log.receive.bind(log)
  log.receive = async (entries, options) => {
    begun.resolve()
    await stored.promise
    return await receive(entries, options)
  }
  const scope = { kind: 'artifact' as const, artifact: claims.artifact }
  const present = () => encodePresentation(token, undefined)
  asking.followPartial(log, [{ capability, scope, present, name: 'share' }], [{ agent: owner.id, addresses: [] }])
  const syncing = asking.syncNow(log.id).catch((error: Error) => error.name)
  await scheduler.until(begun.promise)
  const ends: string[] = []
  const ending = asking.unfollow(log.id).then(() => ends.push('unfollowed'))
  for (let turns = 0; turns < 20; turns++) await nextTurn()
  ends.push('stored')
  stored.resolve()
  await ending
  expect(ends).toEqual(['stored', 'unfollowed'])
  expect(await syncing).toBe('AbortError')
})
