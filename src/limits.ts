/** Every bound of the project, with its unit and its reason. Binary units are spelled KiB and MiB; plans are decimal. */

const KiB = 1024
const MiB = 1024 * KiB
const MB = 1_000_000
const GB = 1_000 * MB
const TB = 1_000 * GB

/** Content up to this many plaintext bytes is one leaf carried inside its entry: a snippet costs no pack write. */
export const maxInlineBytes = 32 * KiB
/** Shortest chunk but for the last, plaintext bytes: bounds the count of leaves. */
export const minChunkBytes = 512 * KiB
/** Longest chunk, plaintext bytes: its leaf is exactly the 2 MiB that every IPFS implementation accepts as a block. */
export const maxChunkBytes = 2 * MiB - 28
/** Bits of the gear hash that must be zero at a cut: 512 KiB expected past the minimum, so about 1 MiB in all. */
export const chunkMaskBits = 19
/** What a leaf adds to its chunk: nonce (12) and tag (16), bytes. */
export const leafOverheadBytes = 28
/** Links of a full UnixFS node; IPIP-499 uses the same. Part of the format: readers check it. */
export const treeFanOut = 1024
/** Largest block of any kind, bytes. */
export const maxBlockBytes = 2 * MiB
/** Largest content, plaintext bytes: the largest plan's file. 100 GB. */
export const maxContentBytes = 100 * GB

/** A version of fewer leaves is not remembered past a restart: sealing them all again takes a few hundredths of a second. */
export const minLeavesInRows = 16
/** A download to a file writes leaves in any order, within so many bytes past what is whole: enough for two leaves under way in each of eight threads. 32 MiB. */
export const maxUnorderedBytes = 32 * MiB
/** Remembered leaves in one row of the database, 48 bytes each: about 48 KiB a row. */
export const leavesInRow = 1024

/** A pack file is full at this many bytes: few enough files to open at once, small enough to compact. 1 GiB. */
export const maxPackBytes = 1024 * MiB
/** What one write to a pack gathers, bytes: past this, larger writes are not faster. */
export const packWriteBytes = 8 * MiB
/** Parts of one write to a pack: Linux takes 1,024 (IOV_MAX). */
export const packWriteParts = 1_000
/** Pack files open for reading at once. */
export const maxOpenPacks = 64
/** A pack is compacted when at least this share of it is dead: writing four bytes to free one is the worst case. */
export const compactDeadShare = 0.2

/** Leaves that one request for blocks may name: 128 MiB of full ones, several units of those who ask. */
export const maxRequestLeaves = 64
/** A request for blocks, bytes: its ids and that many runs of leaves, with room. */
export const maxBlockRequestBytes = 8 * KiB
/** Requests that one stream may have waiting at the server: two are asked for, the rest is room. */
export const maxRequestsWaiting = 4
/** Bytes of blocks under way to whoever asked for them, but for the last block: a stream's buffers hold 4 MiB, the largest block is 2. */
export const blockCreditBytes = 2 * MiB
/** Blocks that a server reads from its disk before they may be sent, bytes a stream. */
export const blockReadAheadBytes = 4 * MiB
/**
 * Streams for blocks that a server answers at once, of one agent and in all: with the read-ahead this bounds its memory. Of one agent three times what
 * it asks for: a lane that moves to a bulk stream has two, and one that ended may be heard of after its successor, which came by another connection.
 */
export const maxBlockStreamsOfAgent = 24
export const maxBlockStreams = 64
/** Streams for blocks that a node opens to one agent at once: well below what the other side allows, for ends are seen late there. */
export const maxBlockStreamsToAgent = 8
/** A stream for blocks on which nothing moves is ended after one to two times this, milliseconds. */
export const blockIdleMs = 30_000
/** Time from a request for blocks, entries or what is held to its refusal, milliseconds: all take as long, whatever was looked up for them. */
export const blockRefusalMs = 20
/** An agent that takes longer to open a stream is passed over, milliseconds: relays and far hosts need some seconds. */
export const blockOpenMs = 20_000
/** A provider must send this much (bytes) in every so many milliseconds while it is asked for anything: 64 KiB/s. */
export const minProgressBytes = 640 * KiB
export const progressMs = 10_000
/** Leaves of the longest request that a fetch makes: about 16 MiB. */
export const unitLeaves = 16
/** Requests that a fetch has open at one provider: the next is there before the last is through. */
export const unitsInFlight = 2
/** A provider that a fetch has nothing to ask for keeps its stream this long, milliseconds: less than what the server waits. */
export const laneIdleMs = 10_000
/** Contents from this size on, stored bytes, are fetched over a bulk stream: below, its handshake takes longer than it saves. */
export const bulkContentBytes = 16 * MiB
/** Providers that one fetch uses at once. */
export const maxFetchProviders = 4
/** Received blocks being verified and written, bytes a fetch. */
export const maxUnstoredBytes = 16 * MiB
/** Fetched blocks are made durable every so many bytes: what a crash can cost. */
export const fetchSyncBytes = 64 * MiB
/** Leaves that a fetch of everything asks for ahead of what has arrived. */
export const maxLeavesWanted = 1024
/** What is not there after this is asked for elsewhere too, if another provider has nothing to do, milliseconds. */
export const askAgainMs = 2_000

/** An entry in all (header, keys, body, inline leaf, signature), bytes: fits one gossip message. */
export const maxEntryBytes = 64 * KiB
/** Header, bytes: 32 parent heads and 32 version heads fit with room. */
export const maxHeaderBytes = 8 * KiB
/** Parent heads that a header names. */
export const maxParentHeads = 32
/** Version heads that a data entry names; with more siblings than this the oldest wait for the next update. */
export const maxVersionHeads = 32
/** Boxes carried in an entry; the rest follow in entries of their own. */
export const maxBoxesInEntry = 128
/** Grants that one revoke ends. */
export const maxRevokedGrants = 64
/** Entries that one piece of evidence brings along, for it to be believed of a former admin: half of those that an answer holds. */
export const maxEvidenceLinks = 32
/** Entries of one namespace in which single artifacts are followed, bytes: a million small versions. More of them is somebody filling disks. */
export const maxFollowedLogBytes = 1024 * MiB
/** Adopts that go with the removal of an admin, some 400 bytes each: what followers are to believe of it, the newest first. */
export const maxAdoptsOfRevoke = 256
/** Cuts of one revoke, 60 bytes each: half of what an entry holds. */
export const maxCuts = 512
/** As `maxCuts`, in a group: the removals of a dozen admins who began as many chains as they could fit one proof, and of 150 who did not. */
export const maxCutsOfGroup = 32

/** Capabilities that one entry ends: a whole audience of shares at once, 17 bytes each. */
export const maxRevokedCapabilities = 256
/** Entries of a group's log in the proof of its descriptor: grants and revokes of some dozen admins; they fit one entry. */
export const maxProofEntries = 256
/** Bytes of them: what an entry that records them has room for. */
export const maxProofBytes = 60 * KiB

/** Entries at one place of a forked chain that are kept: more proves nothing more. */
export const maxSiblingEntries = 8
/** Headers of entries, some 350 bytes each, that one answer to who follows artifacts brings to show that what it has is on no branch that counts. */
export const maxStrayLinks = 1_024
/** Entries read for that, some 10 µs each. */
export const maxStrayReads = 8_192
/** Entries beyond the limits of one grant's chains that are kept, in case they are adopted: none of them counts. */
export const maxSurplusEntries = 1_000
/** What these may weigh, bytes. */
export const maxSurplusBytes = 1 * MiB

/** Artifact name, UTF-8 bytes. */
export const maxNameBytes = 1 * KiB
/** Content type, UTF-8 bytes (RFC 6838 allows 127 + 1 + 127, plus parameters). */
export const maxContentTypeBytes = 512
/** Metadata, bytes of its JSON text in UTF-8. */
export const maxMetadataBytes = 16 * KiB
/** Nesting of metadata: bounds every recursion over it. */
export const maxMetadataDepth = 32
/** Namespace and contact names, UTF-8 bytes. */
export const maxLabelBytes = 256
/** Conditions in one metadata filter. */
export const maxFilterConditions = 64
/** Values in one `$in`. */
export const maxFilterValues = 1_000
/** UTF-8 bytes of a metadata text that its index key holds; the rest is checked on the record. Part of the catalog's format. */
export const maxIndexedTextBytes = 64
/** UTF-8 bytes of a metadata path that its index key holds; a longer one is hashed. Part of the catalog's format. */
export const maxIndexedPathBytes = 64
/** Items of one page of a list. */
export const maxPageItems = 1_000
/** Items of one page when the caller names no limit. */
export const defaultPageItems = 100
/** What `download` returns in memory at most, bytes; above it use `downloadStream` or `downloadFile`. */
export const maxDownloadBytes = 2 * 1024 * MiB

/**
 * Epochs that begin only because writers sealed the one in force to former members: so many in so many milliseconds. Anyone who may write
 * can bring that about, again and again; meanwhile keys are sealed to the members by name.
 */
export const maxForcedEpochs = { count: 4, duringMs: 10 * 60_000 }
/**
 * Descriptors of one group that a namespace records in so many milliseconds, and with those that tell of an admin's removal: an admin of a group, whom nobody in
 * the namespace need know, can begin any number of epochs. Others are gone by and not written down until there is room.
 */
export const maxDescriptorsRecorded = { count: 16, withRemovals: 64, duringMs: 10 * 60_000 }
/** How long an epoch, or a key of an artifact, is sealed to nobody while entries that its author knew are missing here, milliseconds: they may never come. */
export const epochSettleMs = 10 * 60_000
/** Entries of one author, back from a version, that are looked at for what they name: some 2 ms a thousand, each looked at once. */
export const maxAuthorLookback = 1_000
/** Boxes that one look at what shares lack seals, some 120 bytes and 100 µs each; the rest follows `healAgainMs` later. Who shares with thousands what has hundreds of keys decides how many are lacking. */
export const maxBoxesOfHeal = 8_192
/** Between two looks at whether what was put off of what members are owed can be written, milliseconds. */
export const healAgainMs = 30_000
/** Incarnations of a node whose rows in a feed can be told apart: a cursor from before these is NOT_FOUND. Some 25 bytes each. */
export const maxFeedEras = 256
/** A clock further ahead of ours than this is not merged, milliseconds. */
export const maxClockAheadMs = 5 * 60_000
/** How long blocks of deleted versions and of interrupted uploads stay, milliseconds. 7 days. */
export const gcGraceMs = 7 * 24 * 3600_000

/** A frame of log sync, bytes: what a receiver holds of a stream, and what it commits in one batch. */
export const maxSyncFrameBytes = 256 * KiB
/**
 * What a sender puts in one frame of entries, bytes, beyond the first entry. Receiving an entry leaves some 90 KB of garbage: a batch of four times as many
 * outlives two collections of V8's young objects, and all of it ends among the old ones, at the same processor time.
 */
export const syncBatchBytes = 64 * KiB
/** How long a frame of log sync may take to be taken or to come whole, milliseconds; slower peers are dropped. */
export const syncFrameTimeoutMs = 30_000
/**
 * How much longer, once, for each `syncBatchBytes` of entries that were sent and may be in front of the other side, milliseconds: it makes each batch durable before the
 * next, and a stream's window opens again only when nearly all that was under way is. On a machine that others keep busy a batch took up to a second and a half.
 */
export const syncBatchMs = 1_000
/** Entries that may be under way, bytes: two windows of a stream, and what waits for its reader. */
export const maxSyncBytesUnderWay = 9 * MiB
/** How long a stream of pushed entries may be idle, milliseconds. */
export const syncPushIdleMs = 120_000
/** Rows of one side's vector in a round: about 6 MB. Room for 10,000 members with ten incarnations each; whoever may write can begin any number. */
export const maxSyncVectorRows = 100_000
/** Rows of others' vectors, beyond the first page of each, that all served rounds hold at once: some 700 bytes each in memory. */
export const maxServedVectorRows = 200_000
/** Entries without a body that one side asks for in a round: 16 MiB at most. */
export const maxSyncWants = 256
/** Entries by which an agent shows that it has a role: its grant, and that of the admin who made it. Part of the format. */
export const maxClaimEntries = 2
/** Namespaces that one offer tells of: a frame has room for them. */
export const maxSyncOffers = 2_048
/** Batches in a row of which nothing was new: enough for a fork in a chain of 10,000s of entries, an end for floods. */
export const maxUselessSyncBatches = 1_024
/** Sync streams other than of pushes that one agent may have open here: the rounds it begins at once, and offers. */
export const maxSyncStreamsPerPeer = 16
/** Sync streams other than of pushes served at once in all; each may hold one frame and one batch, so 32 MiB. */
export const maxSyncStreams = 64
/** Streams of pushes that one agent may have open here: of each machine that may be connected one for all namespaces, and one that is closing. */
export const maxPushStreamsPerPeer = 8
/** Sync streams that one agent may open in a burst, and then a second: who is brought `maxLogsByAgent` groups at once needs some five for each. */
export const syncStreamBurst = 600
export const syncStreamsPerSecond = 40
/**
 * Sync streams other than of pushes that a node opens to one agent in a burst, then a second, and at once: well below what the other side allows. A node that
 * starts anew has a burst again, an agent may have two machines, and ends are seen late. One that says nothing holds half of `maxSyncRounds`.
 */
export const syncPace = { burst: 100, perSecond: 15, atOnce: 4 }
/** Namespaces of one node up to which each is compared every `syncEveryMs`; of more each is more seldom, so that rounds that something calls for need not wait. */
export const maxLogsInStep = 225
/** What one push of new entries holds, bytes, beyond the first entry: soon committed, and fair to the others on the stream. */
export const maxPushBytes = 64 * KiB
/** New entries of one namespace that wait for a slow agent, bytes; beyond that a round is cheaper. */
export const maxPushQueueBytes = MiB
/** How long a stream of pushes is kept with nothing to push, milliseconds: below `syncPushIdleMs` of the other side. */
export const syncPushCloseMs = 60_000
/** Connected members that new entries are pushed to; the others hear a hint. */
export const maxPushPeers = 32
/** Sync rounds that one node begins at once: each may hold a frame and a batch. */
export const maxSyncRounds = 8
/** Of these, with agents that are not connected, whose dials may take `openTimeoutMs` each: the others find room. */
export const maxSyncDials = 6
/** A round that has had its place for so long gives it to one that has waited for so long, milliseconds: most take less than a second, and beginning anew costs what is under way. */
export const syncRoundTurnMs = 60_000
export const syncRoundWaitMs = 10_000
/** How often a namespace is compared with a member chosen at random, milliseconds, from and to. */
export const syncEveryMs = { from: 30_000, to: 60_000 }
/** Capabilities that one stream of requests for blocks may show. */
export const maxPresentations = 4
/** Entries that a denial gives as its evidence: what ended a right, and the grants that this stands on. */
export const maxDenialEvidence = 64
/** Scopes in which one connected agent that is no member is told of news, in each namespace: about 1 KiB each, of one that holds as many capabilities. */
export const maxFollowedScopes = 20_000
/**
 * Capabilities that one agent shows and that are looked at though they give it nothing, in a burst and then a second: each costs the check of a signature, some
 * 0.2 ms. More are denied without a look, and may be shown again.
 */
export const deniedFollows = { burst: 2_048, perSecond: 100 }
/** Rounds on one stream: an agent may follow that many artifacts of a namespace. */
export const maxRoundsOnStream = 100_000
/** Artifacts that one message asks about: with their capabilities, some 500 bytes each, they fill a frame. */
export const maxFollowsInFrame = 512
/** Ids of entries of the artifacts that one message asks about, if there is more than one: 16 bytes each, told where these differ. */
export const maxIdsOfFollows = 32_768
/** Denials of one message that are asked to be explained, one after the other: what explains one mostly explains all. */
export const maxDenialsExplained = 16
/** Artifacts that are in step, as far as is known, and looked at again in a round that nothing called for. */
export const maxFollowsLookedAt = 256
/** Waits after failures of one agent, or of all known agents, milliseconds: doubled from the first to the last. */
export const syncBackoffMs = { from: 1_000, to: 60_000 }
/** Waits between dials of a member that was connected up to `during` before: `to` at most, milliseconds. */
export const syncRedialMs = { to: 8_000, during: 5 * 60_000 }
/** Agents that are no members by this node's log and still remembered as having asked, in each namespace. */
export const maxSyncStrangers = 256

/** Connections of one node in all: some hundred peers, and a few MiB of memory each when all are busy. */
export const maxConnections = 256
/** Inbound connections of strangers, who have no name, no role and no share here, all together: the others find room, whatever strangers hold. */
export const maxStrangerConnections = 192
/** Connections with one agent: two nodes that dial each other at once have two, a direct one beside a relayed one makes three. */
export const maxConnectionsPerAgent = 4
/** Connections from one address: an office behind one NAT, or many nodes on one machine. */
export const maxConnectionsPerHost = 64
/** New connections a second from one address: each costs a handshake of some milliseconds. */
export const maxNewConnectionsPerHost = 32
/** Inbound connections whose handshake is not through, from all addresses and from one: what one address leaves unfinished keeps others from nothing. */
export const maxPendingConnections = 256
export const maxPendingConnectionsPerHost = 32
/** Streams of one connection each way, all protocols together. */
export const maxStreamsPerConnection = 256
/** Streams of one protocol on one connection that the other side may have open. */
export const maxStreamsPerProtocol = 32
/** What a peer may send on one stream before it is read, bytes: yamux's window, never above the read buffer or a slow reader is reset. */
export const streamWindowBytes = 4 * MiB
/** A stream's sender is stopped when this many bytes wait for the reader. */
export const streamQueueBytes = 1 * MiB
/** Bytes handed to libp2p at once: more would wait in its write buffer. */
export const streamWriteBytes = 256 * KiB
/** Pieces shorter than this many bytes that one stream may bring of what libp2p reads by itself: so many at once and a second. Hints are some 200 a second. */
export const shortFrameBytes = 512
export const maxShortFrames = { burst: 4_096, perSecond: 500 }
/** What libp2p may hold of one stream's outgoing bytes before it cuts the stream: a gossip frame (4 MiB) fits. */
export const streamWriteBufferBytes = 8 * MiB
/** A closed stream whose other side takes nothing is cut after this long, milliseconds. */
export const streamFlushMs = 60_000
/** A closed stream whose other side goes on is cut after this long, milliseconds, or after `streamLingerBytes`. */
export const streamLingerMs = 10_000
/** What a closed stream takes and throws away before it is cut, bytes. */
export const streamLingerBytes = 1 * MiB
/** Bulk streams that one agent may have open here, and all together: each is a connection, beside those that libp2p counts. */
export const maxBulkStreamsOfAgent = 8
export const maxBulkStreams = 64
/** Handshakes of inbound bulk streams at once, all together and of one address, which are not to keep others from theirs. */
export const maxPendingBulkStreams = 32
export const maxPendingBulkStreamsPerHost = 16
/** Inbound connections whose first byte is awaited, or that are no WebSocket yet, of one address and all together: what one address can hold keeps others from nothing. */
export const maxSilentConnectionsPerHost = 16
export const maxSilentConnections = 256
/** A bulk stream's connection and its handshake, milliseconds: what needs longer has an ordinary one. */
export const bulkHandshakeMs = 5_000
/** One message of a WebSocket, bytes, of which each connection may hold one: libp2p's are no longer than what it is given at once. */
export const maxWebSocketMessageBytes = 1 * MiB
/** Parts in which such a message may come, frames or pieces of TCP: each costs some hundred bytes, and those of an Ethernet are 536 and more. */
export const maxWebSocketParts = 4_096
/** The certificate of bulk streams is made anew after this long, milliseconds: one from while the clock was ahead is valid for nobody. */
export const bulkCertificateMs = 60 * 60_000
/** An agent to whom a bulk stream could not be opened, or that cut one before so many bytes had come, is not tried again for this long, milliseconds. */
export const bulkRetryMs = 10 * 60_000
export const bulkWorthBytes = 16 * MiB
/** Opening a stream to a peer, dialling it included, milliseconds. */
export const openTimeoutMs = 20_000
/** Until there is a TCP connection to one address, milliseconds: one that does not even take it must not use up the time of a peer's others. */
export const dialConnectMs = 4_000
/** Names of hosts that are looked up at once: each holds one of Node's four threads until there is an answer. */
export const maxNameLookups = 2
/** How long after one address of a peer the next is dialled beside it, milliseconds, at most: most handshakes are through by then, and a peer that is busy has few of them at once. */
export const dialNextMs = 2_500
/**
 * A connection and its handshake, milliseconds, and as long for its first byte, or for it to be a WebSocket: a few round trips, and more only where the processor does
 * other things. Who is cut then, and tries again, makes that worse.
 */
export const handshakeMs = 10_000
/** Addresses of one agent that are remembered and dialled. */
export const maxAddressesPerAgent = 16
/** Agents, members and contacts alone, whose addresses a node remembers past a restart; the ones not heard of for longest go. */
export const maxAgentsOnDisk = 1_000
/** Addresses of one agent that are remembered past a restart. */
export const maxAddressesOnDisk = 8
/** Between two looks at whether addresses that were learned belong to somebody who has become a member, milliseconds. */
export const saveAddressesMs = 30_000
/** Agents about whom a node keeps addresses, failures and penalties in memory. */
export const maxRememberedAgents = 10_000
/** What libp2p keeps of peers and for the DHT when it is kept in memory, bytes: some ten thousand peers. */
export const maxPeerDataBytes = 32 * MiB
/** A hint's payload, bytes: gossip is for small things. */
export const maxHintBytes = 64 * KiB
/** Hints a second that one peer may tell, of which there are two in each namespace that it writes to or hears of without pause. */
export const maxHintsPerSecond = 200
/** Hints a second that this node tells, of the rest the latest of each topic a little later: less than half of what is taken, for seconds begin elsewhere at other times. */
export const maxOwnHintsPerSecond = 80
/** Topics that a node listens to hints on: who connects is told of all of them in one frame, 72 bytes each, which must not be longer than one with the longest hint. */
export const maxHintTopics = 900
/** Penalty points at which a peer is refused; points halve every `penaltyHalfLifeMs`. */
export const maxPenalty = 100
/** Time in which penalty points halve, milliseconds. */
export const penaltyHalfLifeMs = 5 * 60_000
/** How long a peer at `maxPenalty` is refused, milliseconds. */
export const refusalMs = 10 * 60_000
/** Between two looks at whether relays and bootstrap nodes are still connected, milliseconds. */
export const keepConnectedMs = 30_000
/** Nodes found near by are connected to by themselves while there are fewer connections than this; more are dialled when needed. */
export const nearConnections = 32
/** Dials to nodes found near by, at once: libp2p has 32 under way, and 256 in all. */
export const maxNearDials = 8
/** Reservations on a node that is a relay, each held while its agent is connected; and those of strangers among them: the others find room. */
export const maxRelayReservations = 128
export const maxStrangerReservations = 96
/** One relayed connection's life, milliseconds. */
export const relayedConnectionMs = 30 * 60_000
/** Bytes of one relayed connection, both ways together. */
export const relayedConnectionBytes = 128 * MiB
/** Relayed connections that one agent may open through this relay in an hour: with the above, 8 GiB. */
export const maxRelayedPerHour = 64

/** A message of the protocol that asks what is held, bytes: a few ids. */
export const maxHoldingMessageBytes = 256
/** How long an agent may have another wait for its answer, milliseconds; who wants to know longer asks again. */
export const maxHoldingWaitMs = 60_000
/** Questions that wait at a node, of one agent and in all: a writer with many writes under way has one each. */
export const maxHoldingQuestionsOfAgent = 30
export const maxHoldingQuestions = 512
/** Questions that a node has open at one agent: well below what the other side allows, for ends are seen late there. */
export const maxHoldingQuestionsToAgent = 16
/** How long a write waits for its replicas when the caller does not say, milliseconds. */
export const replicaTimeoutMs = 30_000
/** Replicas that a write can ask for. */
export const maxReplicas = 1_000
/** Members that are asked at once whether they hold a content. */
export const maxHoldersAsked = 16
/** Of these, members that are not connected: each may take `openTimeoutMs` to dial, and must not keep out whoever is there. */
export const maxHoldersDialled = 8
/** `artifact.status` answers after this, milliseconds: a member that cannot be reached may take `openTimeoutMs`, and there may be hundreds. */
export const statusTimeoutMs = 30_000
/** How long one member is asked before another has its turn, milliseconds: there may be more of them than are asked at once. */
export const holderTurnMs = 5_000
/** Contents that a node which fetches eagerly fetches at once, in each namespace: one fills the connection, the others its gaps. */
export const maxEagerFetches = 3
/** Waits of an eager fetch that failed, and of a node that waits to be granted a role, milliseconds: doubled from the first to the last. */
export const retryBackoffMs = { from: 1_000, to: 60_000 }
/** From one try to come back to a namespace, which somebody says this agent is in again, to the next, milliseconds: doubled from the first to the last. */
export const returnPauseMs = { from: 250, to: 5_000 }
/** From one try to join a namespace to the next that news bring about, milliseconds: doubled from the first to the last. */
export const joinPauseMs = { from: 50, to: 1_000 }
/** Questions about groups that are open at a node, of one agent and in all: each may hold a proof, so 4 MiB. */
export const maxGroupQuestionsOfAgent = 8
export const maxGroupQuestions = 64
/** Groups that a node asks one agent about at once: well below what the other side allows. */
export const maxGroupQuestionsToAgent = 4
/** Questions about groups that one agent may ask in a burst, and then a second. */
export const groupQuestionBurst = 200
export const groupQuestionsPerSecond = 20
/** As how many questions it counts to tell of a descriptor: up to 20 ms go into checking one. */
export const groupTellCost = 10
/** Agents of one group that a node may have. */
export const maxGroupMembers = 10_000
/** Members of a group that may write, or more, in a namespace by way of the group: each has a grant of its own there, and chains. */
export const maxWritersViaGroup = 256
/** Agents that a node tells of the news of one group: those that asked, and those its agent proved itself to. */
export const maxGroupListeners = 1_024
/** How often a node asks for the descriptors of groups that it records, milliseconds, from and to. */
export const groupRefreshMs = { from: 60_000, to: 120_000 }
/** How long a sharer waits for a group's descriptor before it goes by the one that it has, milliseconds. */
export const groupAskMs = 5_000
/** How long it waits for those who decide in the group once somebody else has answered, milliseconds. */
export const groupConfirmMs = 1_000
/**
 * Groups and namespaces that a node has on the word of others: groups that one contact added it to, and namespaces that one member wrote into its
 * groups. Each is a log that is kept in step with all its members.
 */
export const maxLogsByAgent = 64
/** Namespaces that a node has by way of one group: more are for a person to join. */
export const maxLogsByGroup = 64
/** All of these on one node: some 10 ms of its time an hour each when nothing happens in them. */
export const maxLogsByOthers = 512
/** Records of namespaces in one group's log that are looked at, the newest first, of one author and in all: twice what there may be room for. */
export const maxNamespaceRecordsOfAuthor = 128
export const maxNamespaceRecordsRead = 1_024
/**
 * Waits between tries to join a namespace that a group's log names, milliseconds: doubled from the first, which is `each` for every one that is being joined at
 * the time, to the last, for whoever wrote them down may name addresses of others. News of a role, and a connection to whom the log names, end the wait.
 */
export const groupJoinRetryMs = { from: 2_000, each: 500, to: 10 * 60_000 }
/** So many of them are tried at once, the next each so many milliseconds later: all may name one agent, who takes a flood ill (`syncStreamsPerSecond`). */
export const groupJoinsAtOnce = { count: 16, everyMs: 60 }
/** Invitations of strangers that wait to be looked into, one at a time, in all and of one of them: each costs a question to who sent it. */
export const maxInvitationsInTurn = 128
export const maxInvitationsInTurnOfAgent = 32
/** Between two looks for what has expired among what strangers have room for, in the inbox or a group's log, milliseconds: bounds what they cost once it is full. */
export const strangersSweepMs = 10 * 60_000
/** Contacts of one node. */
export const maxContacts = 10_000
/** Unasked-for news of roles that are kept. */
export const maxInvitations = 64

/** A signed capability, bytes: its URL stays below the 8 KiB that proxies take for a request line. */
export const maxCapabilityBytes = 4 * KiB
/** A capability and the proof of a group's member, bytes, with room. */
export const maxPresentationBytes = maxCapabilityBytes + 256
/** Boxes for capabilities in a put: beside content, metadata and heads at their limits there is room for so many. */
export const maxLabelledBoxesInPut = 64
/** Agents and groups that one capability is for: a fleet of gateways. */
export const maxAudience = 16
/** Providers that a link names, and the addresses of each: with 16 audiences they still fit `maxCapabilityBytes`. */
export const maxLinkProviders = 4
export const maxLinkProviderAddresses = 4
/** A link's file name, UTF-8 bytes: what file systems take. */
export const maxLinkNameBytes = 255
/** How long a link may be good, seconds: 7 days. Whoever needs more shares the artifact. */
export const maxLinkSeconds = 7 * 24 * 3600
/** Times in capabilities, seconds since 1970: the year 2242. Milliseconds are above it, so they are never taken for seconds. */
export const maxCapabilityTime = 2 ** 33
/** How far clocks of two nodes may be apart, milliseconds: a capability is good so much sooner and longer than it says. */
export const clockSkewMs = 60_000

/** An envelope, bytes: a capability of a few hundred, a name and a message. */
export const maxEnvelopeBytes = 16 * KiB
/** The line that goes with a share, UTF-8 bytes. */
export const maxShareMessageBytes = 1 * KiB
/** Envelopes of one delivery, and the delivery with who has what they are about, bytes. */
export const maxEnvelopesInDelivery = 16
export const maxInboxMessageBytes = 512 * KiB
/** Deliveries that are taken at once, of one agent and in all: with the above, 32 MiB. */
export const maxInboxQuestionsOfAgent = 4
export const maxInboxQuestions = 64
/**
 * Deliveries of one stranger in a burst, and then a second. Each is up to 16 envelopes to check and to find room for; there is no room for more than
 * `maxRequestsOfSender` of them, and who is told so comes again later each time.
 */
export const strangersDeliveries = { burst: 32, perSecond: 0.2 }
/** Requests of strangers that wait to be accepted, of one of them and in all. */
export const maxRequestsOfSender = 32
export const maxRequests = 1_000
/** Of these as many have come by what one member of a group wrote down, of whomever: the rest is for others. */
export const maxRequestsByMember = 250
/** Peers that a record in a group's log names, of a share or a namespace: with the envelope they are content inside an entry. */
export const maxPeersInGroupRecord = 4
/** Wait before a group's records are looked at again for each that came to nothing, milliseconds: ten times what reading one takes. */
export const vainRecordPauseMs = 4
/** Requests dropped by this node that it still knows, so that they do not come again. */
export const maxDroppedRequests = 10_000
/** Shares of one sender that an agent follows, and of all of them: about 2 KiB each in memory, so 100 MiB, and a row on the disk. */
export const maxFollowsOfSender = 20_000
export const maxFollows = 50_000
/** Namespaces out of which shares of one sender are followed, and in all: each has a log of its own that is open and kept in step. */
export const maxFollowedNamespacesOfSender = 64
export const maxFollowedNamespaces = 1_024
/** Shares that ended of which a node still says why, and how long it does, milliseconds: after that they are as if they had never been. 30 days. */
export const maxEndedFollows = 10_000
export const endedFollowMs = 30 * 24 * 3600_000
/** Waits before who could not be reached is told again of a share, milliseconds, doubled from the first to the last: who connects is told at once. */
export const deliveryBackoffMs = { from: 1_000, to: 10 * 60_000 }
/** Waits after the answer that there is no room for a share, milliseconds; after so many such answers in a row it is given up: about a day. */
export const fullBackoffMs = { from: 60_000, to: 6 * 3600_000 }
export const maxFullAnswers = 12
/** Agents and groups that are told of shares at once: each may be dialled. */
export const maxDeliveriesAtOnce = 16
/** Between two looks at which deliveries, and shares that ended, need not be remembered any more, milliseconds. A day. */
export const forgetEveryMs = 24 * 3600_000

/** A ticket's text, characters: fits a chat message. */
export const maxTicketText = 4 * KiB
/** Peers that a ticket names. */
export const maxTicketPeers = 16
/** Addresses of one peer in a ticket. */
export const maxTicketAddresses = 8
/** One address in a ticket, bytes. */
export const maxTicketAddressBytes = 256

/** A plan bounds one namespace; a quota never decides whether an entry counts. */
export interface PlanLimits {
  /** Largest file, plaintext bytes. */
  readonly maxFileBytes: number
  /** Distinct live leaves in all, bytes; Infinity is no bound. */
  readonly maxTotalBytes: number
}

/** The plans. */
export const plans = {
  free: { maxFileBytes: 10 * MB, maxTotalBytes: 100 * MB },
  starter: { maxFileBytes: 100 * MB, maxTotalBytes: 10 * GB },
  pro: { maxFileBytes: 1 * GB, maxTotalBytes: 100 * GB },
  team: { maxFileBytes: 10 * GB, maxTotalBytes: 1 * TB },
  enterprise: { maxFileBytes: 100 * GB, maxTotalBytes: Number.POSITIVE_INFINITY },
} as const satisfies Record<string, PlanLimits>

/** The name of a plan. */
export type PlanName = keyof typeof plans
