import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LevelStore } from '../../node/disk/index.ts'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { decodeEntry } from '../../src/log/index.ts'
import { loadNamespaceRows, NamespaceKeys } from '../../src/namespace/index.ts'
import { useFolder } from '../support/data-place.ts'
import { NodeProcess } from '../support/node-process.ts'

const place = useFolder()

test('a second process is LOCKED out with the pid of the first, and let in after a kill -9', async () => {
  await using first = new NodeProcess(place.dataDir, 'hold')
  expect(await first.until(() => true)).toEqual({ started: first.pid })
  await expect(startNode({ network: 'offline', dataDir: place.dataDir })).rejects.toMatchObject({
    code: 'LOCKED',
    retryable: true,
    details: { pid: first.pid, host: hostname() },
    message: expect.stringContaining(`process ${first.pid}`),
  })
  await using second = new NodeProcess(place.dataDir, 'hold')
  expect(await second.until(() => true)).toMatchObject({ code: 'LOCKED', details: { pid: first.pid } })
  await first.kill()
  await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
  await node.client.artifact.createSnippet({ name: 'mine', content: 'now' })
})

test('of several that start at once after a kill exactly one gets the directory', async () => {
  for (let round = 0; round < 2; round++) {
    const holder = new NodeProcess(place.dataDir, 'hold')
    expect((await holder.until(() => true)).started).toBe(holder.pid)
    await holder.kill()
    const rivals = Array.from({ length: 3 }, () => new NodeProcess(place.dataDir, 'hold'))
    try {
      const said = await Promise.all(rivals.map((rival) => rival.until(() => true)))
      const winners = said.filter(({ started }) => started !== undefined)
      expect(winners).toHaveLength(1)
      for (const { code, details } of said.filter((line) => line.started === undefined)) {
        expect(code).toBe('LOCKED')
        expect(rivals.map(({ pid }) => pid)).toContain(details?.pid)
      }
    } finally {
      await Promise.all(rivals.map((rival) => rival.kill()))
    }
  }
})

interface Place {
  readonly incarnation: string
  readonly seq: number
  readonly hash: string
}

/** Every entry of the log in the database of a closed node, signatures checked. */
async function entriesOf(dataDir: string): Promise<Place[]> {
  await using store = await LevelStore.open({ path: join(dataDir, 'db') })
  const places: Place[] = []
  for (const { id } of await loadNamespaceRows(store)) {
    for await (const [, value] of store.entries(new NamespaceKeys(id).all('entries'))) {
      const { header, hash } = decodeEntry(value)
      places.push({ incarnation: toHex(header.incarnation), seq: header.seq, hash: toHex(hash) })
    }
  }
  return places
}

/** That no place in a chain was used for two entries, in whichever directory. */
function expectNoFork(...directories: readonly Place[][]): void {
  const taken = new Map<string, string>()
  for (const { incarnation, seq, hash } of directories.flat()) {
    expect(taken.get(`${incarnation} ${seq}`) ?? hash).toBe(hash)
    taken.set(`${incarnation} ${seq}`, hash)
  }
}

async function write(node: ArtifactHubNode, name: string): Promise<string> {
  await node.client.artifact.create({ name: `${name} in packs`, data: new Uint8Array(50_000).fill(name.length) })
  return (await node.client.artifact.createSnippet({ name, content: name })).id
}

async function names(node: ArtifactHubNode): Promise<Set<string>> {
  const found = new Set<string>()
  for await (const { name } of node.client.artifact.list()) if (!name.endsWith('packs')) found.add(name)
  return found
}

async function expectSound(node: ArtifactHubNode, expected: readonly string[]): Promise<void> {
  expect(await names(node)).toEqual(new Set(expected))
  expect((await node.check({ readData: true })).findings).toEqual([])
}

test('a copy of a data directory, opened while the original goes on, writes a chain of its own', async () => {
  const copy = join(place.path, 'copy')
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'before')
  }
  await cp(place.dataDir, copy, { recursive: true, preserveTimestamps: true })
  {
    await using original = await startNode({ network: 'offline', dataDir: place.dataDir })
    await using restored = await startNode({ network: 'offline', dataDir: copy })
    expect(restored.did).toBe(original.did)
    for (let at = 0; at < 3; at++) {
      await Promise.all([write(original, `original ${at}`), write(restored, `copy ${at}`)])
    }
    await expectSound(original, ['before', 'original 0', 'original 1', 'original 2'])
    await expectSound(restored, ['before', 'copy 0', 'copy 1', 'copy 2'])
  }
  const [one, other] = [await entriesOf(place.dataDir), await entriesOf(copy)]
  expectNoFork(one, other)
  expect(new Set(one.map(({ incarnation }) => incarnation)).size).toBe(1)
  expect(new Set(other.map(({ incarnation }) => incarnation)).size).toBe(2)
})

test('a snapshot put back in the place of the original writes a chain of its own, and can be written to ever after', async () => {
  const snapshot = join(place.path, 'snapshot')
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'before')
  }
  await cp(place.dataDir, snapshot, { recursive: true, preserveTimestamps: true })
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'lost')
  }
  const lost = await entriesOf(place.dataDir)
  await rm(place.dataDir, { recursive: true })
  await rename(snapshot, place.dataDir)
  let updated: string
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    updated = await write(node, 'after')
    await expectSound(node, ['before', 'after'])
  }
  {
    // The same place now: no further incarnation.
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'later')
    await node.client.artifact.update({ artifactId: updated, content: 'again' })
    const before = (await node.client.artifact.get({ name: 'before' })).id
    await node.client.artifact.update({ artifactId: before, content: 'across chains' })
    expect((await node.client.artifact.get({ artifactId: before })).version).toBe(2)
    await expectSound(node, ['before', 'after', 'later'])
    // Both chains make the catalog that is there.
    await node.check({ repair: true })
    await expectSound(node, ['before', 'after', 'later'])
  }
  const now = await entriesOf(place.dataDir)
  expectNoFork(lost, now)
  expect(new Set(now.map(({ incarnation }) => incarnation)).size).toBe(2)
})

test('of a backup, its database alone put back or its marker alone: no place in a chain is used twice', async () => {
  const backup = join(place.path, 'backup')
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'before')
  }
  await cp(place.dataDir, backup, { recursive: true, preserveTimestamps: true })
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'lost')
  }
  const lost = await entriesOf(place.dataDir)
  await rm(join(place.dataDir, 'db'), { recursive: true })
  await cp(join(backup, 'db'), join(place.dataDir, 'db'), { recursive: true, preserveTimestamps: true })
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'after')
    await expectSound(node, ['before', 'after'])
  }
  const withOldDatabase = await entriesOf(place.dataDir)
  expectNoFork(lost, withOldDatabase)
  await writeFile(join(place.dataDir, 'incarnation'), await readFile(join(backup, 'incarnation')))
  {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    await write(node, 'last')
    await expectSound(node, ['before', 'after', 'last'])
  }
  const withOldMarker = await entriesOf(place.dataDir)
  expectNoFork(lost, withOldDatabase, withOldMarker)
  expect(new Set(withOldMarker.map(({ incarnation }) => incarnation)).size).toBe(3)
})

test('a snapshot taken of a node that was killed opens and goes on', async () => {
  await using child = new NodeProcess(place.dataDir, 'hold')
  await child.until(() => true)
  await child.kill()
  const copy = join(place.path, 'copy')
  await cp(place.dataDir, copy, { recursive: true })
  await using node = await startNode({ network: 'offline', dataDir: copy })
  await write(node, 'goes on')
  await expectSound(node, ['goes on'])
})
