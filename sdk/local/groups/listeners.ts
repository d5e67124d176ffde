import { toHex } from '../../../src/encoding/index.ts'
import { maxGroupListeners } from '../../../src/limits.ts'

/** Whom a node tells of the news of each group: agents that asked for its descriptor or that this agent proved itself to. */
export class GroupListeners {
  /** By group, then agent, both in hex: the epoch that the agent was last told of, in hex, or nothing. */
  readonly #told = new Map<string, Map<string, string | undefined>>()

  /** @param epoch that the agent knows of now, if any */
  add(group: Uint8Array, agent: Uint8Array, epoch: Uint8Array | undefined): void {
    const key = toHex(group)
    const agents = this.#told.get(key) ?? new Map<string, string | undefined>()
    this.#told.set(key, agents)
    const name = toHex(agent)
    const told = epoch === undefined ? agents.get(name) : toHex(epoch)
    agents.delete(name)
    agents.set(name, told)
    if (agents.size > maxGroupListeners) agents.delete(agents.keys().next().value as string)
  }

  /** Of these agents the ones that are to be told that the group is in that epoch: they count as told. */
  untold(group: Uint8Array, epoch: Uint8Array, among: readonly Uint8Array[]): Uint8Array[] {
    const agents = this.#told.get(toHex(group))
    const now = toHex(epoch)
    const untold = among.filter((agent) => agents?.has(toHex(agent)) === true && agents.get(toHex(agent)) !== now)
    for (const agent of untold) agents?.set(toHex(agent), now)
    return untold
  }

  /** It was not told after all. */
  forgetTold(group: Uint8Array, agent: Uint8Array): void {
    const agents = this.#told.get(toHex(group))
    if (agents?.has(toHex(agent)) === true) agents.set(toHex(agent), undefined)
  }

  forget(group: Uint8Array): void {
    this.#told.delete(toHex(group))
  }
}
