/** A hybrid logical clock reading: wall time in milliseconds since 1970, then a counter. Compared in that order. */
export interface ClockReading {
  readonly wallMs: number
  readonly counter: number
}

/** Where a version's content is. */
export interface ContentRoot {
  /** SHA-256 digest (32 bytes) of the root block. */
  readonly digest: Uint8Array
  /** `raw` (0x55) when the content is one leaf, else `dag-pb` (0x70). */
  readonly codec: number
  /** Whether that one leaf is carried inside the entry. */
  readonly inline: boolean
  /** Plaintext bytes. */
  readonly sizeBytes: number
  /** Ciphertext bytes of all leaves. */
  readonly storedBytes: number
  /** Names the artifact key (16 bytes) that the content was written under. */
  readonly keyId: Uint8Array
}

/** What an entry's body says: one artifact's full new state. */
export interface ArtifactState {
  readonly name: string
  readonly contentType: string
  /** A JSON object, at most 16 KiB, at most 32 deep. */
  readonly metadata: Readonly<Record<string, unknown>>
  /** SHA-256 of the plaintext, 32 bytes. */
  readonly sha256: Uint8Array
}

/**
 * What is kept of a put's state once its version has ended: nothing. Bodies of deleted versions are erased from the
 * log after a while, and the catalog must be the same bytes whether or not that has happened.
 */
export const endedState: ArtifactState = { name: '', contentType: '', metadata: {}, sha256: new Uint8Array(32) }

interface OperationBase {
  /** The artifact, 20 bytes. */
  readonly artifact: Uint8Array
  /** Hash of the entry that says this, 32 bytes: the machine's name of a version. */
  readonly entry: Uint8Array
  /** The author's raw Ed25519 public key, 32 bytes. */
  readonly author: Uint8Array
  readonly clock: ClockReading
  /** Version heads (entry hashes of puts) that the author saw, at most 32. */
  readonly parents: readonly Uint8Array[]
}

/** A new version. Its `gen` is 1 + the highest gen of its parents (1 without any). */
export interface PutOperation extends OperationBase {
  readonly kind: 'put'
  readonly gen: number
  readonly root: ContentRoot
  /**
   * `undefined` while it cannot be read here: no key yet, a replica, a body that is not here. Such a version is *hidden*: it
   * has its place in the history and its root is kept, but nobody is shown it. Applied again with its state, it shows.
   */
  readonly state: ArtifactState | undefined
}

/** Ends the versions that it names as parents and all their ancestors; a concurrent version survives. */
export interface DeleteOperation extends OperationBase {
  readonly kind: 'delete'
}

/** Ends just the versions that it names. */
export interface DropOperation extends OperationBase {
  readonly kind: 'drop'
  readonly versions: readonly Uint8Array[]
}

/** What one counted data entry says of one artifact. */
export type Operation = PutOperation | DeleteOperation | DropOperation
