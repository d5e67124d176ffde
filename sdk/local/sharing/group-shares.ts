import {
  type Capability,
  capabilityName,
  type Envelope,
  type ShareClaims,
  timeOf,
} from '../../../src/capability/index.ts'
import type { VersionRecord } from '../../../src/catalog/index.ts'
import {
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  formatArtifactId,
  Reader,
  toHex,
} from '../../../src/encoding/index.ts'
import type { Delivery, KnownPeer, Receipt } from '../../../src/exchange/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import {
  clockSkewMs,
  maxEnvelopeBytes,
  maxInlineBytes,
  maxRequests,
  maxRequestsOfSender,
  strangersSweepMs,
} from '../../../src/limits.ts'
import type { LocalEnvironment } from '../environment.ts'
import { deleteRecord, peerRows, peersIn, readRecord, recordsOf, writeRecord } from '../groups/group-records.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces } from '../namespaces.ts'
import { believedPeers } from '../replication/public-address.ts'
import { opened } from './inbox.ts'

/** What was shared with a group is a record of this type in the group's log. */
const groupShareType = 'application/vnd.artifact-hub.share'

const formatVersion = 1

/** Records of one name that are looked at, the newest first. */
const maxRecordsOfName = 64

interface GroupSharesOptions {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  readonly isContact: (agent: Uint8Array) => boolean
  /** Whether this agent dropped the share of that name. */
  readonly isDropped: (name: Uint8Array) => boolean
  /** Whether this agent followed the share of that name (`capabilityName`), and it has ended for good. */
  readonly hasEnded: (name: Uint8Array) => boolean
}

/** A share that a group's log tells of. */
export interface GroupShare {
  readonly capability: Capability<ShareClaims>
  readonly peers: readonly KnownPeer[]
  /** As it was signed. */
  readonly envelope: Uint8Array
}

/** A share, and whether the member who wrote it down knew who shared it. */
export interface ListedShare extends GroupShare {
  readonly isStrange: boolean
  /** Raw public key of that member. */
  readonly author: Uint8Array
}

/** What others share with groups that this agent is in: whichever member hears of it writes it into the group's log, for all of them. */
export class GroupShares {
  readonly #options: GroupSharesOptions
  /** One deposit at a time: what is there already is not written again. */
  #turn: Promise<unknown> = Promise.resolve()
  /** By group in hex, when room was last looked for, milliseconds since 1970. */
  readonly #sweptMs = new Map<string, number>()

  constructor(options: GroupSharesOptions) {
    this.#options = options
  }

  /** Writes envelopes into a group's log unless it has them; `undefined` when this agent may not write there. */
  depositAll(group: Uint8Array, delivery: Delivery): Promise<readonly Receipt[] | undefined> {
    const deposit = this.#turn.then(async () => {
      const open = this.#options.namespaces.groups.find(({ row }) => equalBytes(row.id, group))
      const role = open?.log.roleOf(this.#options.env.agent.publicKey)
      if (open === undefined || role === undefined || role === 'reader' || role === 'replica') return undefined
      const receipts: Receipt[] = []
      for (const envelope of delivery.envelopes) receipts.push(await this.#deposit(open, envelope, delivery.peers))
      return receipts
    })
    this.#turn = deposit.catch(() => {})
    return deposit
  }

  /** Takes a stranger's share that an admin does not want out of the log of a group, for all: so there is room for others. */
  async drop(group: Uint8Array, capability: Uint8Array): Promise<void> {
    const open = this.#options.namespaces.groups.find(({ row }) => equalBytes(row.id, group))
    const role = open?.log.roleOf(this.#options.env.agent.publicKey)
    if (open === undefined || (role !== 'owner' && role !== 'admin')) return
    const named = { contentType: groupShareType, namePrefix: nameOf(capability), limit: maxRecordsOfName }
    for (const record of (await open.log.catalog.list(named)).items)
      if (record.state.metadata.stranger === true) await deleteRecord(open, record)
  }

  /**
   * What a group's log tells of, the newest first.
   * @param skip those that need not be read, by name (`capabilityName`)
   */
  async *sharesIn(
    group: OpenNamespace,
    skip: (name: Uint8Array) => boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ListedShare, void, undefined> {
    for await (const record of recordsOf(group, groupShareType, signal)) {
      const name = capabilityIn(record.state.name)
      if (name === undefined || skip(name)) continue
      const share = await this.#read(group, record)
      if (share === undefined || !equalBytes(capabilityName(share.capability.claims), name)) continue
      const peers = believedPeers(share.peers, this.#options.isContact(record.author))
      yield { ...share, peers, isStrange: record.state.metadata.stranger === true, author: record.author }
    }
  }

  async #read(group: OpenNamespace, record: VersionRecord): Promise<GroupShare | undefined> {
    return await readRecord(this.#options.env, group, record, decodeShare)
  }

  async #deposit(group: OpenNamespace, bytes: Uint8Array, peers: readonly KnownPeer[]): Promise<Receipt> {
    const { log } = group
    const { isDropped } = this.#options
    const envelope = opened(bytes)
    if (envelope === undefined || !this.#isFor(envelope, log.id)) return 'refused'
    const { claims } = envelope.capability
    const name = nameOf(capabilityName(claims))
    if (isDropped(capabilityName(claims)) || (await this.#isWritten(group, claims))) return 'taken'
    const isKnown = this.#options.isContact(claims.issuer) || log.roleOf(claims.issuer) !== undefined
    if (!isKnown && !(await this.#hasRoom(group, claims.issuer))) return 'full'
    await this.#write(group, name, envelope, { v: formatVersion, env: bytes, peers: peerRows(peers) }, !isKnown)
    return 'taken'
  }

  /** Whether the group's log has a share. Records of its name that hold something else, as any member may write, are taken out. */
  async #isWritten(group: OpenNamespace, claims: ShareClaims): Promise<boolean> {
    const name = capabilityName(claims)
    const named = { contentType: groupShareType, namePrefix: nameOf(name), limit: maxRecordsOfName }
    for (const record of (await group.log.catalog.list(named)).items) {
      const share = await this.#read(group, record)
      if (share === undefined) continue
      if (equalBytes(capabilityName(share.capability.claims), name)) return true
      await deleteRecord(group, record)
    }
    return false
  }

  async #write(
    group: OpenNamespace,
    name: string,
    { capability: { claims } }: Envelope,
    record: unknown,
    isStrange: boolean,
  ): Promise<void> {
    const from = formatDid(claims.issuer)
    const metadata = { from, artifact: formatArtifactId(claims.artifact), ...(isStrange ? { stranger: true } : {}) }
    await writeRecord(group, { name, contentType: groupShareType, metadata, content: encodeCanonical(record) })
  }

  /** Strangers fill nobody's log: as many as wait in an agent's own list, of what may still be good. */
  async #hasRoom(group: OpenNamespace, issuer: Uint8Array): Promise<boolean> {
    if (await isRoom(group, issuer)) return true
    return (await this.#free(group)) > 0 && (await isRoom(group, issuer))
  }

  /** Ends the records of strangers' shares that have expired or, as this agent knows, ended. Gives how many. */
  async #free(group: OpenNamespace): Promise<number> {
    const { env, hasEnded } = this.#options
    const key = toHex(group.log.id)
    const now = env.now()
    if (now - (this.#sweptMs.get(key) ?? Number.NEGATIVE_INFINITY) < strangersSweepMs) return 0
    this.#sweptMs.set(key, now)
    let freed = 0
    for (const record of await Array.fromAsync(recordsOf(group, groupShareType, undefined))) {
      if (record.state.metadata.stranger !== true) continue
      const name = capabilityIn(record.state.name)
      const share = name && (await this.#read(group, record))
      // What cannot be read here somebody else may read.
      if (name === undefined || share === undefined) continue
      if (isOpen(share.capability.claims, now) && !hasEnded(name)) continue
      await deleteRecord(group, record)
      freed += 1
    }
    return freed
  }

  #isFor({ capability: { claims } }: Envelope, group: Uint8Array): boolean {
    return (
      isOpen(claims, this.#options.env.now()) &&
      claims.audience.some(({ kind, id }) => kind === 'group' && equalBytes(id, group))
    )
  }
}

async function isRoom({ log }: OpenNamespace, issuer: Uint8Array): Promise<boolean> {
  const strange = { contentType: groupShareType, metadataFilter: { stranger: true } }
  const all = await log.catalog.list({ ...strange, limit: maxRequests })
  const own = { ...strange, metadataFilter: { stranger: true, from: formatDid(issuer) } }
  const ofIssuer = await log.catalog.list({ ...own, limit: maxRequestsOfSender })
  return all.items.length < maxRequests && ofIssuer.items.length < maxRequestsOfSender
}

function isOpen(claims: ShareClaims, nowMs: number): boolean {
  return timeOf(claims, nowMs, clockSkewMs) !== 'expired'
}

/** `{ v: 1, env: envelope, peers: [[agent, [address…]]…] }` */
function decodeShare(bytes: Uint8Array): GroupShare | undefined {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxInlineBytes, what: 'a share' }), 'share')
  if (reader.integer('v', 0, Number.MAX_SAFE_INTEGER) !== formatVersion) return undefined
  const envelope = reader.someBytes('env', maxEnvelopeBytes)
  const content = opened(envelope)
  const peers = peersIn(reader)
  reader.end()
  return content && { capability: content.capability, peers, envelope }
}

function nameOf(capability: Uint8Array): string {
  return `share-${toHex(capability)}`
}

function capabilityIn(name: string): Uint8Array | undefined {
  const hex = /^share-([0-9a-f]{32})$/.exec(name)?.[1]
  return hex === undefined ? undefined : new Uint8Array(Buffer.from(hex, 'hex'))
}
