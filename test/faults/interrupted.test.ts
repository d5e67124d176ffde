import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LevelStore } from '../../node/disk/index.ts'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { packWriteBytes } from '../../src/limits.ts'
import { loadNamespaceRows, NamespaceKeys, type NamespaceRow } from '../../src/namespace/index.ts'
import type { KeyValueChange } from '../../src/storage/index.ts'
import { useFolder } from '../support/data-place.ts'
import { Ledger, sha256Of } from '../support/ledger.ts'
import { bytesOf } from '../support/mixed-workload.ts'
import { NodeProcess } from '../support/node-process.ts'

const place = useFolder()
const random = numbers(23)

async function packBytes(node: ArtifactHubNode): Promise<number> {
  return (await node.du()).reduce((sum, usage) => sum + usage.packBytes, 0)
}

/** Small artifacts in such number that looking at them all takes a while; some large ones deleted between them. */
async function prepare(): Promise<Ledger> {
  const ledger = new Ledger()
  await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
  const create = async (name: string, sizeBytes: number) => {
    const data = bytesOf(random, sizeBytes)
    const key = ledger.begin({ kind: 'create', name, sha256: sha256Of(data) })
    const made = await node.client.artifact.create({ name, data })
    ledger.acknowledge(key, made)
    return made.id
  }
  await Promise.all(Array.from({ length: 120 }, (_, at) => create(`small-${at}`, 200 + at)))
  for (let at = 0; at < 12; at++) {
    const id = await create(`large-${at}`, 900_000)
    if (at % 3 === 0) continue
    const key = ledger.begin({ kind: 'delete', artifactId: id })
    await node.client.artifact.delete({ artifactId: id })
    ledger.acknowledge(key)
  }
  return ledger
}

test('an upload that was killed, run again, stores only what is missing and gives the right bytes', async () => {
  const path = join(place.path, 'large.bin')
  const sizeBytes = 100_000_000
  const bytes = bytesOf(random, sizeBytes)
  await writeFile(path, bytes)
  for (const share of [0.3, 0.6]) {
    // By its own hand: by another's it might be through before that reaches it.
    await using child = new NodeProcess(place.dataDir, 'upload', path, `${share * sizeBytes}`)
    const { code } = await child.until(({ loaded }) => loaded !== undefined && loaded > share * sizeBytes)
    expect(code).toBeUndefined()
    await child.kill()
  }
  await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
  expect((await node.client.artifact.list()).items).toEqual([])
  const before = await packBytes(node)
  // Killed past three fifths, a third of it at least was on the disk.
  expect(before).toBeGreaterThan(sizeBytes / 3)
  const { id, sha256 } = await node.client.artifact.uploadFile({ path })
  const after = await packBytes(node)
  // Each time the write under way is torn and stays as waste until a gc: nothing else is there twice.
  const waste = (await node.du()).reduce((sum, { deadBytes }) => sum + deadBytes, 0)
  expect(after - waste).toBeLessThan(sizeBytes * 1.01)
  expect(waste).toBeLessThanOrEqual(2 * packWriteBytes)
  expect(after - before).toBeLessThan(sizeBytes * 0.7)
  expect(sha256).toBe(sha256Of(bytes))
  expect(sha256Of(await node.client.artifact.download({ artifactId: id }))).toBe(sha256)
  expect((await node.check({ readData: true })).findings).toEqual([])
  // Nothing of the tries before is left over.
  await node.gc({ now: true })
  expect(await packBytes(node)).toBeGreaterThan(sizeBytes)
})

test('a gc that is killed anywhere leaves everything that is live, and the next one finishes', async () => {
  const ledger = await prepare()
  for (let round = 0; round < 4; round++) {
    await using child = new NodeProcess(place.dataDir, 'gc')
    await child.until(({ started }) => started !== undefined)
    const finished = child.until(({ done }) => done !== undefined).catch(() => {})
    const killed = new Promise((resolve) => setTimeout(resolve, random() * 60))
    await Promise.race([finished, killed])
    await child.kill()
    await finished
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await ledger.verify(node.client)
    expect((await node.check({ readData: true })).findings).toEqual([])
  }
  await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
  await node.gc({ now: true })
  expect(await node.du()).toMatchObject([{ deadBytes: 0 }])
  // Four large ones are left of twelve.
  expect(await packBytes(node)).toBeLessThan(4.1 * 900_000)
  await ledger.verify(node.client)
})

test('a repair that is killed anywhere is finished by the next start', async () => {
  const ledger = await prepare()
  for (const moment of [1, 2, 4]) {
    await breakCatalog(place.dataDir)
    await using child = new NodeProcess(place.dataDir, 'repair')
    // The log is derived twice: to compare, and in place.
    let seen = 0
    await child.until(({ step, done }) => done !== undefined || (step === 'log' && ++seen >= moment))
    await child.kill()
    {
      await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
      await node.check({ repair: true })
      await ledger.verify(node.client)
      expect((await node.check({ readData: true })).findings).toEqual([])
    }
  }
})

/** Deletes a few rows of the catalog of a closed node. */
async function breakCatalog(dataDir: string): Promise<void> {
  await using store = await LevelStore.open({ path: join(dataDir, 'db') })
  const [row] = await loadNamespaceRows(store)
  const range = new NamespaceKeys((row as NamespaceRow).id).all('catalog')
  const changes: KeyValueChange[] = []
  let at = 0
  for await (const [key] of store.entries(range)) if (at++ % 50 === 0) changes.push({ type: 'del', key })
  await store.batch(changes, { sync: true })
}
