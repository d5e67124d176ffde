import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Artifact } from '../../sdk/index.ts'
import { failureOf, freshNamespace, type OpenClient, seededBytes, sha256Hex, useClient } from './contract-support.ts'

/** Empty, tiny, in the entry, one chunk, two of them alike but for a byte. */
const contents = [0, 1, 5_000, 33_000, 600_000, 600_000].map((length, n) => {
  const bytes = seededBytes(`content ${length}`, length)
  if (n === 5) bytes[300_000] = (bytes[300_000] as number) ^ 1
  return bytes
})
const names = ['a', 'b', 'b/c']

interface ModelVersion {
  readonly name: string
  readonly metadata: { readonly n: number }
  readonly sha256: string
  readonly versionId: string
}

interface ModelArtifact {
  readonly id: string
  readonly live: Map<number, ModelVersion>
  readonly used: Set<number>
}

const step = fc.record({
  op: fc.constantFrom(
    'create',
    'create',
    'fill',
    'fill',
    'describe',
    'restore',
    'drop',
    'drop',
    'delete',
    'stale',
    'missing',
  ),
  artifact: fc.nat(),
  version: fc.nat(),
  content: fc.nat(contents.length - 1),
  name: fc.constantFrom(...names),
  n: fc.nat(3),
})

/** Any sequence of calls against what they mean, written down in a few lines. */
export function modelContract(open: OpenClient): void {
  describe('any sequence of calls', () => {
    const client = useClient(open)

    test('leaves what the same sequence leaves in a map', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
          const { id: namespace } = await freshNamespace(client)
          const model: ModelArtifact[] = []
          const record = (artifact: ModelArtifact, { version, versionId, name, metadata, sha256 }: Artifact): void => {
            expect(artifact.used).not.toContain(version)
            expect(version).toBeGreaterThan(Math.max(0, ...artifact.live.keys()))
            artifact.used.add(version)
            artifact.live.set(version, { name, metadata: metadata as { n: number }, sha256, versionId })
          }
          for (const { op, artifact: pick, version, content, name, n } of steps) {
            const data = contents[content] as Uint8Array<ArrayBuffer>
            const target = model[pick % Math.max(1, model.length)]
            if (op === 'create' || target === undefined) {
              const created = await client.artifact.create({ namespace, name, data, metadata: { n } })
              expect(created).toMatchObject({ name, metadata: { n }, sha256: sha256Hex(data), version: 1 })
              const artifact = { id: created.id, live: new Map(), used: new Set<number>() }
              model.push(artifact)
              record(artifact, created)
              continue
            }
            const artifactId = target.id
            const numbers = [...target.live.keys()].sort((a, b) => a - b)
            const chosen = numbers[version % numbers.length] as number
            const current = target.live.get(numbers.at(-1) as number) as ModelVersion
            const old = target.live.get(chosen) as ModelVersion
            if (op === 'fill') {
              const next = await client.artifact.update({ artifactId, data, expectedVersion: current.versionId })
              expect(next).toMatchObject({ name: current.name, metadata: current.metadata, sha256: sha256Hex(data) })
              record(target, next)
            } else if (op === 'describe') {
              const next = await client.artifact.update({ artifactId, name, metadata: { n } })
              expect(next).toMatchObject({ name, metadata: { n }, sha256: current.sha256 })
              record(target, next)
            } else if (op === 'restore') {
              const next = await client.artifact.update({ artifactId, restore: chosen })
              expect(next).toMatchObject({ name: old.name, metadata: old.metadata, sha256: old.sha256 })
              record(target, next)
            } else if (op === 'drop') {
              await client.artifact.deleteVersion({ artifactId, version: n % 2 === 0 ? chosen : old.versionId })
              target.live.delete(chosen)
              if (target.live.size === 0) model.splice(model.indexOf(target), 1)
            } else if (op === 'delete') {
              await client.artifact.delete({ artifactId })
              model.splice(model.indexOf(target), 1)
            } else if (op === 'stale' && chosen !== numbers.at(-1)) {
              await failureOf(client.artifact.update({ artifactId, data, expectedVersion: chosen }), 'CONFLICT')
            } else if (op === 'missing') {
              await failureOf(client.artifact.get({ artifactId, version: Math.max(...target.used) + 1 }), 'NOT_FOUND')
            }
          }
          const listed = await Array.fromAsync(client.artifact.list({ namespace, limit: 3 }))
          expect(listed.map(({ id }) => id).sort()).toEqual(model.map(({ id }) => id).sort())
          expect((await client.namespace.usage({ namespace })).artifacts).toBe(model.length)
          for (const { id: artifactId, live } of model) {
            const versions = await Array.fromAsync(client.artifact.listVersions({ artifactId, limit: 2 }))
            expect(versions.map((row) => row.version)).toEqual([...live.keys()].sort((a, b) => b - a))
            expect(versions.map(({ current }) => current)).toEqual(versions.map((_, index) => index === 0))
            for (const row of versions) {
              const { name, metadata, sha256, versionId } = live.get(row.version) as ModelVersion
              expect(row).toMatchObject({ name, metadata, sha256, versionId })
              expect(sha256Hex(await client.artifact.download({ artifactId, version: versionId }))).toBe(sha256)
            }
          }
          for (const { metadata, n } of [0, 1, 2, 3].map((n) => ({ metadata: { n }, n }))) {
            const expected = model.filter(({ live }) => live.get(Math.max(...live.keys()))?.metadata.n === n)
            const found = await Array.fromAsync(client.artifact.list({ namespace, metadataFilter: metadata }))
            expect(found.map(({ id }) => id).sort()).toEqual(expected.map(({ id }) => id).sort())
          }
        }),
        { numRuns: 25 },
      )
    })
  })
}
