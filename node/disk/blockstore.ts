import { createHash } from 'node:crypto'
import type { Blockstore, InputPair, Pair } from 'interface-blockstore'
import { NotFoundError } from 'interface-store'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import { ArtifactHubError } from '../../src/errors.ts'
import type { BlockWriter, NamespaceBlocks } from '../../src/storage/blocks.ts'

interface CallOptions {
  readonly signal?: AbortSignal
}

type BlockBytes = InputPair['bytes']

/** Multicodec `raw`. */
const rawCodec = 0x55

/** The blocks of a namespace, and how to list them. */
export interface ListedBlocks extends Omit<NamespaceBlocks, 'readInto'> {
  digests(options?: CallOptions): AsyncIterable<Uint8Array>
}

/**
 * A namespace's blocks as Helia wants them. Blocks are known by their SHA-256: a CID of any codec with that hash
 * finds the block, and one of any other hash function is INVALID_ARGUMENT. `identity` CIDs carry their bytes and are
 * answered from themselves.
 *
 * - `get` checks the hash of what it read: nothing unverified leaves it. `put` checks before it stores, and
 *   resolves when the block is durable; `putMany` makes each group of blocks durable before it yields their CIDs.
 * - `delete` and `deleteMany` are refused (ACCESS_DENIED). Which blocks are live is known to the log alone, and the
 *   same block may serve several versions: removal is `gc`'s. A refusal is better than a no-op, after which `has`
 *   would contradict it, and shows that some caller runs Helia's own gc.
 */
export class NamespaceBlockstore implements Blockstore {
  readonly #blocks: ListedBlocks

  constructor(blocks: ListedBlocks) {
    this.#blocks = blocks
  }

  /** @throws INVALID_ARGUMENT, CORRUPT when the bytes are not those of the CID, TOO_LARGE, STORAGE_FULL, STORAGE_FAILED */
  async put(cid: CID, bytes: BlockBytes, options: CallOptions = {}): Promise<CID> {
    await using writer = this.#blocks.openWriter()
    await putVerified(writer, cid, bytes, options)
    await writer.sync()
    return cid
  }

  async *putMany(
    source: Iterable<InputPair> | AsyncIterable<InputPair>,
    options: CallOptions = {},
  ): AsyncGenerator<CID> {
    await using writer = this.#blocks.openWriter()
    let group: CID[] = []
    for await (const { cid, bytes } of source) {
      await putVerified(writer, cid, bytes, options)
      group.push(cid)
      if (group.length < blocksPerSync) continue
      await writer.sync()
      yield* group
      group = []
    }
    await writer.sync()
    yield* group
  }

  /** @throws NotFoundError (of interface-store) when it is not here, CORRUPT when its bytes are not the block, STORAGE_FAILED */
  async *get(cid: CID, options: CallOptions = {}): AsyncGenerator<Uint8Array> {
    options.signal?.throwIfAborted()
    const digest = digestOf(cid)
    if (digest.identity) {
      yield digest.bytes
      return
    }
    const bytes = await this.#blocks.read(digest.bytes, options)
    if (!bytes) throw new NotFoundError(`no block ${cid}`)
    if (!matches(digest.bytes, bytes)) {
      throw new ArtifactHubError('CORRUPT', `the bytes of block ${cid} are damaged`, {
        details: { cid: cid.toString() },
      })
    }
    yield bytes
  }

  async *getMany(source: Iterable<CID> | AsyncIterable<CID>, options: CallOptions = {}): AsyncGenerator<Pair> {
    for await (const cid of source) yield { cid, bytes: this.get(cid, options) }
  }

  async has(cid: CID, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted()
    const digest = digestOf(cid)
    if (digest.identity) return true
    return (await this.#blocks.has([digest.bytes]))[0] === true
  }

  /** All blocks, as CIDs of codec `raw`: what they hold is not known here. */
  async *getAll(options: CallOptions = {}): AsyncGenerator<Pair> {
    for await (const digest of this.#blocks.digests(options)) {
      const cid = CID.createV1(rawCodec, createDigest(sha256.code, digest))
      yield { cid, bytes: this.get(cid, options) }
    }
  }

  async delete(cid: CID): Promise<void> {
    throw new ArtifactHubError(
      'ACCESS_DENIED',
      `block ${cid} is not to be deleted by hand: gc removes what no version needs`,
    )
  }

  // biome-ignore lint/correctness/useYield: it refuses the first CID.
  async *deleteMany(source: Iterable<CID> | AsyncIterable<CID>): AsyncGenerator<CID> {
    for await (const cid of source) await this.delete(cid)
  }
}

const blocksPerSync = 64

async function putVerified(writer: BlockWriter, cid: CID, bytes: BlockBytes, options: CallOptions): Promise<void> {
  options.signal?.throwIfAborted()
  const parts: Uint8Array[] = []
  if (bytes instanceof Uint8Array) parts.push(bytes)
  else for await (const part of bytes) parts.push(part)
  options.signal?.throwIfAborted()
  const digest = digestOf(cid)
  if (digest.identity) return
  if (!matches(digest.bytes, ...parts)) {
    throw new ArtifactHubError('CORRUPT', `the bytes given for block ${cid} do not hash to it`, {
      details: { cid: cid.toString() },
    })
  }
  await writer.put(digest.bytes, parts)
}

function digestOf(cid: CID): { identity: boolean; bytes: Uint8Array } {
  const { code, digest } = cid.multihash
  if (code === 0) return { identity: true, bytes: digest }
  if (code === sha256.code && digest.length === 32) return { identity: false, bytes: digest }
  throw new ArtifactHubError('INVALID_ARGUMENT', `block ${cid} is not named by SHA-256`)
}

function matches(digest: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest().equals(digest)
}
