import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ControlledNode } from '../support/controlled-node.ts'
import { ask } from './ask.ts'
import { freePort } from './nginx.ts'
import { isInstalled, run } from './programs.ts'

const MiB = 1024 * 1024
const sizeBytes = 8 * MiB
/** What a gateway may take in all while it is attacked, bytes: the process itself, and its memory for bodies. */
const maxMemoryBytes = 600 * MiB

let folder: string
let gateway: ControlledNode
let link: string
let url: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-attacks-'))
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  gateway = await ControlledNode.start({
    dataDir: join(folder, 'data'),
    network: 'offline',
    gateway: { port, headerTimeoutMs: 3_000, stalledBodyMs: 5_000 },
  })
  const { id } = await gateway.write('personal', 'x', 'attacks', sizeBytes)
  const gateways = [{ agent: gateway.did, url }]
  link = await gateway.call('client.artifact.getSignedUrl', { artifactId: id, gateways })
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

/** Downloads from another address than the attacks', one after the other, until the signal; told of each. @throws when one fails */
async function download(signal: AbortSignal, ended: () => void): Promise<void> {
  while (!signal.aborted) {
    const { status, body } = await ask(link, { localAddress: '127.0.0.2' })
    expect([status, body.length]).toEqual([200, sizeBytes])
    ended()
  }
}

/** Attacks until others have downloaded three times meanwhile. */
async function during(attack: () => Promise<void>): Promise<void> {
  const over = new AbortController()
  let count = 0
  const downloads = download(over.signal, () => count++)
  const failed = downloads.then(() => false)
  failed.catch(() => {})
  do await Promise.race([attack(), failed])
  while (count < 3)
  over.abort()
  await downloads
  expect(await gateway.call<number>('peakMemory')).toBeLessThan(maxMemoryBytes)
}

const seconds = 8
const attacks = [
  ['slow headers', ['-H', '-i', '2']],
  ['slow bodies', ['-B', '-i', '2', '-s', '8192']],
  ['many ranges', ['-R', '-a', '10', '-b', '3000']],
  ['slow reading', ['-X', '-w', '512', '-y', '1024', '-n', '1', '-z', '32', '-k', '3']],
] as const

test.skipIf(!isInstalled('slowhttptest')).each(attacks)('others go on downloading beside %s', async (_name, args) => {
  await during(async () => {
    const common = ['-c', '500', '-r', '200', '-p', '2', '-l', String(seconds), '-t', 'GET', '-u', link]
    const { output } = await run('slowhttptest', [...args, ...common])
    expect(output).toContain('Exit status')
  })
})

test('others go on downloading beside 2,000 connections on which nothing comes, and those are closed', async () => {
  const { port } = new URL(url)
  await during(async () => {
    const idle: Socket[] = []
    for (let count = 0; count < 2_000; count++) {
      // Whoever was not let in while the system had no room for it is told only when it asks.
      const socket = connect({ port: Number(port), host: '127.0.0.1', keepAlive: true, keepAliveInitialDelay: 1_000 })
      socket.on('error', () => {})
      idle.push(socket)
      if (count % 100 === 99) await once(socket, 'connect')
    }
    await Promise.all(idle.map((socket) => socket.closed || once(socket.resume(), 'close')))
  })
})

test('two hundred slow downloads share the memory', async () => {
  const { port, pathname, search } = new URL(link)
  const request = `GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`
  await during(async () => {
    // They take what their buffers hold, and then nothing.
    const slow: Socket[] = []
    for (let count = 0; count < 200; count++) {
      const socket = connect(Number(port), '127.0.0.1')
      socket.on('error', () => {})
      socket.write(request)
      slow.push(socket)
    }
    await Promise.all(slow.map((socket) => once(socket, 'readable')))
    for (let count = 0; count < 3; count++) expect((await ask(link)).body).toHaveLength(sizeBytes)
    for (const socket of slow) socket.destroy()
  })
})
