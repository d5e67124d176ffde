import type { ClockReading, ContentRoot } from '../catalog/index.ts'
import type { AuthBody } from './auth-body.ts'

/**
 * What an entry does. Auth entries (genesis, grant, revoke, adopt, rotate, revoke-capability, descriptor, and keys without an
 * artifact) have a public body; data entries (put, delete, drop, share, and keys of an artifact) a secret one or none.
 */
export type EntryKind =
  | 'genesis'
  | 'grant'
  | 'revoke'
  | 'adopt'
  | 'rotate'
  | 'revoke-capability'
  | 'descriptor'
  | 'keys'
  | 'put'
  | 'delete'
  | 'drop'
  | 'share'

/** The public, signed part of an entry. Hashes are SHA-256, 32 bytes. */
export interface EntryHeader {
  readonly kind: EntryKind
  /** Hash of the namespace's genesis entry; `undefined` in that one. */
  readonly namespace: Uint8Array | undefined
  /** Raw Ed25519 public key of the author, 32 bytes. */
  readonly author: Uint8Array
  /** Hash of the entry that gives the author its role; for the owner that is the genesis, `undefined` in the genesis itself. */
  readonly grant: Uint8Array | undefined
  /** 16 bytes: see incarnation in the README. */
  readonly incarnation: Uint8Array
  /** Position in the chain, from 0. */
  readonly seq: number
  /** Hash of the entry before it in the chain; `undefined` in the first. */
  readonly previous: Uint8Array | undefined
  /** Heads of other chains that the author had seen: hints for ordering, no more. */
  readonly heads: readonly Uint8Array[]
  readonly clock: ClockReading
  /** Hash of the keys section, if it has one. */
  readonly keysHash: Uint8Array | undefined
  /** Hash of the body's bytes as stored (ciphertext when secret), if it has one. */
  readonly bodyHash: Uint8Array | undefined
  /**
   * Id (16 bytes). In a put, of the artifact key that the body is encrypted under; in a share, of the epoch secret. In a rotate,
   * of the epoch secret that it introduces; in a grant (unless it seals none) and in keys, of the secret that its boxes hold.
   */
  readonly keyId: Uint8Array | undefined
  /** What a data entry says in public. */
  readonly data: DataHeader | undefined
}

/** The public half of a data entry. */
export interface DataHeader {
  /** 16 bytes that with the namespace make the artifact's id. */
  readonly artifactSalt: Uint8Array
  /** Hashes of the artifact's version heads that the author saw. */
  readonly parents: readonly Uint8Array[]
  /** A put's version number: 1 + the highest of its parents'. 0 in other entries. */
  readonly gen: number
  /** A put's content. */
  readonly root: ContentRoot | undefined
  /** A drop's versions. */
  readonly versions: readonly Uint8Array[]
  /** A share's capability, 16 bytes. */
  readonly jti?: Uint8Array | undefined
}

/** A key encrypted under another key. */
export interface KeyWrap {
  /** Id of the wrapped key, 16 bytes. */
  readonly keyId: Uint8Array
  /** Id of the key it is wrapped under, 16 bytes. */
  readonly under: Uint8Array
  /** 48 bytes. */
  readonly box: Uint8Array
}

/** For which capability a box was sealed, and to whom of its audience. */
export interface BoxLabel {
  /** 16 bytes. */
  readonly jti: Uint8Array
  /** Id (16 bytes) of the group's epoch whose key it is sealed to; `undefined` when it is sealed to the agent itself. */
  readonly epoch: Uint8Array | undefined
}

/** A key sealed to one agent, who finds it by its tag. */
export interface KeyBox {
  /** Id of the sealed key, 16 bytes. */
  readonly keyId: Uint8Array
  /** 8 bytes. */
  readonly tag: Uint8Array
  /** 48 bytes. */
  readonly box: Uint8Array
  /** In data entries; `undefined` for a box that is sealed to a member by name. */
  readonly label?: BoxLabel | undefined
}

/** The keys section: public, and outside what it encrypts. */
export interface KeySection {
  readonly wraps: readonly KeyWrap[]
  /** The one X25519 public key that all boxes were sealed with (32 bytes); `undefined` without boxes. */
  readonly ephemeral: Uint8Array | undefined
  readonly boxes: readonly KeyBox[]
}

/** A whole entry whose hashes and signature have been checked. */
export interface Entry {
  /** SHA-256 of the header's bytes: the entry's name. The signature is not part of it, for a key can sign one header in several ways. */
  readonly hash: Uint8Array
  readonly header: EntryHeader
  readonly headerBytes: Uint8Array
  readonly signature: Uint8Array
  /** `undefined` when there is none, or it was left out of a partial copy. */
  readonly keys: KeySection | undefined
  readonly keysBytes: Uint8Array | undefined
  /** What an auth entry says; `undefined` in data entries. */
  readonly auth: AuthBody | undefined
  /** As stored; `undefined` when there is none or it was erased after its version was deleted. */
  readonly body: Uint8Array | undefined
  /** The one leaf of inline content; `undefined` when the content is elsewhere or was erased. */
  readonly leaf: Uint8Array | undefined
}
