import type { UnixFS } from '@helia/unixfs'
import type { Helia } from 'helia'
import type { Client } from '../sdk/client.ts'
import type { FetchPolicy, Role } from '../sdk/peer-client.ts'
import type { BlockServerCounters, Misbehaviour, ReplicatorCounters, TransferCounters } from '../src/exchange/index.ts'
import type { GatewayOptions } from './gateway/gateway-options.ts'
import type { Logger } from './logger.ts'
import type { NetworkMode, NetworkStatus } from './network/index.ts'

export interface StartNodeOptions {
  /** Created (mode 0700) when absent. One process at a time: a second is `LOCKED`. */
  readonly dataDir: string
  /** Protects `identity.key`: given at creation it is needed ever after (`ACCESS_DENIED` without or with another). */
  readonly passphrase?: string | undefined
  /**
   * Whom the node talks to. `offline`: nobody. `lan` (the default): whoever is near, found by multicast, or named by a ticket.
   * `private`: only holders of `networkKey`. `public`: as `lan`, and it joins the public IPFS DHT.
   */
  readonly network?: NetworkMode | undefined
  /**
   * Multiaddrs to listen on (`/ip4/0.0.0.0/tcp/4001`); by default TCP and WebSocket on all addresses, at ports that the system
   * picks. Empty: it dials and is not dialled. There is no multicast when all of them are loopback addresses.
   */
  readonly listen?: readonly string[] | undefined
  /**
   * Multiaddrs that others reach this node by and that are none of this machine's own (`/dns4/hub.example.org/tcp/4001`): behind a router or in a cloud that passes
   * a port on. They go into tickets beside those that it listens on.
   */
  readonly announce?: readonly string[] | undefined
  /** Nodes to stay connected to, multiaddrs ending in `/p2p/…`; they help to find others. */
  readonly bootstrap?: readonly string[] | undefined
  /** 32 bytes that all nodes of a `private` network share; there and nowhere else. */
  readonly networkKey?: Uint8Array | undefined
  /** Whether this node relays, within limits, for others that cannot be dialled. Default no. */
  readonly relay?: boolean | undefined
  /** Relays to be reachable through, for a node behind NAT; written like `bootstrap`. */
  readonly relays?: readonly string[] | undefined
  /**
   * Tickets of namespaces that this node joins, as soon as it is granted a role there, and fetches eagerly. With the role
   * `replica` it stores and serves them without their keys.
   */
  readonly replicate?: readonly string[] | undefined
  /** Serves links over HTTP. Without it the node is no gateway. */
  readonly gateway?: GatewayOptions | undefined
  readonly logger?: Logger | undefined
  /** Aborts the start. */
  readonly signal?: AbortSignal | undefined
}

/** Where a node serves links. */
export interface GatewayStatus {
  /** What stands before `/a/…` in links, without a slash at the end. */
  readonly url: string
  readonly port: number
  /** Of its admin listener, if it has one. */
  readonly adminPort: number | undefined
}

/** Sizes and counts of one namespace on this node's disk. */
export interface DiskUsage {
  readonly namespace: string
  readonly name: string
  /** Bytes of pack files. */
  readonly packBytes: number
  /** Of those, bytes that no index row names any more; gc reclaims them. */
  readonly deadBytes: number
  readonly blocks: number
  /** Bytes of log entries. */
  readonly entryBytes: number
}

/** How an agent can be reached, as far as this node knows. */
export type PeerReach =
  | { readonly state: 'direct' | 'relayed' }
  /** `reason` is one word for programs, `message` says it to people. */
  | { readonly state: 'unreachable'; readonly reason: string; readonly message: string; readonly since: Date }
  /** Never tried. */
  | { readonly state: 'unknown' }

/** An agent that is connected, or a member of a namespace of this node. */
export interface Peer {
  readonly did: string
  /** Its contact's name, if it has one here. */
  readonly name: string | undefined
  readonly reach: PeerReach
  /** Names of this node's namespaces in which it has a role. */
  readonly namespaces: readonly string[]
  /** Present while it is connected. */
  readonly connection?: {
    /** Multiaddrs that the connections lead to. */
    readonly addresses: readonly string[]
    readonly encryption: 'tls' | 'noise'
    /** Of the last ping. */
    readonly latencyMs: number | undefined
    readonly since: Date
    readonly protocols: readonly string[]
  }
}

/** A content being fetched. */
export interface TransferStatus {
  readonly namespace: string
  readonly artifactId: string
  /** Of the whole content, bytes of blocks. */
  readonly totalBytes: number
  /** Bytes of blocks that came from others since it began; what was held before is not fetched. */
  readonly fetchedBytes: number
  /** Over its life. */
  readonly bytesPerSecond: number
  readonly providers: readonly { readonly did: string; readonly fetchedBytes: number }[]
}

/** A chain of entries that goes on in two ways: its author's key was used twice for one place. */
export interface ForkStatus {
  /** DID of the author. */
  readonly author: string
  /** Where the chain parts. */
  readonly seq: number
  /** Newest entry of each branch, 64 hex digits: what `namespace.adopt` takes. */
  readonly heads: readonly string[]
}

/** What a node knows of a log that it keeps: a namespace's, or a group's. */
export interface LogStatus {
  /** `ns_…` or `grp_…` */
  readonly id: string
  readonly name: string
  readonly entries: number
  /** Two nodes at which it is the same hold the same log: 64 hex digits. */
  readonly logHash: string
  /** What this agent is there (in a group a member is a `writer`); `undefined` once its role was taken away. */
  readonly role: Role | undefined
  /** Present when its role was taken away: which, who (a DID) did it and when, by that one's clock. */
  readonly removed?: { readonly role: Role; readonly by: string; readonly at: Date } | undefined
  readonly members: number
  /** Contents that a node that fetches eagerly is still to fetch; 0 of others. */
  readonly contentsToFetch: number
  readonly sync: {
    /** Entries known to be missing here. */
    readonly behind: number
    readonly lastSyncAt: Date | undefined
    /** The latest failure, until a round works. */
    readonly lastError: { readonly code: string; readonly message: string } | undefined
    readonly peers: readonly {
      readonly did: string
      readonly lastSyncAt: Date | undefined
      readonly outcome: 'same' | 'exchanged' | 'denied' | 'failed' | undefined
    }[]
  }
  readonly forks: readonly ForkStatus[]
  readonly owed: {
    /** Keys are known to someone who is no member any more, and nobody with the right to has changed them yet. */
    readonly rotation: boolean
    /** DIDs of members who still lack the current key. */
    readonly boxes: readonly string[]
    /**
     * DIDs of who wrote or shared something under a key that others were not given: that of an admin who had been removed, of which the author had not heard, or one
     * that was sealed to the members of its time. The author’s node gives it to them, or that of any other writer who has it.
     */
    readonly keys: readonly string[]
  }
}

/** A namespace at a glance. */
export interface NamespaceStatus extends LogStatus {
  readonly current: boolean
  readonly plan: string
  readonly artifacts: number
  readonly usedBytes: number
  readonly policy: FetchPolicy
}

/** A group, or a namespace that this agent had by way of one, that it is in no more: out of reach, and removed by `gc` after the grace period. */
export interface EndedStatus {
  readonly kind: 'namespace' | 'group'
  /** `ns_…` or `grp_…` */
  readonly id: string
  readonly name: string
  /** `REMOVED`: its role was taken away. `GROUP`: it had it by way of a group, and is in that no more. */
  readonly reason: 'REMOVED' | 'GROUP'
  /** DID of who took the role away. */
  readonly by: string | undefined
  readonly at: Date
  /** What is kept of it, out of reach: packs and entries. */
  readonly diskBytes: number
  /** Whether it stays until somebody here leaves it, for this agent had it by name and wrote in it; else `gc` removes it after the grace period. */
  readonly isKept: boolean
}

/** What a node has on the word of others: groups that contacts added it to, namespaces that members of its groups wrote into their logs. */
export interface VouchedStatus {
  readonly logs: number
  /** How many there may be in all, on one agent's word, and by way of one group. Groups beyond that wait in the inbox. */
  readonly limits: { readonly all: number; readonly ofAgent: number; readonly ofGroup: number }
  /** Namespaces that a group's log names and that are not followed, for there is no room; `namespace.join` takes them all the same. `by`: who wrote it. */
  readonly leftOut: readonly { readonly namespace: string; readonly group: string; readonly by: string }[]
}

/** What is shared singly: followed of others, and told to others. Bounds are in `src/limits.ts`. */
export interface SharingStatus {
  /** Shares of others that this node follows. */
  readonly following: number
  /** Senders (DIDs) of whom as many are followed as may be: what they share beyond that is refused, and they are told so. */
  readonly fullSenders: readonly string[]
  /** Shares with groups of this agent that are not followed, for there is no room. */
  readonly leftOut: number
  /** Agents (DIDs) and groups (`grp_…`) that have not taken what is shared with them: not reached yet, or given up after a day without room for it. */
  readonly undelivered: readonly {
    readonly with: string
    readonly shares: number
    readonly state: 'waiting' | 'full'
  }[]
}

/** A node at a glance; JSON-safe but for the dates. */
export interface NodeStatus {
  readonly did: string
  readonly dataDir: string
  readonly version: string
  readonly network: NetworkMode
  /** Multiaddrs at which it may be dialled. */
  readonly addresses: readonly string[]
  /** Relays that it was told to use, and whether it is reachable through each. */
  readonly relays: readonly { readonly address: string; readonly reserved: boolean }[]
  readonly startedAt: Date
  readonly namespaces: readonly NamespaceStatus[]
  /** Groups that this agent is in. */
  readonly groups: readonly LogStatus[]
  /** Groups that it is in no more, and namespaces that it had by way of them. */
  readonly ended: readonly EndedStatus[]
  readonly vouched: VouchedStatus
  /** As `peers()`. */
  readonly peers: readonly Peer[]
  readonly transfers: readonly TransferStatus[]
  /** Namespaces that an agent says this one has a role in, and that are not on this node. Anyone may say so. Groups wait in the inbox. */
  readonly invitations: readonly { readonly namespace: string; readonly from: string }[]
  /** What others did that they should not, by kind, and who (DIDs) is refused for it now. */
  readonly misbehaviour: Readonly<Record<Misbehaviour, number>>
  readonly refusedAgents: readonly string[]
  /** Connections turned away, by the limit that they were over. */
  readonly refusedConnections: NetworkStatus['refusedConnections']
  readonly sharing: SharingStatus
  /** Blocks and entries served to others (absent offline), and how streams to providers ended. */
  readonly counters: {
    readonly blocksServed?: Readonly<BlockServerCounters>
    readonly syncServed?: ReplicatorCounters
    readonly fetches: TransferCounters
  }
}

/** Something that `check` found wrong, and what `repair` did about it. */
export interface Finding {
  /**
   * What is wrong: a block, an entry, an index row, the catalog, a pack. `block-unreadable` and `pack-missing` may pass
   * by themselves (a disk error, a folder not mounted): repair leaves them as they are.
   */
  readonly kind:
    | 'block-missing'
    | 'block-corrupt'
    | 'block-unreadable'
    | 'pack-missing'
    | 'pack-truncated'
    | 'index-wrong'
    | 'entry-corrupt'
    | 'catalog-differs'
    | 'usage-differs'
  readonly namespace: string
  /** In words, naming ids and places; no content. */
  readonly message: string
  /** Artifacts (`art_…`) that it is known to affect: they cannot be read whole, or only while what was derived before is kept. */
  readonly artifacts: readonly string[]
  /** Whether this call put it right, with nothing lost that a live version is known to need. */
  readonly repaired: boolean
}

export interface CheckOptions {
  /** Read and hash every block, too. */
  readonly readData?: boolean | undefined
  /**
   * Puts right what can be, and deletes no bytes of blocks or entries. Blocks that were read and are wrong leave the index
   * (copies go to `quarantine/`, their packs stay for good) and can be stored again. Lost index rows are made again from
   * the packs, the catalog from the log. While the log has damaged entries, what was derived from it before is kept.
   */
  readonly repair?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?:
    | ((progress: { readonly step: string; readonly done: number; readonly total: number }) => void)
    | undefined
}

export interface CheckReport {
  readonly entries: number
  readonly versions: number
  readonly blocks: number
  /** Block bytes read and hashed; 0 without `readData`. */
  readonly bytesRead: number
  readonly findings: readonly Finding[]
}

export interface GcOptions {
  /** Skip the grace period (7 days). */
  readonly now?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * What gc did, in all namespaces but those that it leaves alone, with a warning to the logger: where a check found
 * damaged entries, until one finds none; where a live version lacks blocks; and one that is deleted meanwhile.
 */
export interface GcReport {
  readonly removedBlocks: number
  /** Bytes of those blocks. */
  readonly removedBytes: number
  /** Bytes given back to the file system: packs are compacted once a good part of them is dead. */
  readonly freedBytes: number
  /** Bodies of deleted versions erased from the log; their headers stay, so that chains still check. */
  readonly erasedBodies: number
  /** Blocks that would go but for the grace period or an open write. */
  readonly keptBlocks: number
}

/** A running node. Close it once done; `await using` does. */
export interface ArtifactHubNode extends AsyncDisposable {
  readonly client: Client
  readonly did: string
  readonly dataDir: string
  /** Where it serves links, if it is a gateway. */
  readonly gateway: GatewayStatus | undefined
  status(options?: { signal?: AbortSignal | undefined }): Promise<NodeStatus>
  check(options?: CheckOptions): Promise<CheckReport>
  gc(options?: GcOptions): Promise<GcReport>
  du(options?: { signal?: AbortSignal | undefined }): Promise<readonly DiskUsage[]>
  /** Connected agents, and members of this node's namespaces. */
  peers(options?: { signal?: AbortSignal | undefined }): Promise<readonly Peer[]>
  /**
   * Round trip to an agent (contact's name, DID or ticket), milliseconds; dials it when there is no connection.
   * @throws UNAVAILABLE (`details.reason` says why), NOT_FOUND for a name that no contact has
   */
  ping(agent: string, options?: { signal?: AbortSignal | undefined }): Promise<number>
  /**
   * Tells when an agent that a share is for was given what there is to read by it, or that it is in force no more, and has taken that; until the returned function
   * is called. An agent asks when it hears of a share, and for what it has on every new connection; what comes after that is sent to it (`counters.syncServed.pushing`).
   */
  onAnswered(listener: (answered: { readonly did: string; readonly shareId: string }) => void): () => void
  /** The Helia that shares this node's block store; started the first time it is asked for. */
  helia(): Promise<Helia>
  /** UnixFS over that Helia: `cat` of an artifact's `cid` gives its leaves, which are ciphertext, in order. */
  unixfs(): Promise<UnixFS>
  /** Waits for calls in flight to fail or finish, then releases everything. Idempotent. */
  close(): Promise<void>
}
