import type { CallOptions } from './client.ts'

/** What an agent is in a group. Admins add and remove members; only the owner makes and unmakes admins. */
export type GroupRole = 'owner' | 'admin' | 'member'

/** A named set of agents whose common key rotates when somebody is removed: what is shared with it, all of them can read. */
export interface Group {
  /** `grp_…` */
  readonly id: string
  /** Local to this node; at first what its owner calls it. */
  readonly name: string
  readonly owner: string
  /** This agent's. */
  readonly role: GroupRole
  readonly members: number
  readonly createdAt: Date
}

/** One agent in a group. */
export interface GroupMember {
  readonly did: string
  readonly role: GroupRole
  /** Its contact's name, if it has one here. */
  readonly name: string | undefined
  readonly since: Date
  /** Whether there is a connection to it now. */
  readonly connected: boolean
}

/** Names a group of this agent's, by name or id. */
export interface GroupRef extends CallOptions {
  readonly group: string
}

/**
 * Groups that this agent is in. Others' groups it can name as contacts: `agent.add` takes a group's ticket. One that it was removed from is listed no more, and calls
 * that name it are ACCESS_DENIED, with who removed it and when; `status` lists it until `leave`, or `gc` after the grace period.
 */
export interface GroupApi {
  /** This agent owns it. @throws ALREADY_EXISTS when this node has a group of that name */
  create(options: CallOptions & { readonly name: string }): Promise<Group>
  /** @throws NOT_FOUND, ACCESS_DENIED once this agent was removed */
  get(options: GroupRef): Promise<Group>
  list(options?: CallOptions): Promise<readonly Group[]>
  /**
   * Adds agents, all at once: contacts' names, DIDs or tickets. Being added is enough for those to whom this agent is a contact; others find
   * it in their inbox, or join by the ticket. Who is in it already gets the role; with `member`, an admin is one no more.
   *
   * @returns what they are now, in the order given
   * @throws ACCESS_DENIED unless this agent ranks above the role, TOO_LARGE over 10,000 agents
   */
  add(
    options: GroupRef & { readonly agents: readonly string[]; readonly role?: 'admin' | 'member' | undefined },
  ): Promise<readonly GroupMember[]>
  /**
   * Removes agents, all at once, and begins an epoch of which they are told nothing. Whoever serves what is shared with the group refuses them as soon as it
   * hears of that: at once where it is connected to somebody of the group, else when it next asks. What they have fetched cannot be unread.
   *
   * @throws NOT_FOUND for one that is not in it, and then nobody is removed; ACCESS_DENIED
   */
  remove(options: GroupRef & { readonly agents: readonly string[] }): Promise<void>
  members(options: GroupRef): Promise<readonly GroupMember[]>
  /** One copyable string: the group's id and where its members may be dialled. Whoever has it can share with the group, and learns its admins. */
  ticket(options: GroupRef): Promise<string>
  /**
   * Joins a group that this agent was added to.
   * @param options.name local name; by default what the ticket proposes
   * @param options.wait wait to be added instead of failing, until the signal fires
   * @throws ACCESS_DENIED, UNAVAILABLE when nobody of the ticket can be reached, ALREADY_EXISTS
   */
  join(
    options: CallOptions & {
      readonly ticket: string
      readonly name?: string | undefined
      readonly wait?: boolean | undefined
    },
  ): Promise<Group>
  /**
   * Forgets the group on this node, with what was shared by way of it; namespaces that this agent has by way of it alone are out of reach from then on. Being
   * added again does not bring it back, joining does. An admin has still to remove this agent for the others' keys to change.
   */
  leave(options: GroupRef): Promise<void>
}
