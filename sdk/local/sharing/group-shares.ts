import {
  type Capability,
  capabilityName,
  type Envelope,
  type ShareClaims,
  timeOf,
} from '../../../src/capability/index.ts'
import type { VersionRecord } from '../../../src/catalog/index.ts'
import { readContent, sealInline } from '../../../src/content/index.ts'
import {
  artifactSaltBytes,
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  formatArtifactId,
  Reader,
  toHex,
} from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import type { Delivery, KnownPeer, Receipt } from '../../../src/exchange/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import {
  clockSkewMs,
  maxEnvelopeBytes,
  maxInlineBytes,
  maxPeersInGroupShare,
  maxRequests,
  maxRequestsOfSender,
  maxTicketAddressBytes,
  maxTicketAddresses,
} from '../../../src/limits.ts'
import { writeFirstVersion } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { LocalNamespaces, OpenNamespace } from '../namespaces.ts'
import { opened } from './inbox.ts'

/** What was shared with a group is a record of this type in the group's log. */
const groupShareType = 'application/vnd.artifact-hub.share'

const formatVersion = 1

interface GroupSharesOptions {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  readonly isContact: (agent: Uint8Array) => boolean
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
}

/** What others share with groups that this agent is in: whichever member hears of it writes it into the group's log, for all of them. */
export class GroupShares {
  readonly #options: GroupSharesOptions
  /** One deposit at a time: what is there already is not written again. */
  #turn: Promise<unknown> = Promise.resolve()

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

  /**
   * What a group's log tells of, the newest first.
   * @param skip those that need not be read, by name (`capabilityName`)
   */
  async *sharesIn(
    { log }: OpenNamespace,
    skip: (name: Uint8Array) => boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ListedShare, void, undefined> {
    let cursor: string | undefined
    do {
      const page = await log.catalog.list({ contentType: groupShareType, cursor, signal })
      for (const record of page.items) {
        const name = capabilityIn(record.state.name)
        if (name === undefined || skip(name)) continue
        const share = await this.#read(log, record)
        if (share === undefined || !equalBytes(capabilityName(share.capability.claims), name)) continue
        yield { ...share, isStrange: record.state.metadata.stranger === true }
      }
      cursor = page.nextCursor
    } while (cursor !== undefined)
  }

  async #deposit(group: OpenNamespace, bytes: Uint8Array, peers: readonly KnownPeer[]): Promise<Receipt> {
    const { log } = group
    const envelope = opened(bytes)
    if (envelope === undefined || !this.#isFor(envelope, log.id)) return 'refused'
    const { claims } = envelope.capability
    const name = nameOf(capabilityName(claims))
    if ((await log.catalog.findByName(name)) !== undefined) return 'taken'
    const isKnown = this.#options.isContact(claims.issuer) || log.roleOf(claims.issuer) !== undefined
    if (!isKnown && !(await this.#hasRoom(group, claims.issuer))) return 'full'
    await this.#write(group, name, envelope, { v: formatVersion, env: bytes, peers: rowsOf(peers) }, !isKnown)
    return 'taken'
  }

  async #write(
    { log, quota }: OpenNamespace,
    name: string,
    { capability: { claims } }: Envelope,
    record: unknown,
    isStrange: boolean,
  ): Promise<void> {
    const salt = log.env.random(artifactSaltBytes)
    const artifact = log.artifactOf(salt)
    const key = log.newArtifactKey(artifact)
    const { leaf, sha256, ...root } = sealInline(encodeCanonical(record), key.content)
    const from = formatDid(claims.issuer)
    const metadata = { from, artifact: formatArtifactId(claims.artifact), ...(isStrange ? { stranger: true } : {}) }
    await writeFirstVersion(log, {
      handle: { artifact, salt, key },
      wrap: undefined,
      isNew: true,
      state: { name, contentType: groupShareType, metadata },
      content: { root: { ...root, inline: true, keyId: key.id }, sha256, leaf },
      quota,
      reservation: undefined,
      also: [],
    })
  }

  /** Strangers fill nobody's log: as many as wait in an agent's own list. */
  async #hasRoom({ log }: OpenNamespace, issuer: Uint8Array): Promise<boolean> {
    const strange = { contentType: groupShareType, metadataFilter: { stranger: true } }
    const all = await log.catalog.list({ ...strange, limit: maxRequests })
    const own = { ...strange, metadataFilter: { stranger: true, from: formatDid(issuer) } }
    const ofIssuer = await log.catalog.list({ ...own, limit: maxRequestsOfSender })
    return all.items.length < maxRequests && ofIssuer.items.length < maxRequestsOfSender
  }

  async #read(log: OpenNamespace['log'], { artifact, root }: VersionRecord): Promise<GroupShare | undefined> {
    if (!root.inline) return undefined
    try {
      const { content: keys } = await log.artifactKey(artifact, root.keyId)
      const { engine } = this.#options.env
      const pieces = await Array.fromAsync(readContent({ root, keys, engine, blocks: log.blocks }))
      return decodeRecord(concatBytes(...pieces))
    } catch (error) {
      // Any member may have written it: under a key that nobody has, or of what nobody can read. It keeps from no other.
      if (unreadable.some((code) => isHubError(error, code))) return undefined
      throw error
    }
  }

  #isFor({ capability: { claims } }: Envelope, group: Uint8Array): boolean {
    const isOpen = timeOf(claims, this.#options.env.now(), clockSkewMs) !== 'expired'
    return isOpen && claims.audience.some(({ kind, id }) => kind === 'group' && equalBytes(id, group))
  }
}

const unreadable = ['CORRUPT', 'UNSUPPORTED_FORMAT', 'ACCESS_DENIED', 'NOT_FOUND', 'UNAVAILABLE'] as const

/** `{ v: 1, env: envelope, peers: [[agent, [address…]]…] }` */
function decodeRecord(bytes: Uint8Array): GroupShare | undefined {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxInlineBytes, what: 'a share' }), 'share')
  if (reader.integer('v', 0, Number.MAX_SAFE_INTEGER) !== formatVersion) return undefined
  const envelope = reader.someBytes('env', maxEnvelopeBytes)
  const content = opened(envelope)
  const peers = reader.array('peers', 0, maxPeersInGroupShare).mapLists(2, (row): KnownPeer => {
    const agent = row.bytes(0, 32)
    const addresses = row.array(1, 0, maxTicketAddresses)
    const texts = Array.from({ length: addresses.length }, (_, at) => addresses.text(at, maxTicketAddressBytes))
    return { agent, addresses: texts }
  })
  reader.end()
  return content && { capability: content.capability, peers, envelope }
}

function rowsOf(peers: readonly KnownPeer[]): unknown[] {
  return peers
    .slice(0, maxPeersInGroupShare)
    .map(({ agent, addresses }) => [agent, addresses.slice(0, maxTicketAddresses)])
}

function nameOf(capability: Uint8Array): string {
  return `share-${toHex(capability)}`
}

function capabilityIn(name: string): Uint8Array | undefined {
  const hex = /^share-([0-9a-f]{32})$/.exec(name)?.[1]
  return hex === undefined ? undefined : new Uint8Array(Buffer.from(hex, 'hex'))
}
