import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import decodeQR from 'qr/decode.js'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CliPlace, errorOf } from './support/cli-process.ts'

interface Link {
  url: string
  jti: string
  expiresAt: string
}

let place: CliPlace
beforeAll(async () => {
  place = await CliPlace.create()
  await writeFile(join(place.folder, 'report.txt'), 'a report')
  await place.json(['put', 'report.txt'])
})
afterAll(async () => {
  await place[Symbol.asyncDispose]()
})

// Its own agent is as good a gateway as any that does not run.
const gateway = async () => `${(await place.json<{ did: string }>(['id'])).did}=https://files.example.org`

test('a link is made, listed without its secret, said in words, and revoked by its name or by itself', async () => {
  const made = await place.run([
    'url',
    'report.txt',
    '--for',
    await gateway(),
    '--expires',
    '90m',
    '--once',
    '--ip',
    '203.0.113.7',
  ])
  expect(made.exitCode).toBe(0)
  const url = made.stdout.toString().trim()
  expect(url).toMatch(/^https:\/\/files\.example\.org\/a\/art_[a-z2-7]{32}\/report\.txt\?cap=[\w-]+$/)
  const jti = /revoke ([0-9a-f]{32})/.exec(made.stderr)?.[1] ?? ''

  const listed = await place.run(['urls'])
  expect(listed.stdout.toString()).toMatch(new RegExp(`${jti} +art_\\w+ +report\\.txt +pinned +.* good`))
  expect(listed.stdout.toString()).not.toContain(url.slice(-20))
  expect(await place.json(['urls', 'report.txt'])).toMatchObject([
    { jti, filename: 'report.txt', maxUses: 1, state: 'good' },
  ])

  const words = (await place.run(['url', 'inspect', url])).stdout.toString()
  for (const said of [
    jti,
    'one version, 8 B',
    'report.txt (text/plain), saved',
    'https://files.example.org',
    '203.0.113.7',
    '1 time',
  ])
    expect(words).toContain(said)
  expect(words).toMatch(/until .*, for 1 h (29|30) min/)
  expect(await place.json(['url', 'inspect', url])).toMatchObject({
    jti,
    gateway: 'https://files.example.org',
    content: { sizeBytes: 8 },
    disposition: 'attachment',
    maxUses: 1,
    time: 'valid',
  })

  const second = await place.json<Link>([
    'url',
    'report.txt',
    '--for',
    await gateway(),
    '--version',
    'latest',
    '--inline',
  ])
  expect(await place.json(['url', 'revoke', jti])).toEqual({ revoked: { jti } })
  expect(await place.json(['url', 'revoke', second.url])).toEqual({ revoked: { jti: second.jti } })
  const states = (await place.json<{ state: string; cid: string | null }[]>(['urls'])).map((row) => [
    row.state,
    row.cid === null,
  ])
  expect(states.sort()).toEqual([
    ['revoked', false],
    ['revoked', true],
  ])
})

test('a link that nobody is to see among the arguments comes by standard input', async () => {
  const { url, jti } = await place.json<Link>(['url', 'report.txt', '--for', await gateway()])
  expect(await place.json(['url', 'inspect', '-'], { input: `${url}\n` })).toMatchObject({ jti })
  expect(await place.json(['url', 'revoke', '-'], { input: url })).toEqual({ revoked: { jti } })
  for (const [input, code] of [
    ['', 'INVALID_ARGUMENT'],
    ['x'.repeat(1_000_000), 'INVALID_ARGUMENT'],
    [`${url.slice(0, -9)}AAAAAAAAA`, 'SIGNATURE_INVALID'],
  ] as const) {
    for (const command of ['inspect', 'revoke']) {
      const failed = await place.run(['url', command, '-', '--json'], { input })
      expect([command, errorOf(failed).code], input.slice(0, 9)).toEqual([command, code])
    }
  }
  expect((await place.run(['url', 'inspect', '--help'])).stdout.toString()).toContain('standard input')
})

test('a QR code on the terminal holds the link', async () => {
  const { stdout } = await place.run(['url', 'report.txt', '--for', await gateway(), '--qr'])
  const [url = '', ...rows] = stdout.toString().trimEnd().split('\n')
  // Each character is two pixels, one above the other; the code is dark on light.
  const pixels = rows.flatMap((row) => {
    const halves: Record<string, [number, number]> = { '█': [1, 1], '▀': [1, 0], '▄': [0, 1], ' ': [0, 0] }
    const pairs = [...row].map((character) => halves[character] ?? [Number.NaN, Number.NaN])
    return [pairs.map(([upper]) => upper), pairs.map(([, lower]) => lower)]
  })
  const scale = 4
  const [width, height] = [(pixels[0]?.length ?? 0) * scale, pixels.length * scale]
  const data = new Uint8Array(width * height * 4).fill(255)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const light = pixels[Math.floor(y / scale)]?.[Math.floor(x / scale)] === 1
      data.fill(light ? 255 : 0, (y * width + x) * 4, (y * width + x) * 4 + 3)
    }
  }
  expect(decodeQR({ width, height, data })).toBe(url)
})

test('what is wrong is said so', async () => {
  const { url } = await place.json<Link>(['url', 'report.txt', '--for', await gateway()])
  for (const [args, code] of [
    [['url', 'report.txt'], 'INVALID_ARGUMENT'],
    [['url', 'report.txt', '--for', 'nobody=https://files.example.org'], 'NOT_FOUND'],
    [['url', 'report.txt', '--for', await gateway(), '--expires', '8d'], 'INVALID_ARGUMENT'],
    [['url', 'report.txt', '--for', await gateway(), '--once', '--uses', '2'], 'INVALID_ARGUMENT'],
    [['url', 'other.txt', '--for', await gateway()], 'NOT_FOUND'],
    [['url', 'revoke', 'x'], 'INVALID_ARGUMENT'],
    [['url', 'revoke', 'ab'.repeat(16)], 'NOT_FOUND'],
    [['url', 'inspect', 'https://example.org'], 'INVALID_ARGUMENT'],
    [['url', 'inspect', `${url.slice(0, -9)}AAAAAAAAA`], 'SIGNATURE_INVALID'],
    [['url', 'inspect', `${url}=`], 'SIGNATURE_INVALID'],
    [['url', 'inspect', url.replace(/art_[a-z2-7]{32}/, `art_${'a'.repeat(32)}`)], 'SIGNATURE_INVALID'],
    [['url', 'revoke', url, 'again'], 'INVALID_ARGUMENT'],
    [['get', url], 'NOT_FOUND'],
  ] as const) {
    const failed = await place.run([...args, '--json'])
    expect([args, errorOf(failed).code]).toEqual([args, code])
    expect(failed.stderr).not.toContain(url.slice(-40, -10))
  }
})
