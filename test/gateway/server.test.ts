import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectHttp2, constants } from 'node:http2'
import { get as httpsGet, type RequestOptions } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Logger } from '../../node/index.ts'
import { seededBytes } from '../client/contract-support.ts'
import { ask, codeOf } from './ask.ts'
import { makeCertificate } from './certificate.ts'
import { startTestGateway } from './gateways.ts'
import { isInstalled } from './programs.ts'

const content = seededBytes('gateway server', 20_000_000)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-gateway-tls-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
})

async function makeTls(): Promise<{ key: string; cert: string }> {
  const { key, cert } = await makeCertificate(folder)
  return { key, cert }
}

test('closing lets what is on its way arrive, and takes no more', async () => {
  await using gateway = await startTestGateway()
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: content })
  const link = new URL(gateway.link(id))
  const client = connect(Number(link.port), link.hostname)
  client.write(`GET ${link.pathname}${link.search} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(client, 'readable')
  const closed = gateway.node.close()
  const parts: Buffer[] = []
  client.on('data', (part) => parts.push(part))
  await once(client, 'close')
  const answer = Buffer.concat(parts)
  const body = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
  expect(body.equals(content)).toBe(true)
  await closed
  await expect(ask(link.href)).rejects.toThrow('ECONNREFUSED')
})

test('closing waits for a client that takes nothing only for so long, and it gets no whole answer', async () => {
  await using gateway = await startTestGateway({ drainMs: 300 })
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: content })
  const link = new URL(gateway.link(id))
  const client = connect(Number(link.port), link.hostname)
  client.write(`GET ${link.pathname}${link.search} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(client, 'readable')
  await gateway.node.close()
  let bytes = 0
  client.on('error', () => {})
  client.on('data', (part) => {
    bytes += part.length
  })
  await once(client, 'close')
  expect(bytes).toBeLessThan(content.length)
})

test('a client that takes nothing is cut off', async () => {
  const { promise: givenUp, resolve } = Promise.withResolvers<void>()
  const logger: Logger = {
    debug: (_message, fields) => fields?.code === 'RATE_LIMITED' && resolve(),
    info: () => {},
    warn: () => {},
    error: () => {},
  }
  await using gateway = await startTestGateway({ stalledBodyMs: 500 }, logger)
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: content })
  const link = new URL(gateway.link(id))
  const client = connect(Number(link.port), link.hostname)
  client.write(`GET ${link.pathname}${link.search} HTTP/1.1\r\nHost: x\r\n\r\n`)
  await once(client, 'readable')
  const other = await ask(gateway.link(id))
  expect(other.body.equals(content)).toBe(true)
  let bytes = 0
  client.on('error', () => {})
  const cut = once(client, 'close')
  await givenUp
  // What is in its buffers it gets; the rest was not sent.
  client.on('data', (part) => {
    bytes += part.length
  })
  await cut
  expect(bytes).toBeLessThan(content.length)
})

test('headers that do not come in time end their connection', async () => {
  await using gateway = await startTestGateway({ headerTimeoutMs: 400 })
  const { port, hostname } = new URL(gateway.url)
  for (const start of ['', 'GET / HTTP/1.1\r\nX-A: b\r\n']) {
    const client = connect(Number(port), hostname)
    client.on('error', () => {})
    client.resume()
    if (start !== '') client.write(start)
    await once(client, 'close')
  }
})

test('a client has its limits, and others have their own', async () => {
  await using gateway = await startTestGateway({
    perClient: { requestsPerSecond: 1 },
    trustProxy: ['127.0.0.1'],
  })
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: Buffer.from('x') })
  const from = (address: string) => ask(gateway.link(id), { headers: { 'x-forwarded-for': address } })
  const answers = await Promise.all(Array.from({ length: 10 }, () => from('192.0.2.1')))
  const refused = answers.filter(({ status }) => status === 429)
  expect(refused.length).toBeGreaterThanOrEqual(1)
  expect(codeOf(refused[0] as (typeof answers)[number])).toBe('RATE_LIMITED')
  expect(refused[0]?.headers['retry-after']).toBe('1')
  expect((await from('192.0.2.2')).status).toBe(200)
})

test('a link has its limits, and others have their own', async () => {
  await using gateway = await startTestGateway({ perLink: { requestsPerSecond: 1 } })
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: Buffer.from('x') })
  const [one, other] = [gateway.link(id), gateway.link(id)]
  const answers = await Promise.all(Array.from({ length: 6 }, () => ask(one)))
  expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThanOrEqual(1)
  expect((await ask(other)).status).toBe(200)
})

test.each(['127.0.0.1', '127.0.0.0/8'])(
  'the address of a client is the one that a trusted proxy tells, of %s',
  async (proxies) => {
    await using gateway = await startTestGateway({ trustProxy: ['203.0.113.0/24', proxies] })
    const { id } = await gateway.node.client.artifact.create({ name: 'x', data: Buffer.from('x') })
    const link = gateway.link(id, { ip: '192.0.2.7' })
    const from = async (address: string) => (await ask(link, { headers: { 'x-forwarded-for': address } })).status
    expect(await from('192.0.2.7')).toBe(200)
    expect(await from('192.0.2.8')).toBe(403)
    // What a client put there itself stands before what the proxy added.
    expect(await from('192.0.2.7, 198.51.100.1')).toBe(403)
    expect(await from('198.51.100.1, 192.0.2.7, 203.0.113.9')).toBe(200)
    expect(await from('nonsense')).toBe(403)
  },
)

test('the admin listener has figures, the public one has not, and no capability is anywhere', async () => {
  const lines: string[] = []
  const write = (message: string, fields?: object) => lines.push(`${message} ${JSON.stringify(fields)}`)
  const logger: Logger = { debug: write, info: write, warn: write, error: write }
  await using gateway = await startTestGateway({ admin: { port: 0 } }, logger)
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: Buffer.from('hello') })
  const links = [
    gateway.link(id),
    gateway.link(id, { maxUses: 1 }),
    `${gateway.link(id)}A`,
    `${gateway.url}/x?cap=abcdefgh`,
  ]
  for (const link of [...links, ...links]) await ask(link)
  await expect(ask(`${gateway.url}/metrics`)).resolves.toMatchObject({ status: 404 })
  const admin = `http://127.0.0.1:${gateway.node.gateway?.adminPort}`
  const { body } = await ask(`${admin}/metrics`)
  const metrics = body.toString()
  expect(metrics).toContain('artifact_hub_gateway_requests_total{status="200",code=""} 3')
  expect(metrics).toContain('code="EXHAUSTED"} 1')
  expect(metrics).toContain('artifact_hub_gateway_content_bytes_total 15')
  for (const path of ['healthz', 'readyz']) expect((await ask(`${admin}/${path}`)).status).toBe(200)
  const said = lines.join('\n') + metrics
  expect(lines.length).toBeGreaterThan(4)
  for (const link of links) expect(said).not.toContain(link.split('cap=')[1] as string)
})

test('what is wrong with its options is told before anything is opened', async () => {
  const refused = [
    { port: 70_000 },
    { host: '' },
    { publicUrl: 'ftp://x' },
    { publicUrl: 'https://files.example.org/?x' },
    { publicUrl: 'https://files.example.org/#x' },
    { publicUrl: 'https://somebody@files.example.org' },
    { trustProxy: ['proxy.example.org'] },
    { trustProxy: ['10.0.0.1/8'] },
    { trustProxy: ['127.0.0.1', '10.0.0.0/33'] },
    { perClient: { concurrent: 0 } },
    { nonsense: 1 },
  ]
  for (const options of refused)
    await expect(startTestGateway(options as object), JSON.stringify(options)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  await using gateway = await startTestGateway({ publicUrl: 'https://files.example.org/hub/' })
  expect(gateway.node.gateway?.url).toBe('https://files.example.org/hub')
  await expect(startTestGateway({ port: gateway.node.gateway?.port })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
})

test.skipIf(!isInstalled('openssl'))('with a certificate it speaks HTTPS, and HTTP/2 with whoever does', async () => {
  const tls = await makeTls()
  await using gateway = await startTestGateway({ tls })
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: content })
  expect(gateway.url).toMatch(/^https:/)
  const link = new URL(gateway.link(id))

  const options: RequestOptions = { ca: tls.cert }
  const [response] = await once(httpsGet(link, options), 'response')
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part)
  expect([response.httpVersion, Buffer.concat(parts).equals(content)]).toEqual(['1.1', true])

  const session = connectHttp2(link.origin, { ca: tls.cert })
  const asked = async (headers: Record<string, string>) => {
    const stream = session.request({ ':path': link.pathname + link.search, ...headers }, { endStream: true })
    const [answer] = await once(stream, 'response')
    const body: Buffer[] = []
    for await (const part of stream) body.push(part)
    return { status: answer[':status'], body: Buffer.concat(body) }
  }
  const answers = await Promise.all([
    asked({}),
    asked({ range: 'bytes=1000-1999' }),
    asked({ ':method': 'HEAD' }),
    asked({ range: 'bytes=20000000-' }),
    asked({ ':method': 'POST' }),
  ])
  expect(answers.map(({ status }) => status)).toEqual([200, 206, 200, 416, 405])
  expect(answers[0]?.body.equals(content)).toBe(true)
  expect(answers[1]?.body.equals(content.subarray(1_000, 2_000))).toBe(true)
  session.close()
})

test.skipIf(!isInstalled('openssl'))('closing lets what is on its way over HTTP/2 arrive', async () => {
  const tls = await makeTls()
  await using gateway = await startTestGateway({ tls })
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: content })
  const link = new URL(gateway.link(id))
  const session = connectHttp2(link.origin, { ca: tls.cert })
  const stream = session.request({ ':path': link.pathname + link.search }, { endStream: true })
  await once(stream, 'response')
  const closed = gateway.node.close()
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part)
  expect(Buffer.concat(parts).equals(content)).toBe(true)
  await closed
  session.destroy()
})

test.skipIf(!isInstalled('openssl'))('requests over HTTP/2 that are taken back at once are over', async () => {
  const tls = await makeTls()
  await using gateway = await startTestGateway({ tls, perClient: { concurrent: 4 } })
  const { id } = await gateway.node.client.artifact.create({ name: 'x', data: content })
  const link = new URL(gateway.link(id))
  const session = connectHttp2(link.origin, { ca: tls.cert })
  const asked = () => session.request({ ':path': link.pathname + link.search }, { endStream: true })
  const status = async () => {
    const stream = asked()
    const [answer] = await once(stream, 'response')
    stream.close()
    return answer[':status']
  }
  expect(await status()).toBe(200)
  const closed = Array.from({ length: 8 }, () => {
    const stream = asked()
    stream.close(constants.NGHTTP2_CANCEL)
    return once(stream, 'close')
  })
  await Promise.all(closed)
  await expect.poll(status).toBe(200)
  session.destroy()
})

test.skipIf(!isInstalled('openssl'))(
  'over HTTP/2 a link that may be used once gives its rest to whoever let go of it',
  async () => {
    const tls = await makeTls()
    await using gateway = await startTestGateway({ tls })
    const small = content.subarray(0, 100_000)
    const session = connectHttp2(new URL(gateway.url).origin, { ca: tls.cert })
    for (const [name, data, takenBytes] of [
      ['large.bin', content, 1],
      // All of it is on its way before the client lets go.
      ['small.bin', small, 1],
    ] as const) {
      const { id } = await gateway.node.client.artifact.create({ name, data })
      const link = new URL(gateway.link(id, { maxUses: 1 }))
      const ask = (headers: Record<string, string> = {}) =>
        session.request({ ':path': link.pathname + link.search, ...headers }, { endStream: true })
      const begun = ask()
      const parts: Buffer[] = []
      for await (const part of begun) {
        parts.push(part)
        if (Buffer.concat(parts).length >= takenBytes) break
      }
      const taken = Buffer.concat(parts).length
      const rest = ask({ range: `bytes=${taken}-` })
      const [answer] = await once(rest, 'response')
      for await (const part of rest) parts.push(part)
      expect([name, answer[':status'], Buffer.concat(parts).equals(data)]).toEqual([name, 206, true])
      const again = ask()
      const [refused] = await once(again, 'response')
      expect([name, refused[':status']]).toEqual([name, 403])
      again.close()
    }
    session.close()
  },
)
