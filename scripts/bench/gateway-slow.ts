import { once } from 'node:events'
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { GatewayJobs, GatewayPlace } from './gateway-process.ts'
import { JobProcess } from './job-process.ts'

/** Clients that each take a little a second. */
export const slowClients = 500
const slowSeconds = 20
/** What each takes, bytes a second. */
const bytesPerSecond = 50_000

/** How the clients speak. */
export type Speech = 'HTTP' | 'HTTPS' | 'HTTP/2'

/** A client's answer, to be read as slowly as one likes. */
interface SlowClient {
  readonly body: Readable
  end(): void
}

/** The most memory that a gateway has resident while many clients each take a little a second of one artifact, MB. */
export async function slowDownloads(place: GatewayPlace, artifactId: string, speech: Speech): Promise<number> {
  const hub = new JobProcess<GatewayJobs>(new URL('./gateway-process.ts', import.meta.url))
  await hub.run('open', place)
  const link = new URL((await hub.run('link', artifactId)).result)
  const open = speech === 'HTTP/2' ? overHttp2 : overHttp1
  const clients: SlowClient[] = []
  while (clients.length < slowClients) clients.push(await open(link))
  await Promise.all(clients.map(({ body }) => body.readableLength > 0 || once(body, 'readable')))
  for (let tick = 0; tick < slowSeconds * 5; tick++) {
    for (const { body } of clients) body.read(Math.min(body.readableLength, bytesPerSecond / 5))
    await delay(200)
  }
  if (clients.some(({ body }) => body.destroyed)) throw new Error('a slow download was cut off')
  const { peakRssBytes } = await hub.run('rest', undefined as never)
  for (const client of clients) client.end()
  await hub.run('close', undefined as never)
  await hub.close()
  return peakRssBytes / 1e6
}

async function overHttp1({ protocol, hostname, port, pathname, search }: URL): Promise<SlowClient> {
  const socket =
    protocol === 'https:'
      ? connectTls({ port: Number(port), host: hostname, rejectUnauthorized: false })
      : connect(Number(port), hostname)
  socket.on('error', () => {})
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: bench\r\n\r\n`)
  return { body: socket, end: () => socket.destroy() }
}

/** A connection of its own, as other clients have. */
async function overHttp2(link: URL): Promise<SlowClient> {
  const session: ClientHttp2Session = connectHttp2(link.origin, { rejectUnauthorized: false })
  session.on('error', () => {})
  const stream = session.request({ ':path': link.pathname + link.search }, { endStream: true })
  stream.on('error', () => {})
  return { body: stream, end: () => session.destroy() }
}
