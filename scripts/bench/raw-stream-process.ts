import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { open as openFile } from 'node:fs/promises'
import { noise } from '@chainsafe/libp2p-noise'
import type { Libp2p, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { tlsOnSocket } from '../../node/network/tls-on-socket.ts'
import { serveJobs } from './job-server.ts'

const protocol = '/bench/raw/1'
const pieceBytes = 1 << 20

/** The first is what our nodes use. */
const encrypters = { 'our TLS': tlsOnSocket, '@libp2p/tls': tls, noise }

let libp2p: Libp2p | undefined

function running(): Libp2p {
  if (libp2p === undefined) throw new Error('no libp2p is open')
  return libp2p
}

const jobs = {
  /** Gives the address that it listens on. */
  open: async (encryption: keyof typeof encrypters): Promise<string> => {
    libp2p = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [encrypters[encryption]()],
      streamMuxers: [yamux()],
    })
    return String(libp2p.getMultiaddrs()[0])
  },
  /** Processor time of this process so far, all threads, milliseconds. */
  cpu: async (): Promise<number> => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  },
  close: async (): Promise<void> => {
    await libp2p?.stop()
    libp2p = undefined
  },
  /** Sends a file to whoever opens a stream. */
  serve: async (path: string): Promise<void> => {
    await running().handle(protocol, async (stream) => await sendFile(stream, path))
  },
  connect: async (address: string): Promise<void> => {
    await running().dial(multiaddr(address))
  },
  /** Takes the file, hashes it, and writes it to `path` if there is one. Gives its SHA-256, hex. */
  receive: async ({ address, path }: { address: string; path: string | undefined }): Promise<string> => {
    const stream = await running().dialProtocol(multiaddr(address), protocol)
    const hash = createHash('sha256')
    const file = path === undefined ? undefined : await openFile(path, 'w')
    try {
      for await (const data of stream) {
        const parts = data instanceof Uint8Array ? [data] : [...data]
        for (const part of parts) hash.update(part)
        await file?.writev(parts)
      }
      await file?.sync()
    } finally {
      await file?.close()
    }
    await stream.close()
    return hash.digest('hex')
  },
}

async function sendFile(stream: Stream, path: string): Promise<void> {
  await using file = await openFile(path)
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(pieceBytes), 0, pieceBytes)
    if (bytesRead === 0) break
    if (!stream.send(buffer.subarray(0, bytesRead))) await drained(stream)
  }
  await stream.close()
}

async function drained(stream: Stream): Promise<void> {
  if (stream.writableNeedsDrain) await once(stream as unknown as EventTarget, 'drain')
}

/** What the process of a bare libp2p stream does. */
export type RawStreamJobs = typeof jobs

serveJobs(jobs)
