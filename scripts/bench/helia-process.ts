import { createReadStream } from 'node:fs'
import { open as openFile } from 'node:fs/promises'
import { unixfs } from '@helia/unixfs'
import { FsBlockstore } from 'blockstore-fs'
import { createHeliaLight, type Helia } from 'helia'
import { CID } from 'multiformats/cid'
import { serveJobs } from './job-server.ts'

let helia: Helia | undefined

function running(): Helia {
  if (helia === undefined) throw new Error('no Helia is open')
  return helia
}

const jobs = {
  open: async (path: string): Promise<void> => {
    helia = createHeliaLight({ blockstore: new FsBlockstore(path) })
    await helia.start()
  },
  close: async (): Promise<void> => {
    await helia?.stop()
    helia = undefined
  },
  add: async (path: string): Promise<string> =>
    (await unixfs(running()).addByteStream(createReadStream(path))).toString(),
  cat: async ({ cid, path }: { cid: string; path: string }): Promise<void> => {
    await using target = await openFile(path, 'w')
    for await (const bytes of unixfs(running()).cat(CID.parse(cid))) await target.write(bytes)
  },
}

/** What the process of plain Helia does. */
export type HeliaJobs = typeof jobs

serveJobs(jobs)
