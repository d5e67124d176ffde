import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import { askDescriptor, type QuestionServer, serveGroups } from '../../src/exchange/index.ts'
import type { ShownDescriptor } from '../../src/namespace/index.ts'
import type { Run } from './run.ts'

/** How often a node of the namespace asks somebody about the group, milliseconds. */
const askMs = { from: 4_000, to: 10_000 }

/** Takes descriptors of the group from its members to those of the namespace, by the core's own protocol. */
export class GroupNews {
  readonly #run: Run
  readonly #server: QuestionServer
  readonly #ending = new AbortController()
  #stopTimer = (): void => {}

  constructor(run: Run) {
    this.#run = run
    this.#server = serveGroups({
      network: run.endpoint,
      scheduler: run.scheduler,
      shown: async () => await this.#own(),
      told: async () => {},
    })
  }

  begin(): void {
    if (this.#run.machine.world.hasShares) this.#every()
  }

  async close(): Promise<void> {
    this.#stopTimer()
    this.#ending.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    await this.#server.close()
  }

  /** Writes into the namespace what this node knows of the group. */
  record(): void {
    void this.#guard(async () => {
      const shown = await this.#own()
      if (shown !== undefined) await this.#take(shown)
    })
  }

  /** As who is about to share with the group does: records what it is, as far as somebody says. @throws as `KnownDescriptors.record`, UNAVAILABLE */
  async prepare(): Promise<void> {
    const shown = (await this.#own()) ?? (await this.#ask())
    if (shown !== undefined) await this.#run.ns?.descriptors.record(shown)
  }

  /** Asks somebody who is connected. */
  async #ask(): Promise<ShownDescriptor | undefined> {
    const { machine, endpoint: network, scheduler } = this.#run
    const agent = machine.chance.pick(network.connected())
    if (agent === undefined || machine.world.group === undefined) return undefined
    return await askDescriptor({ network, scheduler, signal: this.#ending.signal }, agent, machine.world.group)
  }

  /** Of a group that is nothing here nothing is written. */
  async #take(shown: ShownDescriptor): Promise<void> {
    const { ns } = this.#run
    if (ns?.membership.groups.recorded.length === 0) return
    await ns?.descriptors.record(shown)
  }

  /** Who was removed tells of no later epoch. */
  async #own(): Promise<ShownDescriptor | undefined> {
    const { group, machine } = this.#run
    return group?.roleOf(machine.id) === undefined ? undefined : await group.descriptors.own()
  }

  #every(): void {
    const { scheduler, machine } = this.#run
    this.#stopTimer = scheduler.setTimer(machine.chance.between(askMs.from, askMs.to), () => {
      this.record()
      void this.#guard(async () => {
        const shown = await this.#ask()
        if (shown !== undefined) await this.#take(shown)
      })
      this.#every()
    })
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    const { power, machine } = this.#run
    try {
      await work()
    } catch (error) {
      const isToBe = isHubError(error) && ['UNAVAILABLE', 'CLOSED', 'ACCESS_DENIED'].includes(error.code)
      if (power.on && !isToBe) machine.world.failures.push(error)
    }
  }
}
