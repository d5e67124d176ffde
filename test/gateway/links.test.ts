import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { seededBytes } from '../client/contract-support.ts'
import { ask, codeOf } from './ask.ts'
import { startTestGateway, type TestGateway } from './gateways.ts'

const sizeBytes = 3_000_000
const content = seededBytes('gateway links', sizeBytes)
const digest = createHash('sha256').update(content).digest('base64')

let gateway: TestGateway
let artifactId: string
beforeAll(async () => {
  gateway = await startTestGateway({ clockSkewSeconds: 60 })
  const { artifact } = gateway.node.client
  const name = 'Übersicht 1.txt'
  artifactId = (await artifact.create({ name, data: content, contentType: 'text/plain' })).id
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

const now = () => Math.floor(Date.now() / 1000)

describe('a good link', () => {
  test('gives the content, and says what it is', async () => {
    const { status, headers, body } = await ask(gateway.link(artifactId))
    expect(status).toBe(200)
    expect(body.equals(content)).toBe(true)
    const { root } = { root: (await gateway.node.client.artifact.get({ artifactId })).cid }
    expect(headers).toMatchObject({
      etag: `"${root}"`,
      'content-length': String(sizeBytes),
      'accept-ranges': 'bytes',
      'content-type': 'text/plain',
      'content-disposition': `attachment; filename="_bersicht 1.txt"; filename*=UTF-8''%C3%9Cbersicht%201.txt`,
      'repr-digest': `sha-256=:${digest}:`,
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
      'referrer-policy': 'no-referrer',
      'access-control-allow-origin': '*',
    })
    expect(headers['cache-control']).toMatch(/^private, max-age=\d+$/)
    expect(headers['access-control-expose-headers']).toContain('Content-Range')
  })

  test('gives a range, with the digest of the whole', async () => {
    const { status, headers, body } = await ask(gateway.link(artifactId), {
      headers: { range: 'bytes=1000000-1999999' },
    })
    expect(status).toBe(206)
    expect(body.equals(content.subarray(1_000_000, 2_000_000))).toBe(true)
    expect(headers).toMatchObject({
      'content-range': `bytes 1000000-1999999/${sizeBytes}`,
      'content-length': '1000000',
      'repr-digest': `sha-256=:${digest}:`,
    })
  })

  test('has for HEAD what it has for GET, and no body', async () => {
    for (const range of [undefined, 'bytes=5-9']) {
      const headers: Record<string, string> = range === undefined ? {} : { range }
      const [get, head] = await Promise.all([
        ask(gateway.link(artifactId), { headers }),
        ask(gateway.link(artifactId), { method: 'HEAD', headers }),
      ])
      expect(head.body).toHaveLength(0)
      const { date: _, ...told } = head.headers
      expect(get).toMatchObject({ status: head.status, headers: told })
    }
  })

  test('is not sent again to whoever has it', async () => {
    const link = gateway.link(artifactId)
    const etag = (await ask(link, { method: 'HEAD' })).headers.etag as string
    const { status, headers, body } = await ask(link, { headers: { 'if-none-match': etag } })
    expect([status, headers.etag, body.length]).toEqual([304, etag, 0])
    const failed = await ask(link, { headers: { 'if-match': '"another"' } })
    expect([failed.status, codeOf(failed)]).toEqual([412, 'CONFLICT'])
  })

  test('of no such bytes', async () => {
    const answer = await ask(gateway.link(artifactId), { headers: { range: `bytes=${sizeBytes}-` } })
    expect([answer.status, codeOf(answer)]).toEqual([416, 'RANGE_INVALID'])
    expect(answer.headers['content-range']).toBe(`bytes */${sizeBytes}`)
  })

  test('needs neither host nor path’s name nor the order of its query', async () => {
    const link = new URL(gateway.link(artifactId))
    link.pathname = link.pathname.replace(/[^/]+$/, 'other%20name')
    const answer = await ask(`${link}&utm_source=mail`, { headers: { host: 'files.example.org' } })
    expect(answer.status).toBe(200)
  })

  test('may be asked for from any origin', async () => {
    const { status, headers, body } = await ask(gateway.link(artifactId), {
      method: 'OPTIONS',
      headers: {
        origin: 'https://example.org',
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'range',
      },
    })
    expect([status, body.length]).toEqual([204, 0])
    expect(headers['access-control-allow-origin']).toBe('*')
    expect(headers['access-control-allow-headers']).toContain('Range')
  })

  test('is cached for no longer than it lasts', async () => {
    const { headers } = await ask(gateway.link(artifactId, { expires: now() + 5 }), { method: 'HEAD' })
    expect(Number(/max-age=(\d+)/.exec(headers['cache-control'] ?? '')?.[1])).toBeLessThanOrEqual(5)
  })

  test('follows the artifact, and an ETag tells versions apart', async () => {
    const { artifact } = gateway.node.client
    const { id } = await artifact.create({ name: 'changes.txt', data: Buffer.from('one') })
    const link = gateway.link(id)
    const first = await ask(link)
    await artifact.update({ artifactId: id, data: Buffer.from('two') })
    const second = await ask(link, { headers: { range: 'bytes=0-0', 'if-range': first.headers.etag as string } })
    expect([first.body.toString(), second.status, second.body.toString()]).toEqual(['one', 200, 'two'])
    await artifact.delete({ artifactId: id })
    const gone = await ask(link)
    expect([gone.status, codeOf(gone)]).toEqual([404, 'NOT_FOUND'])
  })

  test('of nothing', async () => {
    const { id } = await gateway.node.client.artifact.create({ name: 'empty', data: Buffer.alloc(0) })
    const { status, headers, body } = await ask(gateway.link(id))
    expect([status, headers['content-length'], body.length]).toEqual([200, '0', 0])
    expect((await ask(gateway.link(id), { headers: { range: 'bytes=0-' } })).status).toBe(416)
  })
})

describe('a link that is refused', () => {
  const refusal = async (url: string, options: Parameters<typeof ask>[1] = {}) => {
    const answer = await ask(url, options)
    expect(answer.headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    })
    return [answer.status, codeOf(answer)]
  }
  const withCap = (cap: string) => `${gateway.link(artifactId).split('?')[0]}?${cap}`

  test('without a capability', async () => {
    for (const query of ['', 'cap=', 'x=1']) expect(await refusal(withCap(query))).toEqual([401, 'SIGNATURE_MISSING'])
  })

  test('with what is none', async () => {
    for (const query of ['cap=abc', 'cap=%00', `cap=${'A'.repeat(9_000)}`, 'cap=!!!', 'cap=a&cap=b'])
      expect(await refusal(withCap(query)), query.slice(0, 20)).toEqual([403, 'SIGNATURE_INVALID'])
  })

  test('with any bit of its token changed', async () => {
    const link = gateway.link(artifactId)
    const [start, cap = ''] = link.split('cap=')
    const token = Buffer.from(cap, 'base64url')
    for (let at = 0; at < token.length; at++) {
      const damaged = Buffer.from(token)
      damaged[at] = (damaged[at] as number) ^ (1 << (at % 8))
      expect(await refusal(`${start}cap=${damaged.toString('base64url')}`), `byte ${at}`).toEqual([
        403,
        'SIGNATURE_INVALID',
      ])
    }
  })

  test('for another artifact, whether or not that is here', async () => {
    const other = await gateway.node.client.artifact.create({ name: 'other', data: Buffer.from('x') })
    const link = gateway.link(artifactId)
    expect(await refusal(link.replace(artifactId, other.id))).toEqual([403, 'SIGNATURE_INVALID'])
    expect(await refusal(link.replace(artifactId, `art_${'a'.repeat(32)}`))).toEqual([403, 'SIGNATURE_INVALID'])
    expect(await refusal(link.replace(artifactId, 'nonsense'))).toEqual([403, 'SIGNATURE_INVALID'])
    // It is only told that nothing is there once the token was found good.
    expect(await refusal(gateway.link(`art_${'a'.repeat(32)}`))).toEqual([404, 'NOT_FOUND'])
  })

  test('after its time and before it, as far as clocks may differ', async () => {
    const at = (notBefore: number, expires: number) => gateway.link(artifactId, { notBefore, expires })
    const past = await ask(at(now() - 3_600, now() - 62))
    expect([past.status, codeOf(past)]).toEqual([403, 'EXPIRED'])
    expect(JSON.parse(past.body.toString())).toMatchObject({
      expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
      serverTime: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    expect(await refusal(at(now() + 63, now() + 3_600))).toEqual([403, 'NOT_YET_VALID'])
    expect((await ask(at(now() - 3_600, now() - 50))).status).toBe(200)
    expect((await ask(at(now() + 50, now() + 3_600))).status).toBe(200)
  })

  test('for another gateway', async () => {
    const audience = [{ kind: 'agent' as const, id: new AgentKey(new Uint8Array(32).fill(5)).publicKey }]
    expect(await refusal(gateway.link(artifactId, { audience }))).toEqual([403, 'AUDIENCE_MISMATCH'])
  })

  test('for another address', async () => {
    expect(await refusal(gateway.link(artifactId, { ip: '192.0.2.0/24' }))).toEqual([403, 'IP_DENIED'])
    expect((await ask(gateway.link(artifactId, { ip: '127.0.0.0/8' }))).status).toBe(200)
  })

  test('for a header that anyone may write, where no proxy is trusted', async () => {
    const link = gateway.link(artifactId, { ip: '192.0.2.7' })
    expect(await refusal(link, { headers: { 'x-forwarded-for': '192.0.2.7' } })).toEqual([403, 'IP_DENIED'])
  })

  test('by a method that is none', async () => {
    for (const method of ['POST', 'PUT', 'PATCH']) {
      const answer = await ask(gateway.link(artifactId), { method, body: 'x'.repeat(100) })
      expect([answer.status, answer.headers.allow]).toEqual([405, 'GET, HEAD, OPTIONS'])
    }
  })

  test('on a page for a person who opened it', async () => {
    const { status, headers, body } = await ask(withCap('cap=abc'), {
      headers: { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' },
    })
    expect([status, headers['content-type']]).toEqual([403, 'text/html; charset=utf-8'])
    expect(body.toString()).toContain('403 SIGNATURE_INVALID')
  })

  test('on paths that are none, without its capability being repeated', async () => {
    const { search } = new URL(gateway.link(artifactId))
    for (const path of ['/a/%ff/x', '/a/%', '/%2', `/a/${'x'.repeat(5_000)}/x`]) {
      expect(await refusal(`${gateway.url}${path}${search}`), path.slice(0, 20)).toEqual([400, 'INVALID_ARGUMENT'])
      expect((await ask(`${gateway.url}${path}${search}`)).body.toString()).not.toContain(search.slice(5, 50))
    }
  })

  test('on paths where nothing is', async () => {
    for (const path of ['/', '/a', '/a/x', '/metrics', '/a/x/y/z', '/%', '/a/%ff/x'])
      expect((await ask(`${gateway.url}${path}`)).status, path).toBeGreaterThanOrEqual(400)
    expect((await ask(`${gateway.url}/healthz`)).body.toString()).toBe('ok\n')
    expect((await ask(`${gateway.url}/readyz`)).status).toBe(200)
  })
})

describe('a link with a bound on its uses', () => {
  test('is given out so many times, whoever comes at once', async () => {
    const link = gateway.link(artifactId, { maxUses: 1 })
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask(link)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter((answer) => answer.status === 403 && codeOf(answer) === 'EXHAUSTED')).toHaveLength(99)
  })

  test('may be looked at and taken in parts', async () => {
    const link = gateway.link(artifactId, { maxUses: 1 })
    expect((await ask(link, { method: 'HEAD' })).status).toBe(200)
    const parts: Buffer[] = []
    for (let at = 0; at < sizeBytes; at += 500_000) {
      const range = `bytes=${at}-${at + 499_999}`
      parts.push((await ask(link, { headers: { range } })).body)
    }
    expect(Buffer.concat(parts).equals(content)).toBe(true)
    expect(codeOf(await ask(link, { headers: { range: 'bytes=0-0' } }))).toBe('EXHAUSTED')
  })

  test('lets another part of one download take over, and who had that before is cut off there', async () => {
    // More than the buffers on the way hold.
    const large = seededBytes('gateway links, large', 60_000_000)
    const { id } = await gateway.node.client.artifact.create({ name: 'large.bin', data: large })
    const link = new URL(gateway.link(id, { maxUses: 1 }))
    const whole = connect(Number(link.port), link.hostname)
    whole.write(`GET ${link.pathname}${link.search} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await once(whole, 'readable')
    const tail = await ask(link.href, { headers: { range: 'bytes=50000000-' } })
    expect(tail.status).toBe(206)
    expect(tail.body.equals(large.subarray(50_000_000))).toBe(true)
    const parts: Buffer[] = []
    whole.on('error', () => {})
    whole.on('data', (part) => parts.push(part))
    await once(whole, 'close')
    const answer = Buffer.concat(parts)
    expect(answer.toString('latin1', 0, 1_000)).toContain(`content-length: ${large.length}`)
    const body = answer.subarray(answer.indexOf('\r\n\r\n') + 4)
    expect(body.equals(large.subarray(0, 50_000_000))).toBe(true)
    expect(codeOf(await ask(link.href))).toBe('EXHAUSTED')
  })
})
