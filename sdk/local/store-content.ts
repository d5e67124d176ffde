import { ingestContent, isPositioned, openSource, sealInline } from '../../src/content/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import { maxContentBytes, maxInlineBytes, minChunkBytes } from '../../src/limits.ts'
import { leafBytesOf, type Quota, type Reservation, type StoredContent } from '../../src/namespace/index.ts'
import type { ArtifactKey } from '../../src/sharing/index.ts'
import type { OnProgress } from '../client.ts'
import type { Content } from './data-source.ts'
import type { LocalEnvironment, SourceFile } from './environment.ts'
import type { OpenNamespace } from './namespace-book.ts'
import { ProgressMeter } from './progress.ts'

interface StoreContentOptions {
  readonly namespace: OpenNamespace
  readonly key: ArtifactKey
  readonly content: Content
  /** Of a new artifact nothing can be there already, so its whole size is reserved before a byte is stored. */
  readonly isNew: boolean
  readonly meter: ProgressMeter
  readonly signal: AbortSignal | undefined
}

/** Content that is stored, kept from gc and counted against the quota until it is disposed of. */
export interface HeldContent extends AsyncDisposable {
  readonly content: StoredContent
  readonly reservation: Reservation
  /** The first bytes of the plaintext. */
  readonly head: Uint8Array
}

/** Stores content: what fits an entry is only sealed, the rest is cut, encrypted and made durable. */
async function storeContent(env: LocalEnvironment, options: StoreContentOptions): Promise<HeldContent> {
  const { namespace, isNew, key, meter } = options
  const { source, sizeBytes, bytes } = options.content
  const { quota } = namespace
  if (sizeBytes !== undefined) quota.checkFile(sizeBytes)
  if (bytes !== undefined && bytes.length <= maxInlineBytes) {
    const reservation = quota.reserve(leafBytesOf(bytes.length, minChunkBytes))
    try {
      return holdInline(options, bytes.slice(), reservation, async () => reservation.release())
    } catch (error) {
      reservation.release()
      throw error
    }
  }
  const signal = options.signal ?? new AbortController().signal
  const cleanUp = new AsyncDisposableStack()
  try {
    const reader = openSource(source, signal)
    cleanUp.defer(() => reader.close())
    const reservation = quota.reserve(isNew && sizeBytes !== undefined ? leafBytesOf(sizeBytes, minChunkBytes) : 0)
    cleanUp.defer(() => reservation.release())
    const buffer = new Uint8Array(Math.min(sizeBytes ?? Number.POSITIVE_INFINITY, maxInlineBytes) + 1)
    const head = buffer.subarray(0, await reader.fill(buffer))
    const dispose = () => cleanUp.disposeAsync()
    if (head.length <= maxInlineBytes) {
      if (reservation.bytes === 0) reservation.grow(leafBytesOf(head.length, minChunkBytes))
      return holdInline(options, head, reservation, dispose)
    }
    const blocks = namespace.log.blocks.openWriter()
    cleanUp.use(blocks)
    const known = env.leafMemory.under(toHex(key.id))
    const reservesAsItGoes = reservation.bytes === 0
    const { sha256, digest, codec, ...stored } = await ingestContent({
      source: isPositioned(source) ? source : { read: (into, position) => readOn(reader, head, into, position) },
      keys: key.content,
      engine: env.engine,
      blocks,
      known,
      maxBytes: Math.min(quota.limits.maxFileBytes, maxContentBytes),
      onStored: (leafBytes, wasStored) => {
        if (wasStored && reservesAsItGoes) reservation.grow(leafBytes)
      },
      onProgress: (loaded) => meter.report(loaded),
      signal,
    }).catch((error) => {
      throw overPlan(error, quota)
    })
    meter.finish(stored.sizeBytes)
    const root = {
      digest,
      codec,
      inline: false,
      sizeBytes: stored.sizeBytes,
      storedBytes: stored.storedBytes,
      keyId: key.id,
    }
    return {
      content: { root, sha256, leaf: undefined, leaves: known.met },
      head,
      reservation,
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await cleanUp.disposeAsync()
    throw error
  }
}

function holdInline(
  { key, meter }: StoreContentOptions,
  head: Uint8Array,
  reservation: Reservation,
  dispose: () => Promise<void>,
): HeldContent {
  const { leaf, sha256, digest, codec, sizeBytes, storedBytes } = sealInline(head, key.content)
  meter.finish(sizeBytes)
  const root = { digest, codec, inline: true, sizeBytes, storedBytes, keyId: key.id }
  return {
    content: { root, sha256, leaf },
    head,
    reservation,
    [Symbol.asyncDispose]: dispose,
  }
}

/** Gives what was read for a first look, then the rest. The pipeline asks in order. */
async function readOn(
  reader: { fill(into: Uint8Array): Promise<number> },
  head: Uint8Array,
  into: Uint8Array,
  position: number,
): Promise<number> {
  if (position >= head.length) return await reader.fill(into)
  const part = head.subarray(position, position + into.length)
  into.set(part)
  return part.length
}

/** A file that turned out to be over the plan’s largest is a matter of the plan, not of the format. */
function overPlan(error: unknown, quota: Quota): unknown {
  const { maxFileBytes } = quota.limits
  if (!isHubError(error, 'TOO_LARGE') || maxFileBytes > maxContentBytes) return error
  return new ArtifactHubError(
    'QUOTA_EXCEEDED',
    `this is over the ${maxFileBytes} bytes that plan ${quota.plan} allows for one file`,
    {
      details: { plan: quota.plan, limit: 'maxFileBytes', limitBytes: maxFileBytes },
      cause: error,
    },
  )
}

/** Stores content and keeps it until it is disposed of; a file must still be what it was. */
export async function holdContent(
  env: LocalEnvironment,
  namespace: OpenNamespace,
  key: ArtifactKey,
  content: Content,
  isNew: boolean,
  { signal, onProgress }: { signal?: AbortSignal | undefined; onProgress?: OnProgress | undefined },
  file?: SourceFile,
): Promise<HeldContent> {
  const { sizeBytes } = content
  const meter = new ProgressMeter(onProgress, sizeBytes, env.monotonic)
  const held = await storeContent(env, { namespace, key, content, isNew, meter, signal })
  try {
    // Files in /proc say that they are empty; more than what was announced is not read to its end.
    if (sizeBytes !== undefined && held.content.root.sizeBytes !== sizeBytes) {
      throw new ArtifactHubError('SOURCE_FAILED', `the data is not the ${sizeBytes} bytes that it said it was`, {
        details: { sizeBytes },
      })
    }
    await file?.checkUnchanged()
    signal?.throwIfAborted()
    return held
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
}
