import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { seededBytes } from '../client/contract-support.ts'
import { type Certificate, makeCertificate } from './certificate.ts'
import { startTestGateway, type TestGateway } from './gateways.ts'
import { type Nginx, startNginx } from './nginx.ts'
import { isInstalled, run } from './programs.ts'

const host = 'files.example.org'
const content = seededBytes('behind nginx', 40_000_000)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** What the README tells nginx, with the places of this test. */
async function configuration(folder: string, { keyPath, certPath }: Certificate, gatewayPort: number) {
  const readme = await readFile(join(import.meta.dirname, '../../README.md'), 'utf8')
  const [, server = ''] = /```nginx\n(.*?)```/s.exec(readme) ?? []
  const [, format = ''] = /# (log_format files '[^']*');/.exec(server) ?? []
  return (port: number): string =>
    [
      ['listen 443', `listen 127.0.0.1:${port}`],
      ['/etc/ssl/files.pem', certPath],
      ['/etc/ssl/files.key', keyPath],
      ['/var/log/nginx/files.log', join(folder, 'access.log')],
      ['/var/log/nginx/files-error.log', join(folder, 'files-error.log')],
      ['http://127.0.0.1:8080', `http://127.0.0.1:${gatewayPort}`],
    ].reduce((text, [told = '', here = '']) => {
      if (!text.includes(told)) throw new Error(`the README does not say ${told}`)
      return text.replace(told, here)
    }, `${format};\n${server}`)
}

const hasAll = ['nginx', 'curl', 'openssl'].every(isInstalled)
describe.skipIf(!hasAll)('a gateway behind nginx that ends TLS, as the README has it', () => {
  let folder: string
  let gateway: TestGateway
  let nginx: Nginx
  let certificate: Certificate
  let artifactId: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'artifact-hub-behind-nginx-'))
    gateway = await startTestGateway({ publicUrl: `https://${host}`, trustProxy: ['127.0.0.1'], drainMs: 200 })
    certificate = await makeCertificate(folder, host)
    const port = gateway.node.gateway?.port as number
    nginx = await startNginx(folder, await configuration(folder, certificate, port))
    artifactId = (await gateway.node.client.artifact.create({ name: 'large.bin', data: content })).id
  })
  afterAll(async () => {
    await nginx?.[Symbol.asyncDispose]()
    await gateway?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  let bodies = 0
  /** curl over HTTP/2, from an address that is not the proxy’s; what it gets goes to a file. */
  async function curl(link: string, ...options: string[]) {
    const path = join(folder, `body-${++bodies}`)
    const here = ['--cacert', certificate.certPath, '--connect-to', `${host}:443:127.0.0.1:${nginx.port}`]
    const shown = ['--interface', '127.0.0.2', '-w', '%{http_code} %{http_version}', '-o', path]
    const { exitCode, output } = await run('curl', ['-sS', '--http2', ...here, ...shown, ...options, link])
    return { exitCode, output, body: async () => await readFile(path) }
  }

  test('serves links under its public name: all of it, ranges, the rest of a cut download', async () => {
    const { url } = await gateway.node.client.artifact.getSignedUrl({ artifactId })
    expect(url.startsWith(`https://${host}/a/`)).toBe(true)
    const whole = await curl(url)
    expect([whole.exitCode, whole.output]).toEqual([0, '200 2'])
    expect(sha256(await whole.body())).toBe(sha256(content))
    const range = await curl(url, '-r', '1000000-1999999')
    expect(range.output).toBe('206 2')
    expect((await range.body()).equals(content.subarray(1_000_000, 2_000_000))).toBe(true)
    expect((await curl(url, '-I')).output).toBe('200 2')
    expect((await curl(`${url}A`)).output).toBe('403 2')
  })

  test('tells the gateway who asks, whatever they say of themselves', async () => {
    const forClient = gateway.link(artifactId, { ip: '127.0.0.2' })
    const forOther = gateway.link(artifactId, { ip: '192.0.2.1' })
    expect((await curl(forClient, '-r', '0-9')).output).toBe('206 2')
    expect((await curl(forOther, '-r', '0-9')).output).toBe('403 2')
    expect((await curl(forOther, '-r', '0-9', '-H', 'X-Forwarded-For: 192.0.2.1')).output).toBe('403 2')
  })

  test('passes a broken answer on as one, and no link is in its logs', async () => {
    const link = gateway.link(artifactId)
    // Slower than the gateway waits for it when it closes.
    const asking = curl(link, '--limit-rate', '2M')
    await vi.waitFor(async () => expect((await stat(join(folder, `body-${bodies}`))).size).toBeGreaterThan(0), {
      timeout: 30_000,
    })
    await gateway.node.close()
    const cut = await asking
    expect(cut.exitCode).not.toBe(0)
    expect((await cut.body()).length).toBeLessThan(content.length)
    expect((await curl(link)).output).toBe('502 2')
    const logs = await Promise.all(
      ['access.log', 'files-error.log', 'error.log'].map((name) => readFile(join(folder, name), 'utf8')),
    )
    expect(logs[0]).toMatch(/127\.0\.0\.2 GET \/a\/art_\w+\/\S+ 206 1000000\n/)
    expect(logs.join('')).not.toContain('cap=')
  })
})
