import { expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from '../content/content.test-helper.ts'
import { ingestContent, inThreadEngine } from '../content/index.ts'
import { Overlay } from '../storage/index.ts'
import { Accounts, noTotals } from './accounts.ts'
import { NamespaceKeys } from './tables.ts'

const artifact = new Uint8Array(20).fill(1)

class CountedBlocks extends MemoryBlocks {
  reads = 0

  override async read(digest: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.reads++
    return await super.read(digest)
  }
}

async function storedRoot(blocks: MemoryBlocks, seed: string) {
  await using writer = blocks.openWriter()
  const source = inPieces(seededBytes(seed, 5_000_000), 5_000_000)
  const stored = await ingestContent({ source, keys: testKeys, engine: inThreadEngine, blocks: writer })
  return { ...stored, inline: false, keyId: new Uint8Array(16) }
}

test('what a version would add and what it adds are counted in one walk of its tree, and of no other tree', async () => {
  const blocks = new CountedBlocks()
  const keys = new NamespaceKeys(new Uint8Array(32))
  const overlay = new Overlay(new MemoryKeyValueStore())
  const accounts = new Accounts({ keys, blocks, overlay, totals: noTotals, isNew: () => false })
  const [first, second] = [await storedRoot(blocks, 'first'), await storedRoot(blocks, 'second')]

  expect(await accounts.wouldAdd(artifact, first)).toBe(first.storedBytes)
  await accounts.hold(artifact, first)
  expect(blocks.reads).toBe(1)
  expect(accounts.addedLeafBytes).toBe(first.storedBytes)

  expect(await accounts.wouldAdd(artifact, second)).toBe(second.storedBytes)
  await accounts.hold(artifact, second)
  expect(blocks.reads).toBe(2)
  expect(accounts.addedLeafBytes).toBe(first.storedBytes + second.storedBytes)

  await accounts.release(artifact, first)
  expect(accounts.addedLeafBytes).toBe(second.storedBytes)
})
