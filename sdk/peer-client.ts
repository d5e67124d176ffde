import type { Artifact, ArtifactRef, CallOptions, NamespaceRef } from './client.ts'

/** What an agent may do in a namespace. A replica stores and serves it without its keys. */
export type Role = 'owner' | 'admin' | 'writer' | 'reader' | 'replica'

/** A role that can be granted. */
export type GrantableRole = Exclude<Role, 'owner'>

/** This node's agent. */
export interface AgentSelf {
  readonly did: string
  /** Multiaddrs at which it may be dialled now; none while offline. */
  readonly addresses: readonly string[]
}

/** A local name for an agent. */
export interface AgentContact {
  readonly name: string
  readonly did: string
  /** Multiaddrs that its ticket named; one that ends in `/http` or `/https` is of its gateway. */
  readonly addresses: readonly string[]
  readonly group?: undefined
}

/** A local name for a group, so that this agent can share with it. */
export interface GroupContact {
  readonly name: string
  /** `grp_…` */
  readonly group: string
  readonly did?: undefined
}

/** A local name. */
export type Contact = AgentContact | GroupContact

/** This agent, and those and the groups that it has names for. Wherever an agent is named in a call, a contact's name, a DID or an agent's ticket will do. */
export interface AgentApi {
  self(options?: CallOptions): Promise<AgentSelf>
  /** One copyable string: this agent's DID, the addresses it listens on, and where its gateway is. */
  ticket(options?: CallOptions): Promise<string>
  /**
   * Exactly one of `did` and `ticket`: an agent's, or a group's. Adding it again under its name brings its addresses up to date.
   * @throws ALREADY_EXISTS for a name that is taken by another
   */
  add(
    options: CallOptions & {
      readonly name: string
      readonly did?: string | undefined
      readonly ticket?: string | undefined
    },
  ): Promise<Contact>
  list(options?: CallOptions): Promise<readonly Contact[]>
  /** @throws NOT_FOUND */
  remove(options: CallOptions & { readonly name: string }): Promise<void>
}

/** One agent that a namespace counts as its own. */
export interface Member {
  readonly did: string
  readonly role: Role
  /** Its contact's name, if it has one here. */
  readonly name: string | undefined
  readonly since: Date
  /** Whether there is a connection to it now. */
  readonly connected: boolean
}

/** What a group's members are in a namespace. */
export interface GroupGrant {
  /** `grp_…` */
  readonly group: string
  readonly name: string
  readonly role: GrantableRole
  /** Agents that are in it now. */
  readonly members: number
}

/** How this node gets content that others wrote; local to it. */
export interface FetchPolicy {
  /** `lazy` (the default): when it is asked for. `eager`: as soon as it is known. */
  readonly fetch: 'eager' | 'lazy'
  /** Content larger than this (plaintext bytes) is not fetched eagerly; absent: no bound. */
  readonly maxBytes?: number | undefined
}

/** The membership half of `client.namespace`. `namespace` is a name or an id; the current one when absent. */
export interface MembershipApi {
  /**
   * Gives an agent a role; a connected one is told at once, another when it connects, or from the ticket.
   * @throws ACCESS_DENIED unless this agent ranks above that role
   */
  grant(
    options: CallOptions & {
      readonly namespace?: string | undefined
      readonly agent: string
      readonly role: GrantableRole
    },
  ): Promise<Member>
  /**
   * Gives a group that this agent is in a role: its members have it, those who come later too, while they are in the group, and their nodes join the namespace
   * by themselves. Admins of the namespace who are in the group keep that in step while their nodes run.
   * @throws ACCESS_DENIED unless this agent ranks above that role; NOT_FOUND unless it is in the group; TOO_LARGE for one that may write and a group of more than 256
   */
  grant(
    options: CallOptions & {
      readonly namespace?: string | undefined
      readonly group: string
      readonly role: GrantableRole
    },
  ): Promise<GroupGrant>
  /**
   * Ends an agent's membership: what it wrote so far stays, nothing it writes later counts, and what is written from now on
   * is under keys that it does not get. Its own node, once it hears of that, has the namespace out of reach: ACCESS_DENIED there, until it is let in again. What it
   * has fetched cannot be unread.
   *
   * Of a group, which this agent need not be in: ends what its members are by way of it, not what they are by name.
   * @throws ACCESS_DENIED, NOT_FOUND for an agent that is no member, or a group without a role
   */
  revoke(
    options: CallOptions & { readonly namespace?: string | undefined } & (
        | { readonly agent: string; readonly group?: undefined }
        | { readonly group: string; readonly agent?: undefined }
      ),
  ): Promise<void>
  members(options?: CallOptions & { readonly namespace?: string | undefined }): Promise<readonly Member[]>
  /** One copyable string: the namespace's id and where its members may be dialled. It gives no right to anything. */
  ticket(options?: CallOptions & { readonly namespace?: string | undefined }): Promise<string>
  /**
   * Joins a namespace that granted this agent a role. One that a group brought, or is about to bring, is this node's own from then on; one that this agent was removed
   * from, and has a role in again, is as it was.
   * @param options.name local name; by default what the ticket proposes, or as before
   * @param options.wait wait for a grant instead of failing without one, until the signal fires
   * @throws ACCESS_DENIED without a grant, UNAVAILABLE when nobody of the ticket can be reached, ALREADY_EXISTS
   */
  join(
    options: CallOptions & {
      readonly ticket: string
      readonly name?: string | undefined
      readonly wait?: boolean | undefined
    },
  ): Promise<{ readonly id: string; readonly name: string; readonly role: Role }>
  /** Forgets the namespace on this node, blocks and all, as `delete`; no group brings it back, joining does. It does not end the membership. @throws CONFLICT for the current one */
  leave(options: NamespaceRef): Promise<void>
  /**
   * Lets a branch of a forked chain count again, up to the entry that `head` names (64 hex digits; `status` shows both).
   * @throws ACCESS_DENIED, NOT_FOUND
   */
  adopt(options: CallOptions & { readonly namespace?: string | undefined; readonly head: string }): Promise<void>
  /** Remembered in the data directory. A replica fetches eagerly whatever its policy says; `maxBytes` holds for it too. */
  setPolicy(options: CallOptions & FetchPolicy & { readonly namespace?: string | undefined }): Promise<void>
}

/** How many other nodes a write should have reached before it resolves. */
export interface ReplicaOptions {
  /** Resolve when this many other nodes have confirmed durable copies; default 0. */
  readonly replicas?: number | undefined
  /** Resolve after this long with however many have; default 30,000 ms. */
  readonly replicaTimeoutMs?: number | undefined
}

/** What became of `replicas`. The write itself is durable here in any case. */
export interface ReplicaReport {
  /** How many were asked for. */
  readonly requested: number
  /** DIDs of nodes that confirmed that all of it is on their disk. */
  readonly confirmed: readonly string[]
}

/** A version that was just written. */
export interface WrittenArtifact extends Artifact {
  /** There if `replicas` were asked for. */
  readonly replicas?: ReplicaReport
}

/** Something that happened to an artifact. */
export interface ArtifactEvent {
  /**
   * `shared`: an artifact of a namespace that this agent is no member of can be read here from now on; its other versions follow as `updated`. `unshared`: it cannot
   * be read any more, for `reason`; when one artifact is watched, that is the last event.
   */
  readonly kind: 'created' | 'updated' | 'deleted' | 'shared' | 'unshared'
  readonly namespace: string
  readonly artifactId: string
  /** The version that it is about; absent for `deleted` and `unshared`, and when it is not there any more. */
  readonly artifact: Artifact | undefined
  /** Of `unshared`: `REVOKED`, `EXPIRED`, `ISSUER_REMOVED` (who shared it may not any more), `GROUP_EPOCH` (this agent is in the group no more) or `LEFT` (it left it itself). */
  readonly reason?: string | undefined
  /** Pass it to `watch` to go on after this event, in this or a later process. */
  readonly cursor: string
}

export interface WatchOptions extends CallOptions {
  /** Name or id. Absent: all that this node has, those that it comes to have later too, and what others share with this agent. */
  readonly namespace?: string | undefined
  readonly artifactId?: string | undefined
  /** Go on after the event that had it; absent: from now on. */
  readonly cursor?: string | undefined
}

/** Which known nodes hold a version. */
export interface Holding {
  readonly version: number
  readonly versionId: string
  /** Nodes that answered, this one first. */
  readonly nodes: readonly { readonly did: string; readonly holds: 'all' | 'part' | 'none' }[]
}

/** Where an artifact's content is. */
export interface ArtifactStatus {
  readonly artifactId: string
  readonly versions: readonly Holding[]
  /** Members that could not be asked, or had not answered in time; DIDs. */
  readonly unreachable: readonly string[]
  /** Members whose turn did not come before the time (30 s) was over; DIDs. The connected ones are asked first. */
  readonly notAsked: readonly string[]
}

/** The replication half of `client.artifact`. */
export interface ReplicationApi {
  /**
   * What happens to artifacts, by any member, in the order in which this node learns of it; from the moment of this call on, if
   * no cursor says from where: what `list`, `listShared` or `get` could show before is not told, and all that comes after is. A namespace that is deleted takes its events along. What was shared and is not any more is told as `unshared`, also after a restart for
   * who goes on from a cursor; who watches one artifact is told so at once, and the watch ends.
   * @throws INVALID_ARGUMENT for a cursor that is not one, NOT_FOUND for one that is too old: list, and watch from now on
   */
  watch(options?: WatchOptions): AsyncIterable<ArtifactEvent>
  /** Which members' nodes, and this one, hold what of the newest 100 versions. Members that are not connected are dialled. Answers within 30 s, with what is known then. */
  status(options: ArtifactRef): Promise<ArtifactStatus>
}
