import { expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from '../content/content.test-helper.ts'
import { ingestContent, inThreadEngine, LeafMemory } from '../content/index.ts'
import type { KnownLeaves } from '../content/leaf-memory.ts'
import { toHex } from '../encoding/index.ts'
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

async function storedRoot(blocks: MemoryBlocks, seed: string, known?: KnownLeaves) {
  await using writer = blocks.openWriter()
  const source = inPieces(seededBytes(seed, 5_000_000), 5_000_000)
  const stored = await ingestContent({ source, keys: testKeys, engine: inThreadEngine, blocks: writer, known })
  return { ...stored, inline: false, keyId: new Uint8Array(16) }
}

function newAccounts(blocks: MemoryBlocks) {
  const overlay = new Overlay(new MemoryKeyValueStore())
  const keys = new NamespaceKeys(new Uint8Array(32))
  return { overlay, accounts: new Accounts({ keys, blocks, overlay, totals: noTotals, isNew: () => false }) }
}

test('what a version would add and what it adds are counted in one walk of its tree, and of no other tree', async () => {
  const blocks = new CountedBlocks()
  const { accounts } = newAccounts(blocks)
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

test('content that was stored just now is counted without a look at its tree, as one is that was read', async () => {
  const blocks = new CountedBlocks()
  const session = new LeafMemory(100).under('a')
  const root = await storedRoot(blocks, 'first', session)
  const [told, walked] = [newAccounts(blocks), newAccounts(blocks)]

  expect(await told.accounts.wouldAdd(artifact, root, session.met)).toBe(root.storedBytes)
  await told.accounts.hold(artifact, root)
  expect(blocks.reads).toBe(0)

  await walked.accounts.hold(artifact, root)
  const rowsOf = ({ overlay }: typeof told) => new Map(overlay.changes.map((change) => [toHex(change.key), change]))
  expect(rowsOf(told)).toEqual(rowsOf(walked))
  expect(rowsOf(told).size).toBe(root.leaves + 1)
  expect(told.accounts.totals).toEqual(walked.accounts.totals)
})
