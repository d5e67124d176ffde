import { describe, expect, test } from 'vitest'
import { contentOf, leavesThrough, TestSwarm, wrongOf } from './transfer.test-helper.ts'

describe('a fetch', () => {
  test('brings everything from one provider, and makes it durable before it says so', async () => {
    await using swarm = new TestSwarm()
    const content = await contentOf(40)
    swarm.provider('a', content)
    await using transfer = swarm.open(content)
    await transfer.whole()
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(swarm.blocks.syncs).toBeGreaterThan(0)
    expect(swarm.reader.penalties).toEqual([])
  })

  test('gives blocks to a reader in order', async () => {
    await using swarm = new TestSwarm()
    const content = await contentOf(10)
    swarm.provider('a', content)
    await using transfer = swarm.open(content)
    expect(await leavesThrough(content, (digest) => transfer.reader.read(digest))).toEqual(content.leaves)
  })
})
