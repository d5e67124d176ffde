import { createHash } from 'node:crypto'
import type { ArtifactState, ContentRoot, DropOperation, Operation, PutOperation } from '../../src/catalog/index.ts'
import type { KeyValueStore } from '../../src/storage/key-value.ts'

/** Bytes of the given length that `label` alone decides. */
export function bytesFrom(label: string, length = 32): Uint8Array {
  const hash = createHash('sha256').update(label).digest()
  return Uint8Array.from(Buffer.concat([hash, hash]).subarray(0, length))
}

/** A content root that `label` alone decides. */
function rootFrom(label: string): ContentRoot {
  const sizeBytes = bytesFrom(label)[0] as number
  return {
    digest: bytesFrom(`root ${label}`),
    codec: 0x55,
    inline: true,
    sizeBytes,
    storedBytes: sizeBytes + 28,
    keyId: bytesFrom(`key ${label}`, 16),
  }
}

/** What a test says of a put; the rest is made up, the same each time, from `label`. */
export interface PutFields extends Partial<Omit<PutOperation, 'kind' | 'state'>> {
  readonly label: string
  readonly name?: string
  readonly contentType?: string
  readonly metadata?: Record<string, unknown>
  readonly wallMs?: number
}

/** A put whose gen is 1 and that has no parents, unless it says otherwise. */
export function makePut(fields: PutFields): PutOperation & { state: ArtifactState } {
  const { label, name = 'report.pdf', contentType = 'application/pdf', metadata = {}, wallMs, ...rest } = fields
  return {
    kind: 'put',
    artifact: bytesFrom(`artifact ${label}`, 20),
    entry: bytesFrom(`entry ${label}`),
    author: bytesFrom('author'),
    clock: { wallMs: wallMs ?? 1_790_000_000_000, counter: 0 },
    parents: [],
    gen: 1,
    root: rootFrom(label),
    state: { name, contentType, metadata, sha256: bytesFrom(`sha256 ${label}`) },
    ...rest,
  }
}

/** The next version after these, of the same artifact. */
export function makeNext(
  label: string,
  parents: readonly PutOperation[],
  fields: Omit<PutFields, 'label'> = {},
): PutOperation & { state: ArtifactState } {
  const [first] = parents
  return makePut({
    label,
    artifact: first?.artifact,
    gen: 1 + Math.max(...parents.map(({ gen }) => gen)),
    parents: parents.map(({ entry }) => entry),
    ...fields,
  })
}

/** A delete or a drop of versions of one artifact. */
export function makeEnding(
  kind: 'delete' | 'drop',
  label: string,
  versions: readonly PutOperation[],
  wallMs = 1_790_000_001_000,
): Operation {
  const named = versions.map(({ entry }) => entry)
  const artifact = versions[0]?.artifact ?? bytesFrom(`artifact ${label}`, 20)
  const common = {
    artifact,
    entry: bytesFrom(`entry ${label}`),
    author: bytesFrom('author'),
    clock: { wallMs, counter: 0 },
  }
  const drop: DropOperation = { kind: 'drop', ...common, parents: [], versions: named }
  return kind === 'drop' ? drop : { kind: 'delete', ...common, parents: named }
}

/** Everything in a store as hex, in key order. */
export async function dumpStore(store: KeyValueStore): Promise<string[]> {
  const rows: string[] = []
  for await (const [key, value] of store.entries({})) {
    rows.push(`${Buffer.from(key).toString('hex')}=${Buffer.from(value).toString('hex')}`)
  }
  return rows
}
