import {
  type CapabilityClaims,
  decodeUnverifiedCapability,
  decodeUnverifiedEnvelope,
  encodeClaims,
} from '../capability/index.ts'
import type { ClockReading } from '../catalog/index.ts'
import {
  artifactIdBytes,
  artifactIdOf,
  bytesText,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  prefixEnd,
  Reader,
} from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { maxEntryBytes, maxEnvelopeBytes } from '../limits.ts'
import type { Entry } from '../log/index.ts'
import { type Keyring, openShareBody } from '../sharing/index.ts'
import type { KeyValueStore } from '../storage/index.ts'
import { openArtifactKey, type SecretReader, storedSecrets } from './secrets.ts'
import type { StoredLog } from './stored-log.ts'
import type { NamespaceKeys } from './tables.ts'

/** A capability that the log says was given, as those who may list it read it. */
export interface Share {
  /** Hash of the entry. */
  readonly entry: Uint8Array
  /** 16 bytes that with the namespace make the artifact's id. */
  readonly artifactSalt: Uint8Array
  readonly clock: ClockReading
  readonly claims: CapabilityClaims
  /** What was said with it. */
  readonly message: string | undefined
}

/** What shares are read from. */
interface ShareBookInit {
  readonly id: Uint8Array
  readonly store: KeyValueStore
  readonly keys: NamespaceKeys
  readonly log: StoredLog
  readonly keyring: Keyring
}

const formatVersion = 1
/** Some 700 bytes each. */
const maxKeptShares = 100_000
const batchRows = 500
const hashBytes = 32
const chainBytes = 16

interface HashesOptions {
  readonly limit?: number
  /** Only entries of these chains, as text. */
  readonly chains?: ReadonlySet<string>
  readonly signal?: AbortSignal | undefined
}

/**
 * The shares of a namespace. Each is opened when it is first asked for and then kept: what an entry says never changes. Those of
 * which this agent has no key yet are looked at again. One that several entries tell of is given once.
 */
export class ShareBook {
  readonly #init: ShareBookInit
  /** By hash of the entry; `undefined` of those that say nothing. */
  readonly #opened = new Map<string, Share | undefined>()
  /** `undefined` when it is to be looked for. */
  #hasAny: boolean | undefined

  constructor(init: ShareBookInit) {
    this.#init = init
  }

  /** Shares of an artifact that are in the store and can be read here, by jti, then hash. */
  async of(artifact: Uint8Array): Promise<Share[]> {
    return await Array.fromAsync(this.#in([artifact]))
  }

  /** The share of that name; `undefined` when it is not here or cannot be read. */
  async get(artifact: Uint8Array, jti: Uint8Array): Promise<Share | undefined> {
    for await (const share of this.#in([artifact, jti])) return share
    return undefined
  }

  /** Every share that can be read here, by artifact. */
  all(signal?: AbortSignal): AsyncGenerator<Share, void, undefined> {
    return this.#in([], { signal })
  }

  /** As `all`, of some chains (`bytesText` of their 16 bytes). */
  ofChains(chains: ReadonlySet<string>, signal?: AbortSignal): AsyncGenerator<Share, void, undefined> {
    return this.#in([], { chains, signal })
  }

  /** Artifacts (20 bytes) of which there are shares in the store, readable or not, ascending. Reads no entry. */
  async *artifacts(): AsyncGenerator<Uint8Array, void, undefined> {
    const { keys, store } = this.#init
    const { gte, lt } = keys.all('shares')
    let last: Uint8Array | undefined
    for await (const [key] of store.entries({ gte, lt })) {
      const artifact = key.slice(gte.length, gte.length + artifactIdBytes)
      if (last === undefined || !equalBytes(last, artifact)) yield artifact
      last = artifact
    }
  }

  /** Whether there is any share in the store, readable or not. */
  async hasAny(): Promise<boolean> {
    if (this.#hasAny !== undefined) return this.#hasAny
    let hasAny = false
    for await (const _ of this.#hashes([], { limit: 1 })) hasAny = true
    this.#hasAny = hasAny
    return hasAny
  }

  /** There may be shares in the store that were not there before. */
  noteStored(): void {
    if (this.#hasAny === false) this.#hasAny = undefined
  }

  /** Hashes of the entries, readable or not, of an artifact's share; with `chains` (`bytesText` of their 16 bytes) only of these. */
  async entriesOf(artifact: Uint8Array, jti: Uint8Array, chains?: ReadonlySet<string>): Promise<Uint8Array[]> {
    return await Array.fromAsync(this.#hashes([artifact, jti], chains && { chains }))
  }

  /** What a share entry says; `undefined` when it cannot be read here, or says what its author cannot give. */
  async read(entry: Entry, reader: SecretReader): Promise<Share | undefined> {
    const name = bytesText(entry.hash)
    if (this.#opened.has(name)) return this.#opened.get(name)
    const secret = await bodySecretOf(entry, reader)
    if (secret === undefined) return undefined
    // What says nothing with its key never will.
    const share = this.#shareIn(entry, secret)
    this.#remember(entry.hash, share)
    return share
  }

  #shareIn(entry: Entry, secret: Uint8Array): Share | undefined {
    const shared = sharedIn(entry, this.#init.id, secret)
    const said = shared && saidIn(shared)
    const { data, author, grant, clock } = entry.header
    if (said === undefined || data?.jti === undefined || grant === undefined) return undefined
    const { claims, message } = said
    const { id } = this.#init
    // Its author signed the entry, so what is in it need not be checked again; but only of what they give themselves.
    const isOwn =
      equalBytes(claims.issuer, author) &&
      equalBytes(claims.grant, grant) &&
      equalBytes(claims.jti, data.jti) &&
      equalBytes(claims.namespace, id) &&
      equalBytes(claims.artifact, artifactIdOf(id, data.artifactSalt))
    return isOwn ? { entry: entry.hash, artifactSalt: data.artifactSalt, clock, claims, message } : undefined
  }

  /** Keeps what a share in the store says, to spare whoever just wrote it opening it. */
  keep(share: Share): void {
    this.#remember(share.entry, share)
  }

  #remember(entry: Uint8Array, share: Share | undefined): void {
    if (this.#opened.size >= maxKeptShares) this.#opened.delete(this.#opened.keys().next().value as string)
    this.#opened.set(bytesText(entry), share)
  }

  async *#in(
    prefix: readonly Uint8Array[],
    options: Omit<HashesOptions, 'limit'> = {},
  ): AsyncGenerator<Share, void, undefined> {
    const reader = this.#reader
    let hashes: Uint8Array[] = []
    const isNew = onceEach()
    const flush = async () => {
      const missing = hashes.filter((hash) => !this.#opened.has(bytesText(hash)))
      for (const entry of await this.#init.log.unverifiedMany(missing)) await this.read(entry, reader)
      const found = hashes.flatMap((hash) => this.#opened.get(bytesText(hash)) ?? [])
      hashes = []
      return found.filter(isNew)
    }
    for await (const hash of this.#hashes(prefix, options)) {
      hashes.push(hash)
      if (hashes.length === batchRows) yield* await flush()
    }
    yield* await flush()
  }

  async *#hashes(
    prefix: readonly Uint8Array[],
    { limit, chains, signal }: HashesOptions = {},
  ): AsyncGenerator<Uint8Array> {
    const { keys, store } = this.#init
    const gte = keys.key('shares', ...prefix)
    const range = { gte, lt: prefixEnd(gte) as Uint8Array, ...(limit !== undefined && { limit }) }
    for await (const [key, place] of store.entries(range, signal && { signal })) {
      const isAsked = chains === undefined || chains.has(bytesText(place.subarray(0, chainBytes)))
      if (isAsked) yield key.slice(key.length - hashBytes)
    }
  }

  get #reader(): SecretReader {
    return storedSecrets({ ...this.#init, env: this.#init })
  }
}

/**
 * Whether a share says what none did before it, of shares in the order of their jtis. Each of a jti that several have is encoded once: anyone who
 * may write can give any number one jti.
 */
function onceEach(): (share: Share) => boolean {
  let last: Share | undefined
  let said: Set<string> | undefined
  return (share) => {
    const isSameName = last !== undefined && equalBytes(last.claims.jti, share.claims.jti)
    if (last === undefined || !isSameName) {
      last = share
      said = undefined
      return true
    }
    said ??= new Set([bytesText(encodeClaims(last.claims))])
    const before = said.size
    return said.add(bytesText(encodeClaims(share.claims))).size > before
  }
}

/** What a share entry holds: an envelope, or the token of a link that follows its artifact. */
export interface SharedBytes {
  readonly kind: CapabilityClaims['kind']
  readonly bytes: Uint8Array
}

/** A share's body before encryption: canonical DAG-CBOR `{ v: 1, kind, cap }`. */
export function encodeShareBody({ kind, bytes }: SharedBytes): Uint8Array<ArrayBuffer> {
  return encodeCanonical({ v: formatVersion, kind, cap: bytes })
}

/** What a share entry holds; `undefined` when it cannot be read here. */
export async function openShared(entry: Entry, reader: SecretReader): Promise<SharedBytes | undefined> {
  const secret = await bodySecretOf(entry, reader)
  return secret && sharedIn(entry, reader.namespace, secret)
}

/** The secret that the body of a share is under; `undefined` when it is not known here, for other entries, and where the body is not here. */
async function bodySecretOf({ header, body }: Entry, reader: SecretReader): Promise<Uint8Array | undefined> {
  const { kind, data, keyId } = header
  if (kind !== 'share' || data === undefined || keyId === undefined || body === undefined) return undefined
  const { namespace, keyring } = reader
  const artifact = artifactIdOf(namespace, data.artifactSalt)
  return keyring.epoch(keyId)?.secret ?? (await openArtifactKey(reader, artifact, keyId, []))?.secret
}

function sharedIn({ header, body }: Entry, namespace: Uint8Array, secret: Uint8Array): SharedBytes | undefined {
  const { data, grant, author, incarnation, seq } = header
  if (data === undefined || grant === undefined || body === undefined) return undefined
  const artifact = artifactIdOf(namespace, data.artifactSalt)
  try {
    const plaintext = openShareBody({ secret, namespace, artifact }, body, {
      namespace,
      author,
      grant,
      incarnation,
      seq,
    })
    const value = Reader.map(decodeCanonical(plaintext, { maxBytes: maxEntryBytes, what: 'a share' }), 'share')
    if (value.integer('v', 0, Number.MAX_SAFE_INTEGER) !== formatVersion) return undefined
    const kind = value.oneOf('kind', ['share', 'link'] as const)
    const bytes = value.someBytes('cap', maxEnvelopeBytes)
    value.end()
    return { kind, bytes }
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

function saidIn({ kind, bytes }: SharedBytes): Pick<Share, 'claims' | 'message'> | undefined {
  try {
    if (kind === 'share') {
      const { capability, message } = decodeUnverifiedEnvelope(bytes)
      return { claims: capability.claims, message }
    }
    const { claims } = decodeUnverifiedCapability(bytes)
    return claims.kind === 'link' ? { claims, message: undefined } : undefined
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}
