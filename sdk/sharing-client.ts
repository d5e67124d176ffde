import type { Artifact, ArtifactRef, CallOptions, Listing, ListOptions } from './client.ts'
import type { Role } from './peer-client.ts'

/** With whom an artifact is shared. */
export interface ShareOptions extends ArtifactRef {
  /** Names of contacts, DIDs or tickets. */
  readonly withAgents?: readonly string[] | undefined
  /** Names or ids of this node's groups, names of contacts that are groups, or tickets of groups. */
  readonly withGroups?: readonly string[] | undefined
  /** Seconds, and a minute on top, for clocks may be that far apart; absent: until it is taken back. */
  readonly expiresIn?: number | undefined
  /** Only versions written from now on, under a key of their own. Default: all. */
  readonly fromNow?: boolean | undefined
  /** A line for those that it is shared with, at most 1 KiB. */
  readonly message?: string | undefined
}

/** Whom something is shared with. */
export interface Recipient {
  readonly kind: 'agent' | 'group'
  /** The agent's DID, or the group's id. */
  readonly id: string
  /** What this node calls it. */
  readonly name: string | undefined
}

/** One artifact shared with one agent or group. */
export interface Share {
  /** 32 hex digits. */
  readonly id: string
  readonly artifactId: string
  readonly namespace: string
  readonly with: Recipient
  /** DID of who shared it. */
  readonly by: string
  readonly createdAt: Date
  readonly expiresAt: Date | undefined
  /** Only versions above this number; 0: all. */
  readonly afterVersion: number
  readonly message: string | undefined
}

/** An artifact that is shared, at its newest version. */
export interface SharedArtifact extends Artifact {
  /** The shares in force that it is listed for, the oldest first, at most 100. */
  readonly shares: readonly Share[]
}

/** One way by which somebody can read an artifact now. */
export interface Access {
  /** As a member of its namespace, by a share, by a share with a group, or by a link that a gateway serves. */
  readonly through: 'member' | 'share' | 'group' | 'link'
  /** DID of an agent, id of a group, or for a link the DID of the gateway. */
  readonly id: string
  readonly name: string | undefined
  /** Of members. */
  readonly role: Role | undefined
  /** Id of the share or link, to take it back. */
  readonly shareId: string | undefined
  /** DID of who gave it. */
  readonly by: string | undefined
  readonly since: Date
  readonly expiresAt: Date | undefined
  /**
   * Of shares, whether whoever it is for was told by this node: it has it (`taken`), does not want it (`refused`), could not be reached so far (`waiting`), or has
   * no room for it (`full`: tried for a day, and given up until it is shared again or the node starts). Absent for links, and for what others told of.
   */
  readonly told: 'taken' | 'refused' | 'waiting' | 'full' | undefined
}

/** Whose shares are listed, and which. */
export interface ListSharedOptions extends Omit<ListOptions, 'namespace'> {
  /** `others` (the default): what is shared with this agent, directly or through a group. `me`: what it shares. */
  readonly by?: 'others' | 'me' | undefined
}

/** The sharing half of `client.artifact`. */
export interface SharingApi {
  /**
   * Lets agents and groups that are no members of the namespace read one artifact, its new versions too. They learn of it at once, when they
   * connect, or when a member of the namespace meets them; a group's members however they joined. What they have fetched cannot be unread.
   *
   * @returns a share for each of them, in the order given; one that is in force already is given as it is
   * @throws ACCESS_DENIED unless this agent may write; NOT_FOUND for an artifact, contact or group that is not known; UNAVAILABLE for a group whose key
   *   nobody could be asked for
   */
  share(options: ShareOptions): Promise<readonly Share[]>
  /**
   * Takes shares back: providers stop serving as they learn of it, and what is written from then on is under a key that nobody who lost access ever
   * had, so the next version stores its full size again.
   *
   * Who reads it by another way too, as a member or through a group, goes on: see `access`.
   *
   * @returns the shares that ended
   * @throws NOT_FOUND when it is shared with none of them; ACCESS_DENIED for shares of others, unless this agent ranks above them
   */
  unshare(
    options: ArtifactRef & {
      readonly agents?: readonly string[] | undefined
      readonly groups?: readonly string[] | undefined
    },
  ): Promise<readonly Share[]>
  /**
   * As `list`, over everything that is shared with this agent, or by it. Shares that ended are not in it.
   */
  listShared(options?: ListSharedOptions): Listing<SharedArtifact>
  /** Everybody who can read an artifact now, and how: replicas cannot, and are not in it. @throws ACCESS_DENIED unless this agent is a member of its namespace */
  access(options: ArtifactRef): Promise<readonly Access[]>
}

/** What a stranger wants this agent to have. */
export interface InboxRequest {
  /** 32 hex digits. */
  readonly id: string
  readonly kind: 'share' | 'group'
  /** DID of who sent it. */
  readonly from: string
  readonly receivedAt: Date
  /** What the sender calls it. Nothing vouches for it. Of a group the beginning of its id: its name is for members to see. */
  readonly name: string
  /** `grp_…`, of a group. */
  readonly group: string | undefined
  readonly artifactId: string | undefined
  readonly contentType: string | undefined
  readonly sizeBytes: number | undefined
  readonly message: string | undefined
}

/**
 * What strangers share, and groups that they add this agent to, until it says whether it wants that; what contacts share or add it to never waits here, unless
 * they overdo it (`status` has the bounds). Nothing of it is fetched or dialled before.
 */
export interface InboxApi {
  /** The oldest first. At most 32 of one sender wait, and 1,000 in all. */
  list(options?: CallOptions): Promise<readonly InboxRequest[]>
  /** From now on it is like what a contact shares; a group is joined. @throws NOT_FOUND; of a group ACCESS_DENIED, UNAVAILABLE when its sender is away */
  accept(options: CallOptions & { readonly id: string }): Promise<void>
  /** It does not come again. Of a share with a group that this agent is an admin of: nor to those who join the group later. @throws NOT_FOUND */
  drop(options: CallOptions & { readonly id: string }): Promise<void>
}
