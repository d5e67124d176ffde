import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { unixfs } from '@helia/unixfs'
import { FsBlockstore } from 'blockstore-fs'
import { createHeliaLight, type Helia } from 'helia'
import { serveJobs } from './job-server.ts'

let server: Server | undefined
let helia: Helia | undefined

type Read = (offset: number, length: number) => Readable

async function serve(sizeBytes: number, read: Read): Promise<string> {
  const listener: RequestListener = (request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? []
    const offset = Number(first ?? 0)
    const length = Number(last ?? sizeBytes - 1) - offset + 1
    response.writeHead(first === undefined ? 200 : 206, { 'content-length': length })
    // A client that goes away is no failure here.
    pipeline(read(offset, length), response).catch(() => {})
  }
  server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const jobs = {
  /** A bare Node server of one file; gives its URL. */
  file: async (path: string): Promise<string> => {
    const { size } = await stat(path)
    return await serve(size, (start, length) =>
      createReadStream(path, { start, end: start + length - 1, highWaterMark: 1 << 20 }),
    )
  },
  /** Helia behind such a server. */
  helia: async ({ path, folder }: { path: string; folder: string }): Promise<string> => {
    helia = createHeliaLight({ blockstore: new FsBlockstore(folder) })
    await helia.start()
    const files = unixfs(helia)
    const cid = await files.addByteStream(createReadStream(path))
    const { size } = await stat(path)
    return await serve(size, (offset, length) => Readable.from(files.cat(cid, { offset, length })))
  },
  close: async (): Promise<void> => {
    server?.closeAllConnections()
    server?.close()
    await helia?.stop()
  },
}

/** What the process of a plain server does. */
export type FileServerJobs = typeof jobs

serveJobs(jobs)
