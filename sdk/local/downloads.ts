import type { VersionRecord } from '../../src/catalog/index.ts'
import { copyContent, type ReadContentOptions, readContent } from '../../src/content/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxDownloadBytes } from '../../src/limits.ts'
import type { ByteRange, OnProgress } from '../client.ts'
import type { LocalEnvironment, TargetFile } from './environment.ts'
import type { Found } from './lookup.ts'
import { ProgressMeter } from './progress.ts'
import type { OpenFetch } from './replication/fetches.ts'

interface TransferOptions {
  readonly range?: ByteRange | undefined
  readonly onProgress?: OnProgress | undefined
  readonly signal?: AbortSignal | undefined
}

/** A version's plaintext in order, every block verified before a byte of it is given; what is not here is fetched meanwhile. */
export async function* downloadStream(
  env: LocalEnvironment,
  found: Found,
  { range, onProgress, signal }: TransferOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const total = wantedBytes(found.record, range)
  const meter = new ProgressMeter(onProgress, total, env.monotonic)
  let loaded = 0
  await using fetch = fetchOf(env, found, signal)
  for await (const piece of readContent({ ...(await versionOf(env, found, range, signal)), blocks: fetch.blocks })) {
    yield piece
    loaded += piece.length
    meter.report(loaded)
  }
  if (total === found.record.root.sizeBytes && (await fetch.mayBeNews())) await fetch.whole()
  meter.finish(total)
}

/** A version's plaintext in one piece. @throws TOO_LARGE */
export async function download(
  env: LocalEnvironment,
  found: Found,
  options: TransferOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const total = wantedBytes(found.record, options.range)
  if (total > maxDownloadBytes) {
    throw new ArtifactHubError(
      'TOO_LARGE',
      `${total} bytes do not go into memory at once: use downloadStream or downloadFile`,
      {
        details: { sizeBytes: total, maxBytes: maxDownloadBytes },
      },
    )
  }
  const whole = new Uint8Array(total)
  let at = 0
  for await (const piece of downloadStream(env, found, options)) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

/** A version's plaintext into a file; a partial one that an earlier try left is gone on with. */
export async function downloadFile(
  env: LocalEnvironment,
  found: Found,
  { path, overwrite = false, onProgress, signal }: TransferOptions & { path: string; overwrite?: boolean | undefined },
): Promise<void> {
  const { root, state } = found.record
  const { sizeBytes } = root
  await using target = await env.files.openTarget(path, { overwrite, content: toHex(root.digest) })
  const held = Math.min(target.heldBytes, sizeBytes)
  await fill(env, found, target, held, onProgress, signal)
  // What an earlier try left was written by this program, but a power cut may have eaten from it.
  if (held > 0 && !equalBytes(await target.sha256(signal), state.sha256)) {
    await target.truncate(0)
    await fill(env, found, target, 0, onProgress, signal)
  }
  await target.commit()
}

async function fill(
  env: LocalEnvironment,
  found: Found,
  target: TargetFile,
  from: number,
  onProgress: OnProgress | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sizeBytes } = found.record.root
  const meter = new ProgressMeter(onProgress, sizeBytes, env.monotonic, from)
  await using fetch = fetchOf(env, found, signal)
  await copyContent({
    ...(await versionOf(env, found, { offset: from }, signal)),
    blocks: fetch.blocks,
    output: target,
    onWritten: (end) => {
      target.keep(end)
      meter.report(end)
    },
  })
  await target.truncate(sizeBytes)
  if (from === 0 && (await fetch.mayBeNews())) await fetch.whole()
  meter.finish(sizeBytes)
}

/** Its blocks, wherever they are; who wrote it is asked first. */
function fetchOf(env: LocalEnvironment, { namespace, record }: Found, signal: AbortSignal | undefined): OpenFetch {
  const { artifact, root, author } = record
  return env.fetches.open(namespace.log, { artifact, root, author }, signal)
}

async function versionOf(
  env: LocalEnvironment,
  { namespace, record }: Found,
  range: ByteRange | undefined,
  signal: AbortSignal | undefined,
): Promise<Omit<ReadContentOptions, 'blocks'>> {
  const { root } = record
  const { content: keys } = await namespace.log.artifactKeys.open(record.artifact, root.keyId)
  return { root, keys, engine: env.engine, range, signal }
}

/** @throws RANGE_INVALID */
function wantedBytes({ root }: VersionRecord, range: ByteRange | undefined): number {
  const offset = range?.offset ?? 0
  const length = range?.length ?? root.sizeBytes - offset
  if (offset <= root.sizeBytes && length <= root.sizeBytes - offset) return length
  throw new ArtifactHubError('RANGE_INVALID', `the range lies outside the ${root.sizeBytes} bytes of the content`, {
    details: { sizeBytes: root.sizeBytes, offset, length: range?.length ?? null },
  })
}
