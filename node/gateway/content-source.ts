import type { Capability, LinkClaims } from '../../src/capability/index.ts'
import type { ContentRoot } from '../../src/catalog/index.ts'
import type { BlockReader } from '../../src/content/index.ts'

/** One version that a link lets its holder have. */
export interface LinkContent {
  readonly root: ContentRoot
  /** The key of the leaves, 32 bytes. */
  readonly encryptionKey: Uint8Array
  /** SHA-256 of the plaintext. */
  readonly sha256: Uint8Array
  /** File name that is offered to whoever downloads. */
  readonly name: string
  readonly contentType: string
  /** Its blocks, wherever they are. The signal ends the waiting for them. Close it on every path. */
  open(signal: AbortSignal): LinkBlocks
}

/** Blocks of one version; closing stops what is being fetched for them. */
export interface LinkBlocks extends AsyncDisposable {
  /** Not yet verified; `undefined` when nobody has it. @throws UNAVAILABLE, what a disk throws */
  readonly blocks: BlockReader
}

/** Where a gateway has contents from. */
export interface ContentSource {
  /**
   * What a link lets its holder have now. Asked at every request, once the token, its times, its audience and the client's
   * address were found good. One token has one object as long as the gateway remembers it.
   *
   * @throws ACCESS_DENIED when this gateway does not serve links of that issuer, REVOKED for the link or its issuer's right,
   *   STALE_VIEW when neither could be asked of late, NOT_FOUND when the version is gone, UNAVAILABLE
   */
  find(link: Capability<LinkClaims>, signal: AbortSignal): Promise<LinkContent>
}
