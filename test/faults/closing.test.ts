import { afterEach, beforeEach, expect, test } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { startNode } from '../../node/index.ts'
import { useFolder } from '../support/data-place.ts'
import { Ledger, sha256Of } from '../support/ledger.ts'
import { bytesOf } from '../support/mixed-workload.ts'

const place = useFolder()
const random = numbers(29)
let unhandled: unknown[] = []
const note = (reason: unknown) => unhandled.push(reason)

beforeEach(() => {
  unhandled = []
  process.on('unhandledRejection', note)
})

afterEach(() => {
  process.off('unhandledRejection', note)
})

test('close amid uploads, downloads, check and gc resolves; what was acknowledged is there at the next start', async () => {
  const ledger = new Ledger()
  for (let round = 0; round < 6; round++) {
    const node = await startNode({ network: 'offline', dataDir: place.dataDir })
    const { artifact } = node.client
    const ends: Promise<unknown>[] = []
    const create = (name: string, sizeBytes: number) => {
      const data = bytesOf(random, sizeBytes)
      const key = ledger.begin({ kind: 'create', name, sha256: sha256Of(data) })
      const made = artifact.create({ name, data })
      ends.push(made.then((answer) => ledger.acknowledge(key, answer)))
      return made
    }
    const { id } = await create(`${round} before`, 3_000_000)
    for (let at = 0; at < 12; at++) ends.push(create(`${round}-${at}`, at % 3 === 0 ? 2_000_000 : 10_000 * at))
    for (let at = 0; at < 6; at++) ends.push(artifact.download({ artifactId: id }))
    ends.push(
      (async () => {
        for await (const piece of artifact.downloadStream({ artifactId: id })) expect(piece.length).toBeGreaterThan(0)
      })(),
    )
    ends.push(node.gc({ now: true }), node.check({ readData: true }))
    // A little further into the work each time.
    for (let turns = 0; turns < round * round * 20; turns++) await new Promise((resolve) => setImmediate(resolve))
    const settled = Promise.allSettled(ends)
    await node.close()
    await node.close()
    for (const end of await settled) {
      if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'CLOSED' })
    }
    await expect(artifact.createSnippet({ name: 'late', content: 'too late' })).rejects.toMatchObject({
      code: 'CLOSED',
    })
    await using next = await startNode({ network: 'offline', dataDir: place.dataDir })
    await ledger.verify(next.client)
    expect((await next.check({ readData: true })).findings).toEqual([])
  }
  expect(ledger.size).toBeGreaterThanOrEqual(6)
  expect(unhandled).toEqual([])
})
