import { expect, test } from 'vitest'
import { walkTree } from '../../src/content/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { artifact, contentOf, namespace, TestSwarm } from '../../src/exchange/transfer.test-helper.ts'
import { BlockCache } from './block-cache.ts'
import { TreeReader } from './tree-reader.ts'

const MiB = 1024 * 1024
const nothing = new Uint8Array(0)

/** A content that somebody else has, and how it is read through a cache of that many bytes. */
async function remote(leaves: number, cacheBytes: number) {
  const swarm = new TestSwarm()
  const content = await contentOf(leaves)
  swarm.provider('provider', content)
  const cache = new BlockCache(cacheBytes)
  const { root } = content
  const blocks = cache.of(namespace)
  const transfer = swarm.transfers.open({ namespace, artifact, root, blocks, providers: () => swarm.providers })
  return { swarm, content, cache, transfer, reader: new TreeReader(transfer.reader, root) }
}

test('a content is read whole, and again, though its store keeps next to nothing of it', async () => {
  const { swarm, content, cache, transfer, reader } = await remote(12, 2 * MiB)
  await using _swarm = swarm
  await using _transfer = transfer
  for (let round = 0; round < 2; round++) {
    for await (const { digest } of walkTree({ root: content.root, blocks: reader })) {
      expect(equalBytes((await reader.read(digest)) ?? nothing, content.blocks.get(toHex(digest)) ?? nothing)).toBe(
        true,
      )
      expect(cache.bytes).toBeLessThanOrEqual(2 * MiB)
    }
  }
  expect(transfer.progress.fetchedBytes).toBeGreaterThan(1.5 * content.root.storedBytes)
})

test('many readers of one fetch each get all of it', async () => {
  const { swarm, content, transfer } = await remote(12, 2 * MiB)
  await using _swarm = swarm
  await using _transfer = transfer
  await Promise.all(
    Array.from({ length: 5 }, async (_, start) => {
      const reader = new TreeReader(transfer.reader, content.root)
      await reader.read(content.root.digest)
      for (let at = 0; at < content.leaves.length; at++) {
        const name = content.leaves[(start * 3 + at) % content.leaves.length] as string
        const bytes = await reader.read(new Uint8Array(Buffer.from(name, 'hex')))
        expect(equalBytes(bytes ?? nothing, content.blocks.get(name) ?? nothing)).toBe(true)
      }
    }),
  )
})

test('what is not of the content is not found', async () => {
  const { swarm, transfer, reader } = await remote(3, 64 * MiB)
  await using _swarm = swarm
  await using _transfer = transfer
  expect(await reader.read(new Uint8Array(32))).toBeUndefined()
})

test('a cache finds blocks under their own namespace only, gives copies, and forgets the least recently used', async () => {
  const cache = new BlockCache(3_000)
  const [one, other] = [cache.of(namespace), cache.of(new Uint8Array(32).fill(9))]
  const digest = (fill: number) => new Uint8Array(32).fill(fill)
  await using writer = one.openWriter()
  expect(await writer.put(digest(1), new Uint8Array(1_000).fill(1))).toEqual({ stored: true })
  expect(await writer.put(digest(1), new Uint8Array(1_000).fill(1))).toEqual({ stored: false })
  await writer.put(digest(2), [new Uint8Array(400).fill(2), new Uint8Array(600).fill(2)])
  await writer.put(digest(3), new Uint8Array(1_000).fill(3))
  expect(await other.read(digest(1))).toBeUndefined()
  const copy = await one.read(digest(1))
  copy?.fill(0)
  expect(await one.read(digest(1))).toEqual(new Uint8Array(1_000).fill(1))
  await writer.put(digest(4), new Uint8Array(1_000).fill(4))
  expect(await one.has([1, 2, 3, 4].map(digest))).toEqual([true, false, true, true])
  const into = new Uint8Array(2_000)
  expect(await one.readInto(digest(4), into)).toBe(1_000)
  expect(into[999]).toBe(4)
  expect(await writer.put(digest(5), new Uint8Array(3_001))).toEqual({ stored: false })
  expect(cache.bytes).toBe(3_000)
})
