import {
  type Capability,
  encodePresentation,
  proveGroupMember,
  type ShareClaims,
  timeOf,
} from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { fetchGenesis } from '../../src/exchange/index.ts'
import { clockSkewMs } from '../../src/limits.ts'
import { FollowedArtifacts, forgetPartial, Namespace, putPartial, removeRows } from '../../src/namespace/index.ts'
import { bytesOf } from './ledger.ts'
import type { Run } from './run.ts'

/** How often a node looks what of its shares has expired, and asks again for the beginning of a namespace, milliseconds. */
const lookMs = 10_000

/**
 * What a node has of a namespace that its agent is no member of: the artifacts that were shared with it, by the core's own partial log. Does as
 * the SDK does (`sdk/local/replication/follows.ts`), with mail in the place of the inbox.
 */
export class Follower {
  readonly #run: Run
  #turn: Promise<void> = Promise.resolve()
  #isAsking = false
  #isGivingWay = false
  #isLooking = false
  /** Jtis (hex) of what the log that was let go of said to be over: nobody is asked by these before long. */
  readonly #over = new Set<string>()
  #stopTimer = (): void => {}
  log: Namespace | undefined

  constructor(run: Run) {
    this.#run = run
    if (run.machine.world.hasShares) this.#every()
  }

  /** Opens what is on the disk. */
  async open(): Promise<void> {
    const { env, machine } = this.#run
    this.#use(await Namespace.open(env, machine.world.id as Uint8Array, new FollowedArtifacts()))
  }

  /** Follows what this agent may, soon: what it knows of that has changed. */
  look(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    void this.#next(async () => {
      this.#isLooking = false
      await this.#look()
    })
  }

  /** Lets go of what is here, for the log of a member takes its place; until `goOn`. */
  async giveWay(): Promise<void> {
    this.#isGivingWay = true
    await this.#next(() => this.#drop())
  }

  /** Drops the log of a member. */
  async letGo(): Promise<void> {
    await this.#next(() => this.#run.leave())
  }

  goOn(): void {
    this.#isGivingWay = false
    this.look()
  }

  async close(): Promise<void> {
    this.#isGivingWay = true
    this.#stopTimer()
    await this.#next(async () => await this.log?.close())
  }

  /** Capabilities that let this agent read, as far as its node knows. */
  live(): Capability<ShareClaims>[] {
    const { machine } = this.#run
    return [...machine.mail.values()].map(({ capability }) => capability).filter(({ claims }) => this.#isGood(claims))
  }

  /** Whether it had a log that said so of what is live without one: by who goes on giving what has ended it is told again and again. */
  wasToldOver({ jti }: ShareClaims): boolean {
    return this.#over.has(toHex(jti))
  }

  #isGood(claims: ShareClaims): boolean {
    const { machine, ns, group } = this.#run
    if (machine.isStubborn) return claims.audience.some(({ kind }) => kind === 'agent') || group !== undefined
    if (timeOf(claims, machine.now(), clockSkewMs) === 'expired') return false
    const log = this.log ?? ns
    if (!claims.audience.some(({ kind }) => kind === 'agent') && !this.#isInGroup(log)) return false
    const refusal = log?.membership.refusalOf(claims)
    return refusal === undefined || (refusal === 'ISSUER_REMOVED' && log?.isIssued(claims) !== true)
  }

  /** With the key of its newest epoch, and of the one that the namespace knows of. */
  #isInGroup(log: Namespace | undefined): boolean {
    const { machine, group } = this.#run
    const epoch = group?.membership.groups.epoch?.epoch
    if (group === undefined || epoch === undefined || group.roleOf(machine.id) === undefined) return false
    const known = log?.descriptors.newest(group.id)?.epoch ?? epoch
    return group.keyring.groupKey(epoch) !== undefined && group.keyring.groupKey(known) !== undefined
  }

  async #look(): Promise<void> {
    const { machine, ns, replicator } = this.#run
    if (this.#isGivingWay || machine.world.id === undefined) return
    const live = this.live()
    // A member has all of it; whoever is none any more has no use for what it had.
    if (ns !== undefined && (ns.roleOf(machine.id) !== undefined || live.length === 0)) return
    await this.#run.leave()
    const { log } = this
    if (live.length === 0) {
      // As a node that remembers what has ended: whoever has not heard of it yet would give it all again, and again.
      if (log !== undefined) for (const name of machine.mail.keys()) this.#over.add(name)
      return await this.#drop()
    }
    if (log === undefined) return void this.#ask(live.filter(({ claims: { jti } }) => !this.#over.has(toHex(jti))))
    for (const { claims } of live) {
      const same = live.filter((one) => equalBytes(one.claims.artifact, claims.artifact))
      log.partial?.set(claims.artifact, Math.min(...same.map((one) => one.claims.after)))
    }
    await log.holdCapabilities(
      live.map(({ claims: { artifact, jti, audience } }) => ({
        artifact,
        jti,
        groups: audience.filter(({ kind }) => kind === 'group').map(({ id }) => id),
      })),
    )
    const { group } = this.#run
    for (const { id: epoch } of group?.membership.epochs ?? []) {
      const key = group?.keyring.groupKey(epoch)
      if (group !== undefined && key !== undefined) await log.holdGroupKeys(group.id, [{ epoch, key }])
    }
    const shows = toHex(group?.membership.groups.epoch?.epoch ?? new Uint8Array(0))
    replicator.followPartial(
      log,
      live.map((capability) => ({
        capability,
        scope: { kind: 'artifact' as const, artifact: capability.claims.artifact },
        present: (provider) => this.#present(capability, provider),
        name: `${toHex(capability.claims.jti)} ${shows}`,
      })),
      this.#peersOf(live).map((agent) => ({ agent, addresses: [] })),
    )
  }

  #peersOf(live: readonly Capability<ShareClaims>[]): Uint8Array[] {
    const { mail, id } = this.#run.machine
    const names = new Set(live.flatMap(({ claims }) => [...(mail.get(toHex(claims.jti))?.from ?? [])]))
    return [...names].map(bytesOf).filter((agent) => !equalBytes(agent, id))
  }

  #present({ token, claims }: Capability<ShareClaims>, provider: Uint8Array): Uint8Array | undefined {
    if (claims.audience.some(({ kind }) => kind === 'agent')) return encodePresentation(token, undefined)
    const { group, machine } = this.#run
    const epoch = group?.membership.groups.epoch?.epoch
    const key = epoch && group?.keyring.groupKey(epoch)
    if (group === undefined || epoch === undefined || key === undefined) return undefined
    const context = { group: group.id, epoch, requester: machine.id, provider }
    return encodePresentation(token, proveGroupMember(key, context))
  }

  /** Asks for the beginning of the namespace. */
  async #ask(live: readonly Capability<ShareClaims>[]): Promise<void> {
    if (this.#isAsking) return
    this.#isAsking = true
    const { endpoint: network, scheduler, machine, env, power } = this.#run
    const namespace = machine.world.id as Uint8Array
    let genesis: Uint8Array | undefined
    for (const capability of live) {
      for (const agent of this.#peersOf([capability])) {
        const presentation = this.#present(capability, agent)
        if (presentation === undefined || genesis !== undefined) continue
        try {
          const { claims } = capability
          const about = { namespace, scope: { kind: 'auth' as const }, presentation, claims }
          genesis = await fetchGenesis({ network, scheduler, agent, ...about })
        } catch (error) {
          if (!isHubError(error)) machine.world.failures.push(error)
          // Unknown in the log that it does not have yet.
          if (isHubError(error, 'REVOKED') && !machine.isStubborn) machine.mail.delete(toHex(capability.claims.jti))
        }
      }
    }
    this.#isAsking = false
    if (genesis === undefined || !power.on) return
    const beginning = genesis
    await this.#next(async () => {
      if (this.log !== undefined || this.#run.ns !== undefined || this.#isGivingWay) return
      const extra = (id: Uint8Array) => [putPartial(id)]
      this.#use(await Namespace.join(env, namespace, beginning, extra, new FollowedArtifacts()))
      this.look()
    })
  }

  #use(log: Namespace): void {
    this.log = log
    log.subscribe(({ authChanged }) => {
      if (authChanged) this.look()
    })
  }

  async #drop(): Promise<void> {
    const { log } = this
    if (log === undefined) return
    const { replicator, env } = this.#run
    this.log = undefined
    await replicator.unfollow(log.id)
    await log.close()
    await env.store.batch(forgetPartial(log.id), { sync: true })
    await removeRows(env.store, log.id)
  }

  #every(): void {
    this.#stopTimer = this.#run.scheduler.setTimer(lookMs, () => {
      this.#over.clear()
      this.look()
      this.#every()
    })
  }

  async #next(work: () => Promise<void>): Promise<void> {
    const { power, machine } = this.#run
    this.#turn = this.#turn.then(work).catch((error) => {
      if (power.on) machine.world.failures.push(error)
    })
    await this.#turn
  }
}
