import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, readdir, rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type Artifact, type ArtifactHubNode, startNode } from 'artifact-hub'
import { formatBytes } from '../../node/cli/text/index.ts'
import { rate, say, seconds, sha256Of, shown, step, timed } from './show.ts'

/**
 * What one node does with files of its own, in a folder that whoever calls this removes.
 * @throws when anything is not as promised
 */
export async function storeFiles(folder: string, files: readonly string[]): Promise<void> {
  const dataDir = join(folder, 'node')
  const kept = await withNode(dataDir, async (node) => {
    step('Start a node: the first time it makes an identity and a personal namespace')
    say(`agent ${node.did}`)
    const artifacts: Artifact[] = []
    for (const path of files) artifacts.push(await upload(node, path))
    await describe(node, artifacts)
    await lookAtDisk(node, artifacts)
    for (const [at, artifact] of artifacts.entries())
      await readBack(node, artifact, { original: files[at] as string, folder })
    const changed = await changeOne(node, largest(artifacts), files)
    await deleteOldest(node, changed)
    return changed
  })

  step('Stop the node and start it again: everything is still there')
  await withNode(dataDir, async (node) => {
    const { items } = await node.client.artifact.list()
    for (const { name, version, sizeBytes } of items) say(`${name}: version ${version}, ${formatBytes(sizeBytes)}`)
    const again = await node.client.artifact.get({ artifactId: kept.id })
    if (again.sha256 !== kept.sha256) throw new Error('the restarted node has another version')
    const report = await timed(() => node.check({ readData: true }))
    if (report.value.findings.length > 0) throw new Error(JSON.stringify(report.value.findings))
    say(
      `check: ${report.value.entries} entries, ${report.value.blocks} blocks, ${rate(report.value.bytesRead, report.ms)}, nothing wrong`,
    )
  })
}

async function withNode<T>(dataDir: string, work: (node: ArtifactHubNode) => Promise<T>): Promise<T> {
  await using node = await startNode({ dataDir, network: 'offline' })
  return await work(node)
}

async function upload(node: ArtifactHubNode, path: string): Promise<Artifact> {
  const { size } = await stat(path)
  step(`Store ${path}: cut into chunks, encrypt, write, fsync, sign an entry`)
  const { value, ms } = await shown('storing', (onProgress) =>
    node.client.artifact.uploadFile({
      path,
      metadata: { source: 'demo', bytes: size, large: size > 50_000_000 },
      onProgress,
    }),
  )
  say(`${value.id}  version ${value.version} (${value.versionId})  ${value.contentType}`)
  say(`${formatBytes(size)} in ${seconds(ms)}: ${rate(size, ms)}`)
  say(`root ${value.cid}`)
  const own = await sha256Of(path)
  if (own !== value.sha256) throw new Error(`SHA-256 differs: ${own} and ${value.sha256}`)
  say(`SHA-256 ${value.sha256}, the same as the file's`)
  return value
}

async function describe(node: ArtifactHubNode, artifacts: readonly Artifact[]): Promise<void> {
  step('A snippet, and finding things by their metadata')
  const snippet = await node.client.artifact.createSnippet({
    name: 'config.json',
    content: { model: 'x', temperature: 0.7 },
    metadata: { source: 'demo', kind: 'config' },
  })
  say(`${snippet.name}: ${formatBytes(snippet.sizeBytes)} of ${snippet.contentType}, carried inside its log entry`)
  for (const metadataFilter of [{ kind: 'config' }, { large: true }, { bytes: { $gt: 0 } }]) {
    const { items } = await node.client.artifact.list({ metadataFilter })
    say(`${JSON.stringify(metadataFilter)} → ${items.map(({ name }) => name).join(', ') || 'nothing'}`)
  }
  const named = await node.client.artifact.get({ name: artifacts[0]?.name as string })
  say(`by name ${named.name} → ${named.id}`)
}

/** What anybody sees who gets hold of the packs: none of the plaintext. */
async function lookAtDisk(node: ArtifactHubNode, artifacts: readonly Artifact[]): Promise<void> {
  step('Look at the disk: packs hold ciphertext only')
  const { id } = largest(artifacts)
  const [usage] = await node.du()
  say(
    `${formatBytes(usage?.packBytes ?? 0)} of packs in ${usage?.blocks} blocks, ${formatBytes(usage?.entryBytes ?? 0)} of log`,
  )
  const { sizeBytes } = await node.client.artifact.get({ artifactId: id })
  const length = Math.min(64, sizeBytes)
  const needle = await node.client.artifact.download({
    artifactId: id,
    range: { offset: Math.floor((sizeBytes - length) / 2), length },
  })
  const packs = join(node.dataDir, 'packs')
  let searched = 0
  for (const name of (await readdir(packs, { recursive: true })).filter((path) => path.endsWith('.pack'))) {
    let tail = Buffer.alloc(0)
    for await (const piece of createReadStream(join(packs, name), { highWaterMark: 1 << 20 })) {
      const window = Buffer.concat([tail, piece as Buffer])
      if (length >= 16 && window.includes(Buffer.from(needle))) throw new Error(`plaintext in ${name}`)
      tail = window.subarray(-length)
      searched += (piece as Buffer).length
    }
  }
  say(`searched ${formatBytes(searched)} for ${length} bytes from the middle of the largest file: not there`)
}

async function readBack(
  node: ArtifactHubNode,
  artifact: Artifact,
  { original, folder }: { original: string; folder: string },
): Promise<void> {
  step(`Read ${artifact.name} back: every block is verified before a byte of it is used`)
  const path = join(folder, `${artifact.id}.out`)
  const { ms } = await shown('reading', (onProgress) =>
    node.client.artifact.downloadFile({ artifactId: artifact.id, path, onProgress }),
  )
  say(`${formatBytes(artifact.sizeBytes)} in ${seconds(ms)}: ${rate(artifact.sizeBytes, ms)}`)
  if ((await sha256Of(path)) !== (await sha256Of(original)))
    throw new Error('what was read back is not what was stored')
  say('the same SHA-256 as the original')
  await rm(path)
  if (artifact.sizeBytes < 2) return
  const offset = Math.floor(artifact.sizeBytes / 2)
  const length = Math.min(1_000, artifact.sizeBytes - offset)
  const part = await timed(() => node.client.artifact.download({ artifactId: artifact.id, range: { offset, length } }))
  const wanted = Buffer.alloc(length)
  await using file = await open(original)
  await file.read(wanted, 0, length, offset)
  if (!wanted.equals(part.value)) throw new Error('a range is not what the file holds there')
  say(`${length} bytes from the middle in ${part.ms.toFixed(1)} ms`)
}

async function changeOne(node: ArtifactHubNode, artifact: Artifact, files: readonly string[]): Promise<Artifact> {
  step(`Version 2 of ${artifact.name}, one byte inserted near the front: only what changed is stored`)
  const before = (await node.du())[0]?.packBytes ?? 0
  const path = files[files.findIndex((file) => basename(file) === artifact.name)] as string
  const { value, ms } = await shown('updating', (onProgress) =>
    node.client.artifact.update({
      artifactId: artifact.id,
      data: withByteInserted(path),
      expectedVersion: 1,
      onProgress,
    }),
  )
  const stored = ((await node.du())[0]?.packBytes ?? 0) - before
  say(
    `version ${value.version} (${value.versionId}): ${formatBytes(value.sizeBytes)} in ${seconds(ms)}, ${formatBytes(stored)} stored`,
  )
  const { items } = await node.client.artifact.listVersions({ artifactId: artifact.id })
  for (const row of items)
    say(
      `version ${row.version}${row.current ? ' (current)' : ''}: ${row.sha256.slice(0, 16)}…, ${formatBytes(row.sizeBytes)}`,
    )
  return value
}

async function deleteOldest(node: ArtifactHubNode, artifact: Artifact): Promise<void> {
  step('Delete version 1, collect garbage at once: what version 2 shares with it stays')
  await node.client.artifact.deleteVersion({ artifactId: artifact.id, version: 1 })
  const { removedBlocks, removedBytes } = await node.gc({ now: true })
  say(`${removedBlocks} blocks removed, ${formatBytes(removedBytes)} of them`)
  const hash = createHash('sha256')
  for await (const piece of node.client.artifact.downloadStream({ artifactId: artifact.id })) hash.update(piece)
  if (hash.digest('hex') !== artifact.sha256) throw new Error('version 2 did not survive')
  say('version 2 still reads whole')
}

async function* withByteInserted(path: string): AsyncGenerator<Uint8Array> {
  const at = 1_000
  let seen = 0
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    const cut = Math.max(0, Math.min(piece.length, at - seen))
    const isHere = seen <= at && at < seen + piece.length
    yield piece.subarray(0, cut)
    if (isHere) yield Uint8Array.of(42)
    yield piece.subarray(cut)
    seen += piece.length
  }
  if (seen <= at) yield Uint8Array.of(42)
}

function largest(artifacts: readonly Artifact[]): Artifact {
  return [...artifacts].sort((a, b) => b.sizeBytes - a.sizeBytes)[0] as Artifact
}
