import { copyFile, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { startNode } from '../../node/index.ts'
import { useFolder } from '../support/data-place.ts'

const place = useFolder()
const content = new TextEncoder().encode('sealed to one agent')
let did: string
let artifactId: string

beforeEach(async () => {
  await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
  did = node.did
  artifactId = (await node.client.artifact.create({ name: 'kept', data: content })).id
})

async function expectAllThere(): Promise<void> {
  await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
  expect(node.did).toBe(did)
  expect(await node.client.artifact.download({ artifactId })).toEqual(content)
  expect((await node.check({ readData: true })).findings).toEqual([])
}

test.each([
  ['', []],
  [', its owner’s name with it,', ['agent']],
  [', the database with it,', ['db']],
])(
  'a lost identity.key%s is ACCESS_DENIED and not replaced by a new agent; put back, all is there',
  async (_, lost) => {
    const away = ['identity.key', ...lost]
    for (const name of away) await rename(join(place.dataDir, name), join(place.path, name))
    const before = (await readdir(place.dataDir)).sort()
    for (const passphrase of [undefined, 'new']) {
      await expect(startNode({ network: 'offline', dataDir: place.dataDir, passphrase })).rejects.toMatchObject({
        code: 'ACCESS_DENIED',
        message: expect.stringMatching(/identity\.key is missing.*restore it from a backup/),
      })
    }
    expect((await readdir(place.dataDir)).sort()).toEqual(before)
    for (const name of away) await rename(join(place.path, name), join(place.dataDir, name))
    await expectAllThere()
  },
)

test('another agent’s identity.key is ACCESS_DENIED and names both; with the right one back, all is there', async () => {
  const other = join(place.path, 'other')
  const { did: otherDid } = await startNode({ network: 'offline', dataDir: other }).then(async (node) => {
    await node.close()
    return node
  })
  const own = join(place.dataDir, 'identity.key')
  await rename(own, join(place.path, 'own.key'))
  await copyFile(join(other, 'identity.key'), own)
  await expect(startNode({ network: 'offline', dataDir: place.dataDir })).rejects.toMatchObject({
    code: 'ACCESS_DENIED',
    details: { did: otherDid, expectedDid: did },
  })
  await rename(join(place.path, 'own.key'), own)
  await expectAllThere()
})

test('a first start that was cut off after the key was written goes on with that key', async () => {
  for (const keeps of [['identity.key'], ['identity.key', 'agent'], ['identity.key', 'agent', 'incarnation']]) {
    for (const name of await readdir(place.dataDir)) {
      if (name !== 'FORMAT' && !keeps.includes(name)) await rm(join(place.dataDir, name), { recursive: true })
    }
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    expect(node.did).toBe(did)
    await node.client.artifact.create({ name: 'new', data: content })
    expect((await node.check()).findings).toEqual([])
  }
})

test('a directory that does not say whose it is yet is told so at the next start, for its owner alone to read', async () => {
  const path = join(place.dataDir, 'agent')
  await rm(path)
  await expectAllThere()
  expect(await readFile(path, 'utf8')).toBe(`${did}\n`)
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  await writeFile(path, 'nobody')
  await expect(startNode({ network: 'offline', dataDir: place.dataDir })).rejects.toMatchObject({ code: 'CORRUPT' })
})
