import { describe, expect, test } from 'vitest'
import { freshNamespace, type OpenClient, useClient } from './contract-support.ts'

/** A namespace with far more artifacts than a page, a batch or a group holds. */
export function manyContract(open: OpenClient): void {
  describe('many artifacts', () => {
    const client = useClient(open)

    test('10,000 artifacts of one name, all at once: each is there, found and listed', async () => {
      const { id: namespace } = await freshNamespace(client)
      const name = 'the same'
      const calls = Array.from({ length: 10_000 }, (_, n) =>
        client.artifact.createSnippet({ name, namespace, content: n, metadata: { n, tens: Math.floor(n / 10) } }),
      )
      const ids = new Set((await Promise.all(calls)).map(({ id }) => id))
      expect(ids.size).toBe(10_000)
      expect((await client.namespace.usage({ namespace })).artifacts).toBe(10_000)
      const newest = await client.artifact.get({ name, namespace })
      expect((await client.artifact.list({ namespace, order: { by: 'updatedAt' }, limit: 1 })).items[0]).toEqual(newest)
      const seen = new Set<string>()
      for await (const { id } of client.artifact.list({ namespace, namePrefix: name, limit: 1_000 })) seen.add(id)
      expect(seen).toEqual(ids)
      const found = await client.artifact.list({ namespace, metadataFilter: { tens: 777 }, order: { by: 'name' } })
      expect(found.items.map(({ metadata }) => metadata.n as number).sort()).toEqual(
        Array.from({ length: 10 }, (_, n) => 7_770 + n),
      )
      await client.artifact.delete({ artifactId: newest.id })
      expect((await client.artifact.get({ name, namespace })).id).not.toBe(newest.id)
    })
  })
}
