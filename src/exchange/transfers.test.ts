import { describe, expect, test } from 'vitest'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from '../content/content.test-helper.ts'
import { ingestContent, inThreadEngine, readContent } from '../content/index.ts'
import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import {
  blockOpenMs,
  laneIdleMs,
  leafOverheadBytes,
  maxBlockStreamsToAgent,
  maxFetchProviders,
  maxLeavesWanted,
  maxUnstoredBytes,
  minChunkBytes,
  progressMs,
} from '../limits.ts'
import {
  artifact,
  contentOf,
  leafOf,
  leavesThrough,
  makeContent,
  namespace,
  nextTurn,
  type TestContent,
  TestSwarm,
  until,
  wrongOf,
} from './transfer.test-helper.ts'

const content = await contentOf(40)

function digestOf(known: TestContent, leaf: number): Uint8Array {
  return Buffer.from(known.leaves[leaf] as string, 'hex')
}

describe('a fetch', () => {
  test('brings everything from one provider, and makes it durable before it says so', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    await using transfer = swarm.open(content)
    let syncedAt = -1
    swarm.blocks.beforeSync = () => {
      syncedAt = swarm.blocks.blocks.size
    }
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(syncedAt).toBe(content.blocks.size)
    expect(server.counters.sentBlocks).toBe(content.blocks.size)
    expect(transfer.progress.fetchedBytes).toBe(server.counters.sentBytes)
    expect(swarm.reader.penalties).toEqual([])
  })

  test('lets a download stream what is elsewhere: the plaintext, all of it or a range', async () => {
    await using swarm = new TestSwarm({ pieceBytes: () => 5_000 })
    const plaintext = seededBytes('plaintext', 5_000_000)
    const origin = new MemoryBlocks()
    const source = inPieces(plaintext, 100_000)
    const engine = inThreadEngine
    const root = await ingestContent({ source, keys: testKeys, engine, blocks: origin.openWriter() })
    const { server } = swarm.provider('a', { root, blocks: origin.blocks, leaves: [] })
    await using transfer = swarm.open({ root, blocks: origin.blocks, leaves: [] })
    const read = async (range?: { offset: number; length: number }): Promise<Buffer> => {
      const pieces: Uint8Array[] = []
      const content = readContent({ root, keys: testKeys, engine, blocks: transfer.reader, range })
      for await (const piece of content) pieces.push(piece)
      return Buffer.concat(pieces)
    }
    const range = await swarm.during(read({ offset: 4_000_000, length: 10 }))
    expect(Buffer.compare(range, plaintext.subarray(4_000_000, 4_000_010))).toBe(0)
    expect(server.counters.sentBlocks).toBeLessThanOrEqual(3)
    expect(Buffer.compare(await swarm.during(read()), plaintext)).toBe(0)
    expect(server.counters.sentBlocks).toBe(origin.blocks.size)
  })

  test('looks for whom to ask when something has changed at those, not for each block', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    let looks = 0
    const providers = () => {
      looks++
      return swarm.providers
    }
    const { root } = content
    await using transfer = swarm.transfers.open({ namespace, artifact, root, blocks: swarm.blocks, providers })
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(looks).toBeLessThanOrEqual(2 * server.counters.requests)
  })

  test('does not dial who is not connected for what somebody brings, and does for what nobody has who is', async () => {
    await using swarm = new TestSwarm()
    const held = [...content.blocks].filter(([key]) => key !== content.leaves.at(-1))
    const { server } = swarm.provider('a', content, new Map(held))
    await using transfer = swarm.open(content)
    await swarm.during(transfer.reader.read(content.root.digest))
    const dialled: number[] = []
    const far = Array.from({ length: 5 }, (_, at) => {
      const { peer } = swarm.provider(`far ${at}`, content)
      swarm.network.disconnect(peer, swarm.reader)
      return toHex(peer.agent)
    })
    const open = swarm.reader.open.bind(swarm.reader)
    swarm.reader.open = async (agent, protocol, options) => {
      if (far.includes(toHex(agent))) dialled.push(server.counters.sentBlocks)
      return await open(agent, protocol, options)
    }
    await expect(swarm.during(transfer.whole())).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(dialled).toEqual(far.map(() => held.length))
  })

  test('brings a content that is one leaf', async () => {
    await using swarm = new TestSwarm()
    const small = await makeContent(['small'], 500)
    swarm.provider('a', small)
    await using transfer = swarm.open(small)
    expect(await swarm.during(leavesThrough(small, (digest) => transfer.reader.read(digest)))).toEqual(small.leaves)
    await swarm.during(transfer.whole())
    expect(wrongOf(small, swarm.blocks)).toEqual([])
  })

  test('brings a content of two levels whose leaves repeat, each block once', async () => {
    await using swarm = new TestSwarm()
    const large = await makeContent(Array.from({ length: 2100 }, (_, index) => (index % 1000 === 7 ? 'rare' : 'often')))
    const { server } = swarm.provider('a', large)
    await using transfer = swarm.open(large)
    await swarm.during(transfer.whole())
    expect(wrongOf(large, swarm.blocks)).toEqual([])
    // Leaves of three kinds; the root comes again on the way to each node below it.
    expect(server.counters.sentBlocks).toBe(3 + 3 * 2)
  })

  test('gives the first leaf after the nodes above it and before anything else', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    await using transfer = swarm.open(content)
    const blocks = { read: (digest: Uint8Array) => transfer.reader.read(digest) }
    expect(await swarm.during(blocks.read(content.root.digest))).toBeDefined()
    expect(await swarm.during(blocks.read(digestOf(content, 0)))).toEqual(leafOf(content, 0))
    expect(server.counters).toMatchObject({ requests: 1, sentBlocks: 2 })
  })

  test('brings a leaf to the store for who reads it there, once and before what only needs to get here', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    await using transfer = swarm.open(content)
    const bring = (digest: Uint8Array) => swarm.during(transfer.reader.bring?.(digest) ?? Promise.reject())
    const whole = transfer.whole()
    await swarm.during(transfer.reader.read(content.root.digest))
    const [read] = await Promise.all([
      swarm.during(transfer.reader.read(digestOf(content, 35))),
      bring(digestOf(content, 35)),
      bring(digestOf(content, 36)),
    ])
    expect(read).toEqual(leafOf(content, 35))
    expect(swarm.blocks.blocks.get(content.leaves[36] as string)).toEqual(leafOf(content, 36))
    expect(server.counters.sentBlocks).toBeLessThan(25)
    await swarm.during(whole)
    await bring(digestOf(content, 36))
    // Of no content, as far as anybody knows.
    await bring(namespace)
    expect(server.counters.sentBlocks).toBe(content.blocks.size)
  })

  test('says who was asked when nobody brings a leaf', async () => {
    await using swarm = new TestSwarm()
    swarm.provider('a', content, new Map([...content.blocks].filter(([key]) => key !== content.leaves[3])))
    await using transfer = swarm.open(content)
    await swarm.during(transfer.reader.read(content.root.digest))
    const bringing = swarm.during(transfer.reader.bring?.(digestOf(content, 3)) ?? Promise.resolve())
    await expect(bringing).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('goes on over a bulk stream when there is enough to fetch, asking for nothing twice', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    const small = await contentOf(20, 'small')
    const other = swarm.provider('b', small)
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(server.counters.sentBlocks).toBe(content.blocks.size)
    expect(swarm.reader.bulkStreams).toBe(1)
    await using second = swarm.open(small)
    await swarm.during(second.whole())
    expect([other.server.counters.sentBlocks, swarm.reader.bulkStreams]).toEqual([small.blocks.size, 1])
  })

  test('stays on its first stream with a provider that has no bulk streams', async () => {
    await using swarm = new TestSwarm()
    const { peer, server } = swarm.provider('a', content)
    peer.servesBulk = false
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect([server.counters.sentBlocks, swarm.reader.bulkStreams]).toEqual([content.blocks.size, 0])
  })

  test('gives a reader what it waits for before what only needs to get here', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    await using transfer = swarm.open(content)
    const whole = transfer.whole()
    await swarm.during(transfer.reader.read(content.root.digest))
    await swarm.during(transfer.reader.read(digestOf(content, 35)))
    expect(server.counters.sentBlocks).toBeLessThan(25)
    await swarm.during(whole)
  })

  test('asks for nothing that is here', async () => {
    await using swarm = new TestSwarm()
    const held = content.leaves.filter((_, index) => index % 3 === 0)
    for (const key of held) swarm.blocks.blocks.set(key, content.blocks.get(key) as Uint8Array<ArrayBuffer>)
    swarm.blocks.blocks.delete(content.leaves[0] as string)
    const { server } = swarm.provider('a', content)
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(server.counters.sentBlocks).toBe(content.blocks.size - held.length + 1)
  })

  test('asks nobody when everything is here', async () => {
    await using swarm = new TestSwarm()
    for (const [key, bytes] of content.blocks) swarm.blocks.blocks.set(key, bytes)
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(swarm.blocks.syncs).toBeGreaterThan(0)
  })

  test('brings the leaves of a range and no others but the first', async () => {
    await using swarm = new TestSwarm()
    swarm.provider('a', content)
    await using transfer = swarm.open(content)
    const chunk = 512 * 1024
    await swarm.during(transfer.whole({ offset: 5 * chunk + 1, length: 2 * chunk }))
    const here = content.leaves.flatMap((key, index) => (swarm.blocks.blocks.has(key) ? [index] : []))
    expect(here).toEqual([0, 5, 6, 7])
  })

  test('takes no more in than it may hold while the disk is slow, whoever brings it, and goes on when it is not', async () => {
    await using swarm = new TestSwarm()
    const providers = ['a', 'b'].map((name) => swarm.provider(name, content))
    await using transfer = swarm.open(content)
    await swarm.during(transfer.reader.read(content.root.digest))
    const slow = Promise.withResolvers<void>()
    let writing = 0
    swarm.blocks.beforePut = async () => {
      writing++
      await slow.promise
    }
    const whole = transfer.whole()
    const fits = Math.floor(maxUnstoredBytes / (minChunkBytes + leafOverheadBytes))
    expect(fits).toBeLessThan(content.leaves.length - 4)
    await until(() => writing >= fits)
    for (let turn = 0; turn < 500; turn++) await nextTurn()
    const atOnce = writing
    slow.resolve()
    await swarm.during(whole)
    expect(atOnce).toBe(fits)
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    // What each had been given credit for came once.
    const sent = providers.reduce((sum, { server }) => sum + server.counters.sentBlocks, 0)
    expect(sent).toBeLessThanOrEqual(content.blocks.size + 2)
  })

  test('of everything asks for a bounded number of leaves ahead of what has come', async () => {
    await using swarm = new TestSwarm()
    const large = await makeContent(Array.from({ length: 2 * maxLeavesWanted }, () => 'often'))
    const { blocks } = swarm.provider('a', large)
    const leaves = new Set(large.leaves)
    // The nodes are here, so that nothing else makes it wait.
    for (const [key, bytes] of large.blocks) if (!leaves.has(key)) swarm.blocks.blocks.set(key, bytes)
    const slow = Promise.withResolvers<void>()
    const read = blocks.readInto.bind(blocks)
    blocks.readInto = async (digest, into) => {
      if (leaves.has(toHex(digest))) await slow.promise
      return await read(digest, into)
    }
    let looked = 0
    const openWriter = swarm.blocks.openWriter.bind(swarm.blocks)
    swarm.blocks.openWriter = () => {
      const writer = openWriter()
      const find = async (digest: Uint8Array) => {
        if (leaves.has(toHex(digest))) looked++
        return await writer.find(digest)
      }
      return { ...writer, find }
    }
    await using transfer = swarm.open(large)
    const whole = transfer.whole()
    await until(() => looked >= maxLeavesWanted)
    for (let turn = 0; turn < 500; turn++) await nextTurn()
    const ahead = looked
    slow.resolve()
    await swarm.during(whole)
    expect(ahead).toBe(maxLeavesWanted)
    expect(wrongOf(large, swarm.blocks)).toEqual([])
  })

  test('is shared by all who open it, and stops with the last of them', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    const first = swarm.open(content)
    const second = swarm.open(content)
    const both = Promise.all([
      first.whole(),
      second.whole(),
      leavesThrough(content, (digest) => first.reader.read(digest)),
    ])
    expect((await swarm.during(both))[2]).toEqual(content.leaves)
    expect(server.counters.sentBlocks).toBe(content.blocks.size)
    await first.close()
    await expect(first.whole()).rejects.toMatchObject({ code: 'CLOSED' })
    await second.whole()
    expect(swarm.blocks.openWriters).toBe(1)
    await second.close()
    expect([swarm.blocks.openWriters, swarm.scheduler.pending]).toEqual([0, 0])
    await until(() => swarm.network.openStreams === 0)
  })

  test('uses several providers, none of which has all of it', async () => {
    await using swarm = new TestSwarm()
    const servers = ['a', 'b', 'c', 'd', 'e', 'f'].map((name, at) => {
      const held = [...content.blocks].filter(([key]) => {
        const index = content.leaves.indexOf(key)
        return index < 0 || index % 6 === at
      })
      return swarm.provider(name, content, new Map(held)).server
    })
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(servers.every((server) => server.counters.sentBlocks > 0)).toBe(true)
  })

  test('asks so many providers at once, however many there are and however little they say', async () => {
    await using swarm = new TestSwarm()
    for (let at = 0; at < 3 * maxFetchProviders; at++)
      swarm.impostor(`${at}`, async (_, signal) => await until(() => signal.aborted))
    await using transfer = swarm.open(content)
    const failing = transfer.whole().catch(() => {})
    let most = 0
    for (let passedMs = 0; passedMs < 2 * progressMs; passedMs += 500) {
      swarm.scheduler.advance(500)
      for (let turn = 0; turn < 20; turn++) await nextTurn()
      most = Math.max(most, transfer.progress.providers.length)
    }
    expect(most).toBe(maxFetchProviders)
    await transfer.close()
    await failing
  })

  test('goes on where it was when it is opened again', async () => {
    await using swarm = new TestSwarm()
    const { server } = swarm.provider('a', content)
    const stop = new AbortController()
    const first = swarm.open(content, stop.signal)
    const whole = first.whole().catch((error) => error)
    await until(() => swarm.blocks.blocks.size > 10)
    stop.abort(new Error('enough'))
    expect(await whole).toEqual(new Error('enough'))
    await first.close()
    await until(() => swarm.network.openStreams === 0)
    const before = swarm.blocks.blocks.size
    const sent = server.counters.sentBlocks
    await using second = swarm.open(content)
    await swarm.during(second.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(server.counters.sentBlocks - sent).toBeLessThanOrEqual(content.blocks.size - before + 1)
  })

  test('stops within a block of the abort, and leaves nothing open', async () => {
    await using swarm = new TestSwarm()
    swarm.provider('a', content)
    const stop = new AbortController()
    const transfer = swarm.open(content, stop.signal)
    const whole = transfer.whole().catch((error) => error)
    await until(() => swarm.blocks.blocks.size > 5)
    const waiting = transfer.reader.read(digestOf(content, 39)).catch((error) => error)
    stop.abort(new Error('stop'))
    const had = swarm.blocks.blocks.size
    expect(await whole).toMatchObject({ message: 'stop' })
    expect(await waiting).toMatchObject({ message: 'stop' })
    await transfer.close()
    expect(swarm.blocks.blocks.size - had).toBeLessThanOrEqual(1)
    await until(() => swarm.network.openStreams === 0)
    expect([swarm.blocks.openWriters, swarm.scheduler.pending]).toEqual([0, 0])
  })

  test('fails one reader by its own signal, and no other', async () => {
    await using swarm = new TestSwarm()
    await using transfer = swarm.open(content)
    const stop = new AbortController()
    swarm.impostor('silent', async (_stream, signal) => await until(() => signal.aborted))
    const one = transfer.reader.read(content.root.digest, { signal: stop.signal }).catch((error) => error)
    const other = transfer.reader.read(content.root.digest)
    await nextTurn()
    stop.abort(new Error('me only'))
    expect(await one).toEqual(new Error('me only'))
    const late = swarm.provider('late', content)
    swarm.network.disconnect(late.peer, swarm.reader)
    swarm.network.connect(late.peer, swarm.reader)
    expect(await swarm.during(other)).toEqual(content.blocks.get(toHex(content.root.digest)))
  })

  test('says that nobody is known when there is no provider, and asks again the next time', async () => {
    await using swarm = new TestSwarm()
    await using transfer = swarm.open(content)
    await expect(swarm.during(transfer.whole())).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { asked: [] } })
    swarm.provider('a', content)
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
  })

  test('tells who could not be reached and why, and tries again the next time', async () => {
    await using swarm = new TestSwarm()
    const away = swarm.provider('away', content).peer
    swarm.network.disconnect(away, swarm.reader)
    const mute = swarm.peer('mute')
    await using transfer = swarm.open(content)
    const failure = await swarm.during(transfer.whole().catch((error) => error))
    expect(failure.details.asked).toHaveLength(2)
    expect(failure.details.asked.join()).toMatch('unknown address')
    expect(failure.details.asked.join()).toMatch('protocol not spoken')
    expect(mute.penalties).toEqual([])
    swarm.network.connect(away, swarm.reader)
    await swarm.during(transfer.whole())
  })

  test('passes a provider over that does not let itself be reached in time', async () => {
    await using swarm = new TestSwarm()
    swarm.providers.push(new Uint8Array(32))
    const open = swarm.reader.open.bind(swarm.reader)
    swarm.reader.open = async (agent, protocol, options) => {
      if (agent[0] !== 0) return await open(agent, protocol, options)
      return await new Promise((_, reject) => {
        options?.signal?.addEventListener('abort', () => reject(options.signal?.reason))
      })
    }
    await using transfer = swarm.open(content)
    const began = swarm.scheduler.now()
    const failure = await swarm.during(transfer.whole().catch((error) => error))
    expect(failure.details.asked[0]).toMatch('took too long')
    expect(swarm.scheduler.now() - began).toBeGreaterThanOrEqual(blockOpenMs)
  })

  test('goes on with a provider that was cut off after it had brought something', async () => {
    await using swarm = new TestSwarm()
    const { peer } = swarm.provider('a', content)
    await using transfer = swarm.open(content)
    const whole = transfer.whole()
    await until(() => swarm.blocks.blocks.size > 5)
    swarm.network.disconnect(peer, swarm.reader)
    swarm.network.connect(peer, swarm.reader)
    await swarm.during(whole)
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(swarm.transfers.counters.cut).toBe(1)
  })

  test('asks elsewhere for what is late', async () => {
    await using swarm = new TestSwarm()
    swarm.impostor('silent', async (_stream, signal) => await until(() => signal.aborted))
    await using transfer = swarm.open(content)
    const read = transfer.reader.read(content.root.digest)
    const began = swarm.scheduler.now()
    await nextTurn()
    swarm.provider('b', content)
    await swarm.during(read)
    expect(swarm.scheduler.now() - began).toBeLessThan(5_000)
    expect(swarm.transfers.counters.silent).toBe(0)
  })

  test('lets a stream go that it has had nothing to ask of for a while', async () => {
    await using swarm = new TestSwarm()
    swarm.provider('a', content)
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(transfer.progress.providers).toHaveLength(1)
    swarm.scheduler.advance(laneIdleMs)
    await until(() => swarm.network.openStreams === 0)
    expect(transfer.progress.providers).toHaveLength(0)
    swarm.blocks.blocks.clear()
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
  })

  test.each(['beforePut', 'beforeSync'] as const)(
    'fails with the disk’s own error when it fails (%s)',
    async (moment) => {
      await using swarm = new TestSwarm()
      swarm.provider('a', content)
      const full = new ArtifactHubError('STORAGE_FULL', 'full')
      swarm.blocks[moment] = () => {
        if (moment === 'beforeSync' || swarm.blocks.blocks.size > 5) throw full
      }
      const transfer = swarm.open(content)
      await expect(swarm.during(transfer.whole())).rejects.toBe(full)
      await transfer.close()
      await until(() => swarm.network.openStreams === 0)
      swarm.blocks[moment] = () => {}
      await using again = swarm.open(content)
      await swarm.during(again.whole())
      expect(wrongOf(content, swarm.blocks)).toEqual([])
      expect(swarm.reader.penalties).toEqual([])
    },
  )

  test('keeps to the streams that one agent may have, however many contents are fetched', async () => {
    await using swarm = new TestSwarm()
    const contents = await Promise.all(Array.from({ length: 30 }, (_, index) => makeContent([`content ${index}`], 900)))
    const all = new Map(contents.flatMap((each) => [...each.blocks]))
    const roots = new Map(contents.map((each) => [toHex(each.root.digest), each.root]))
    const served = swarm.provider('a', contents[0] as TestContent, all, (digest) => roots.get(toHex(digest)))
    const open = contents.map((each) => swarm.open(each))
    await swarm.during(Promise.all(open.map((transfer) => transfer.whole())))
    expect(served.server.counters).toMatchObject({ floods: 0, sentBlocks: 30 })
    expect(served.peer.penalties).toEqual([])
    for (const transfer of open) await transfer.close()
  })

  test('has a stream with nothing to do make way for a content of which nothing comes', async () => {
    await using swarm = new TestSwarm()
    const contents = await Promise.all(
      Array.from({ length: maxBlockStreamsToAgent + 2 }, (_, index) => makeContent([`content ${index}`], 900)),
    )
    const all = new Map(contents.flatMap((each) => [...each.blocks]))
    const roots = new Map(contents.map((each) => [toHex(each.root.digest), each.root]))
    const served = swarm.provider('a', contents[0] as TestContent, all, (digest) => roots.get(toHex(digest)))
    const open = contents.map((each) => swarm.open(each))
    const began = swarm.scheduler.now()
    for (const transfer of open) await swarm.during(transfer.whole())
    expect(swarm.scheduler.now() - began).toBeLessThan(laneIdleMs)
    expect(open.map(({ progress }) => progress.providers.length)).toEqual([0, 0, ...open.slice(2).map(() => 1)])
    expect([swarm.reader.penalties, served.peer.penalties]).toEqual([[], []])
    for (const transfer of open) await transfer.close()
  })

  test('refuses sizes that no content has', async () => {
    await using swarm = new TestSwarm()
    const root = { ...content.root, sizeBytes: content.root.sizeBytes + 1 }
    const options = { namespace, artifact, root, blocks: swarm.blocks, providers: () => swarm.providers }
    expect(() => swarm.transfers.open(options)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    expect(swarm.blocks.openWriters).toBe(0)
  })
})
