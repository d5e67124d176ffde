import { createReadStream } from 'node:fs'
import { noise } from '@chainsafe/libp2p-noise'
import { withBitswap } from '@helia/bitswap'
import { type HeliaWithLibp2p, withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { FsBlockstore } from 'blockstore-fs'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'
import { serveJobs } from './job-server.ts'

let helia: HeliaWithLibp2p<{ identify: unknown }> | undefined

function running(): HeliaWithLibp2p<{ identify: unknown }> {
  if (helia === undefined) throw new Error('no Helia is open')
  return helia
}

const jobs = {
  /** Gives the address that it listens on. */
  open: async (path: string): Promise<string> => {
    const light = createHeliaLight({ blockstore: new FsBlockstore(path) })
    const connected = withLibp2pLight(light, {
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify() },
    })
    helia = withBitswap(connected) as unknown as HeliaWithLibp2p<{ identify: unknown }>
    await helia.start()
    return String(helia.libp2p.getMultiaddrs()[0])
  },
  /** Processor time of this process so far, all threads, milliseconds. */
  cpu: async (): Promise<number> => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  },
  close: async (): Promise<void> => {
    await helia?.stop()
    helia = undefined
  },
  connect: async (address: string): Promise<void> => {
    await running().libp2p.dial(multiaddr(address))
  },
  add: async (path: string): Promise<string> =>
    (await unixfs(running()).addByteStream(createReadStream(path))).toString(),
  /** Reads a file of another node whole; its blocks are in the blockstore then. Gives how many bytes it has. */
  fetch: async (cid: string): Promise<number> => {
    let length = 0
    for await (const bytes of unixfs(running()).cat(CID.parse(cid))) length += bytes.length
    return length
  },
}

/** What the process of a Helia with bitswap does. */
export type BitswapJobs = typeof jobs

serveJobs(jobs)
