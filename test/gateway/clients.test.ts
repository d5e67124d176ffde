import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seededBytes } from '../client/contract-support.ts'
import { startCuttingProxy } from './cutting-proxy.ts'
import { startTestGateway, type TestGateway } from './gateways.ts'
import { isInstalled, run } from './programs.ts'

const sizeBytes = 40_000_000
const content = seededBytes('gateway clients', sizeBytes)
const digest = createHash('sha256').update(content).digest('hex')

let gateway: TestGateway
let folder: string
let artifactId: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-clients-'))
  gateway = await startTestGateway()
  artifactId = (await gateway.node.client.artifact.create({ name: 'big.bin', data: content })).id
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
  await rm(folder, { recursive: true })
})

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const data of createReadStream(path)) hash.update(data)
  return hash.digest('hex')
}

/** A link that leads through a proxy which cuts the first connections. */
async function badLink(times: number, claims: Parameters<TestGateway['link']>[1] = {}) {
  const proxy = await startCuttingProxy(gateway.node.gateway?.port as number, { afterBytes: 9_000_000, times })
  const link = new URL(gateway.link(artifactId, claims))
  link.port = String(proxy.port)
  return { proxy, link: link.href }
}

describe.skipIf(!isInstalled('curl'))('curl', () => {
  test('says that a cut download is not whole, and goes on with it', async () => {
    const { proxy, link } = await badLink(3)
    await using _ = proxy
    const path = join(folder, 'curl.bin')
    const codes: (number | null)[] = []
    for (let round = 0; round < 5 && codes.at(-1) !== 0; round++) {
      codes.push((await run('curl', ['-sS', '-C', '-', '-o', path, link])).exitCode)
      // A part of it is never taken for all of it.
      if (codes.at(-1) !== 0) expect((await stat(path)).size).toBeLessThan(sizeBytes)
    }
    expect(codes.slice(0, 3).every((code) => code !== 0)).toBe(true)
    expect(codes).toHaveLength(4)
    expect(proxy.cuts).toBe(3)
    expect(await sha256Of(path)).toBe(digest)
  })

  test('goes on with a link that may be used once, and cannot begin again', async () => {
    const { proxy, link } = await badLink(2, { maxUses: 1 })
    await using _ = proxy
    const path = join(folder, 'once.bin')
    for (let round = 0; round < 3; round++) await run('curl', ['-sS', '-C', '-', '-o', path, link])
    expect(await sha256Of(path)).toBe(digest)
    const { output } = await run('curl', ['-sS', link])
    expect(output).toContain('EXHAUSTED')
  })
})

test.skipIf(!isInstalled('wget'))('wget goes on by itself', async () => {
  const { proxy, link } = await badLink(3)
  await using _ = proxy
  const path = join(folder, 'wget.bin')
  const { exitCode, output } = await run('wget', ['-c', '-t', '10', '--waitretry=0', '-nv', '-O', path, link])
  expect(exitCode, output).toBe(0)
  expect(proxy.cuts).toBe(3)
  expect(await sha256Of(path)).toBe(digest)
})

describe.skipIf(!isInstalled('aria2c'))('aria2c, in eight parts at once', () => {
  const common = ['-x8', '-s8', '-k1M', '--retry-wait=0', '-m', '20', '--console-log-level=warn', '--no-conf']

  test('takes all of it, some parts cut', async () => {
    const { proxy, link } = await badLink(3)
    await using _ = proxy
    const { exitCode, output } = await run('aria2c', [...common, '-d', folder, '-o', 'aria.bin', link])
    expect(exitCode, output).toBe(0)
    expect(await sha256Of(join(folder, 'aria.bin'))).toBe(digest)
  })

  test('takes what may be downloaded once, once', async () => {
    const link = gateway.link(artifactId, { maxUses: 1 })
    const { exitCode, output } = await run('aria2c', [...common, '-d', folder, '-o', 'aria-once.bin', link])
    expect(exitCode, output).toBe(0)
    expect(await sha256Of(join(folder, 'aria-once.bin'))).toBe(digest)
    expect((await run('curl', ['-sS', link])).output).toContain('EXHAUSTED')
  })
})
