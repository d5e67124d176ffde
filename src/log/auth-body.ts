import {
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  Reader,
  requireFormatVersion,
} from '../encoding/index.ts'
import {
  maxBoxesInEntry,
  maxCuts,
  maxEntryBytes,
  maxProofEntries,
  maxRevokedCapabilities,
  maxRevokedGrants,
} from '../limits.ts'
import type { EntryHeader, KeySection } from './entry.ts'
import { malformed } from './malformed.ts'

const formatVersion = 1
const grantPrefixBytes = 8
const nonceBytes = 16
const jtiBytes = 16
const namespaceTypes = ['namespace', 'group'] as const
const grantedRoles = ['admin', 'writer', 'reader', 'replica'] as const
const groupRoles = [...grantedRoles, 'none'] as const

/** What a grant can give; the owner's role comes from the genesis alone. */
export type GrantedRole = (typeof grantedRoles)[number]

/** The last entry of a chain that still counts: (grant, incarnation, seq, hash). */
export interface Cut {
  /** Hash of one of the grants that the revoke names. */
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
  readonly hash: Uint8Array
}

/** Starts a namespace, or a group, which is one of agents and nothing else to those outside. */
export interface GenesisBody {
  readonly kind: 'genesis'
  readonly type: (typeof namespaceTypes)[number]
  /** 16 bytes: one agent can own several namespaces. */
  readonly nonce: Uint8Array
}

/** Gives an agent a role. */
export interface GrantBody {
  readonly kind: 'grant'
  /** Raw Ed25519 public key, 32 bytes. */
  readonly agent: Uint8Array
  readonly role: GrantedRole
  /** Whether the epoch secret `header.keyId` is sealed to the agent in the keys section. Never to a replica. */
  readonly sealed: boolean
  /** The group (32 bytes) that the agent has the role through; `undefined` when it has it by name. */
  readonly via?: Uint8Array | undefined
}

/** Ends grants of an agent; of their chains counts what the cuts say, and nothing of incarnations that have no cut. */
export interface RevokeBody {
  readonly kind: 'revoke'
  readonly agent: Uint8Array
  /** Hashes of the grants that end: ascending, 1 to 64. */
  readonly grants: readonly Uint8Array[]
  /** At most one for a grant and incarnation; ascending by grant, then incarnation; at most 512. */
  readonly cuts: readonly Cut[]
}

/** Lets a chain count up to and with an entry, on that entry's branch. */
export interface AdoptBody {
  readonly kind: 'adopt'
  readonly agent: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
  readonly hash: Uint8Array
}

/** Brings (rotate) the epoch secret `header.keyId`, or seals one that is there to more (keys). */
export interface SealingBody {
  readonly kind: 'rotate' | 'keys'
  /**
   * For each box, the first 8 bytes of the hash of the grant that it is sealed to (of the genesis, for the owner):
   * ascending, 1 to 128.
   */
  readonly to: readonly Uint8Array[]
  /** Rotates of groups: raw Ed25519 public key (32 bytes) of the pair that derives from the epoch's secret. */
  readonly publicKey?: Uint8Array | undefined
  /** Rotates of groups: 1 + the highest of the epochs that its author knew, from 1. */
  readonly number?: number | undefined
}

/** Ends capabilities. */
export interface RevokeCapabilityBody {
  readonly kind: 'revoke-capability'
  /** Ascending, 1 to 256; 16 bytes each. */
  readonly jtis: readonly Uint8Array[]
}

/** Records what a group's descriptor was, so that everyone here knows by which epoch its members are told. */
export interface DescriptorBody {
  readonly kind: 'descriptor'
  /** Hash of the group's genesis, 32 bytes. */
  readonly group: Uint8Array
  /** Entries of the group's log, stored bytes, at least one; not checked here. */
  readonly proof: readonly Uint8Array[]
  /** The role that the group's members have here from now on; `undefined` when that is not what it is about. */
  readonly role: GroupRole | undefined
}

/** What the members of a group are in a namespace; `none`: nothing, by way of the group. */
export type GroupRole = (typeof groupRoles)[number]

/** What an auth entry says, in public. */
export type AuthBody =
  | GenesisBody
  | GrantBody
  | RevokeBody
  | AdoptBody
  | SealingBody
  | RevokeCapabilityBody
  | DescriptorBody

/** How a grant is named in `SealingBody.to`. */
export function grantPrefix(grant: Uint8Array): Uint8Array {
  return grant.subarray(0, grantPrefixBytes)
}

/** The body's bytes: canonical DAG-CBOR, layout in the README. */
export function encodeAuthBody(body: AuthBody): Uint8Array<ArrayBuffer> {
  switch (body.kind) {
    case 'genesis':
      return encodeCanonical({ v: formatVersion, nonce: body.nonce, type: namespaceTypes.indexOf(body.type) })
    case 'grant':
      return encodeCanonical({
        v: formatVersion,
        agent: body.agent,
        role: body.role,
        to: body.sealed,
        via: body.via ?? null,
      })
    case 'revoke': {
      const { agent, grants, cuts } = body
      const rows = cuts.map((cut) => {
        const index = grants.findIndex((grant) => equalBytes(grant, cut.grant))
        return [index, cut.incarnation, cut.seq, cut.hash]
      })
      return encodeCanonical({ v: formatVersion, agent, grants, cuts: rows })
    }
    case 'adopt': {
      const { agent, grant, incarnation, seq, hash } = body
      return encodeCanonical({ v: formatVersion, agent, grant, inc: incarnation, seq, hash })
    }
    case 'rotate': {
      const { to, publicKey = null, number = 0 } = body
      return encodeCanonical({ v: formatVersion, to: concatBytes(...to), pub: publicKey, gen: number })
    }
    case 'keys':
      return encodeCanonical({ v: formatVersion, to: concatBytes(...body.to) })
    case 'revoke-capability':
      return encodeCanonical({ v: formatVersion, jtis: body.jtis })
    case 'descriptor': {
      const { group, proof, role } = body
      return encodeCanonical({ v: formatVersion, group, proof, role: role ?? null })
    }
  }
}

/**
 * What an auth entry's body says; `undefined` for a data entry.
 *
 * @throws CORRUPT, and UNSUPPORTED_FORMAT when its format has another version
 */
export function decodeAuthBody(header: EntryHeader, bytes: Uint8Array | undefined): AuthBody | undefined {
  if (header.data !== undefined) return undefined
  if (bytes === undefined) throw malformed('an auth entry has a body')
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'an entry body' }), 'body')
  requireFormatVersion(reader.integer('v', 0, Number.MAX_SAFE_INTEGER), formatVersion, 'what this entry says')
  const body = readBody(header, reader)
  reader.end()
  return body
}

function readBody({ kind, keyId }: EntryHeader, reader: Reader): AuthBody {
  switch (kind) {
    case 'genesis': {
      const nonce = reader.bytes('nonce', nonceBytes)
      const type = namespaceTypes[reader.integer('type', 0, namespaceTypes.length - 1)]
      return { kind, nonce, type: type as GenesisBody['type'] }
    }
    case 'grant': {
      const role = reader.oneOf('role', grantedRoles)
      const agent = reader.bytes('agent', 32)
      const body = { kind, agent, role, sealed: reader.boolean('to'), via: reader.optionalBytes('via', 32) }
      if (body.sealed !== (keyId !== undefined)) throw malformed('a grant says whether it brings a key')
      if (body.sealed && role === 'replica') throw malformed('a replica is given no key')
      return body
    }
    case 'revoke':
      return readRevoke(reader)
    case 'adopt':
      return {
        kind,
        agent: reader.bytes('agent', 32),
        grant: reader.bytes('grant', 32),
        incarnation: reader.bytes('inc', 16),
        seq: reader.integer('seq', 0, Number.MAX_SAFE_INTEGER),
        hash: reader.bytes('hash', 32),
      }
    case 'rotate':
      return readRotate(reader)
    case 'keys':
      return { kind, to: readTo(reader) }
    case 'revoke-capability': {
      const jtis = reader.bytesArray('jtis', jtiBytes, maxRevokedCapabilities)
      if (jtis.length === 0) throw malformed('it names the capabilities that it ends')
      return { kind, jtis }
    }
    case 'descriptor': {
      const group = reader.bytes('group', 32)
      const entries = reader.array('proof', 1, maxProofEntries)
      const proof = Array.from({ length: entries.length }, (_, at) => entries.someBytes(at, maxEntryBytes))
      return { kind, group, proof, role: reader.optionalOneOf('role', groupRoles) }
    }
    default:
      throw malformed(`a ${kind} has data`)
  }
}

function readRevoke(reader: Reader): RevokeBody {
  const agent = reader.bytes('agent', 32)
  const grants = reader.bytesArray('grants', 32, maxRevokedGrants)
  if (grants.length === 0) throw malformed('a revoke names the grants that it ends')
  const places: Uint8Array[] = []
  const cuts = reader.array('cuts', 0, maxCuts).mapLists(4, (row): Cut => {
    const index = row.integer(0, 0, grants.length - 1)
    const incarnation = row.bytes(1, 16)
    places.push(concatBytes(Uint8Array.of(index), incarnation))
    const seq = row.integer(2, 0, Number.MAX_SAFE_INTEGER)
    return { grant: grants[index] as Uint8Array, incarnation, seq, hash: row.bytes(3, 32) }
  })
  requireAscending(places, 'cuts')
  return { kind: 'revoke', agent, grants, cuts }
}

function readRotate(reader: Reader): SealingBody {
  const body = { kind: 'rotate' as const, to: readTo(reader), publicKey: reader.optionalBytes('pub', 32) }
  const number = reader.integer('gen', 0, Number.MAX_SAFE_INTEGER)
  if ((number === 0) !== (body.publicKey === undefined)) throw malformed('an epoch of a group has a key and a number')
  return { ...body, number: number === 0 ? undefined : number }
}

function readTo(reader: Reader): Uint8Array[] {
  const bytes = reader.someBytes('to', grantPrefixBytes * maxBoxesInEntry)
  if (bytes.length === 0 || bytes.length % grantPrefixBytes !== 0) throw malformed('to is not a list of grants')
  const prefixes = Array.from({ length: bytes.length / grantPrefixBytes }, (_, index) =>
    bytes.subarray(index * grantPrefixBytes, (index + 1) * grantPrefixBytes),
  )
  requireAscending(prefixes, 'to')
  return prefixes
}

function requireAscending(values: readonly Uint8Array[], name: string): void {
  for (let at = 1; at < values.length; at++) {
    if (Buffer.compare(values[at - 1] as Uint8Array, values[at] as Uint8Array) >= 0) {
      throw malformed(`body.${name} is not in order`)
    }
  }
}

/**
 * Checks that an auth entry's keys section holds what its header and body say it does: one box of the epoch secret for each
 * grant named, and nothing wrapped but under that secret.
 *
 * @throws CORRUPT
 */
export function checkKeys({ keyId }: EntryHeader, auth: AuthBody | undefined, keys: KeySection): void {
  if (auth === undefined) return
  const boxes = auth.kind === 'grant' ? 1 : auth.kind === 'rotate' || auth.kind === 'keys' ? auth.to.length : 0
  if (keys.boxes.length !== boxes) throw malformed('there is not one box for each grant that it is sealed to')
  const isOfEpoch = (id: Uint8Array) => keyId !== undefined && equalBytes(id, keyId)
  if (keys.boxes.some(({ label }) => label !== undefined)) throw malformed('boxes of epochs have no labels')
  if (!keys.boxes.every((box) => isOfEpoch(box.keyId)) || !keys.wraps.every((wrap) => isOfEpoch(wrap.under))) {
    throw malformed('its boxes and wraps are of another key')
  }
}
