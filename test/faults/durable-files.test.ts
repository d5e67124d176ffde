import { open, readFile, readlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { startNode } from '../../node/index.ts'
import { useFolder } from '../support/data-place.ts'

const place = useFolder()

interface Synced {
  /** As the file was called then. */
  readonly name: string
  readonly how: 'sync' | 'datasync'
}

/** Tells of every file that is made durable, before it is. Gives what was. */
async function watchSyncs(before: (synced: Synced) => Promise<void> = async () => {}): Promise<Synced[]> {
  const seen: Synced[] = []
  await using handle = await open('/dev/null')
  const prototype = Object.getPrototypeOf(handle) as typeof handle
  for (const how of ['sync', 'datasync'] as const) {
    const original = prototype[how]
    vi.spyOn(prototype, how).mockImplementation(async function (this: typeof handle) {
      const synced = { name: basename(await readlink(`/proc/self/fd/${this.fd}`)), how }
      seen.push(synced)
      await before(synced)
      await original.call(this)
    })
  }
  return seen
}

afterEach(() => vi.restoreAllMocks())

// A kill shows nothing of it, for the page cache survives; and these files are not on the simulated disk.
test.runIf(process.platform === 'linux')(
  'what a first start writes beside the database is on the disk before it has its name',
  async () => {
    const seen = await watchSyncs()
    await using _ = await startNode({ network: 'offline', dataDir: place.dataDir })
    const names = seen.map(({ name }) => name)
    expect(names).toEqual(expect.arrayContaining(['FORMAT.new', 'identity.key.new', 'agent.new', 'incarnation.new']))
    // So is its own name, in the folder that it is in.
    expect(names).toContain(basename(place.path))
    // Their names are, after them.
    for (const name of ['FORMAT.new', 'identity.key.new', 'agent.new', 'incarnation.new'])
      expect(names.slice(names.indexOf(name)), name).toContain('data')
    expect(names.slice(0, names.lastIndexOf('packs'))).toContain('db')
  },
)

test.runIf(process.platform === 'linux')(
  'a download that replaces a file is on the disk before it takes its place; one to a new place need not be',
  async () => {
    await using node = await startNode({ network: 'offline', dataDir: place.dataDir })
    const { artifact } = node.client
    const { id: artifactId } = await artifact.createSnippet({ name: 'it', content: 'first' })
    const path = join(place.path, 'it')
    let there = ''
    const seen = await watchSyncs(async () => {
      there = await readFile(path, 'utf8')
    })
    await artifact.downloadFile({ artifactId, path })
    expect(seen).toEqual([])
    vi.restoreAllMocks()
    await artifact.update({ artifactId, content: 'second' })
    const again = await watchSyncs(async () => {
      there = await readFile(path, 'utf8')
    })
    await artifact.downloadFile({ artifactId, path, overwrite: true })
    expect(again).toEqual([{ name: expect.stringMatching(/^\.it\..*\.part$/), how: 'datasync' }])
    expect([there, await readFile(path, 'utf8')]).toEqual(['first', 'second'])
  },
)
