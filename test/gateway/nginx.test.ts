import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seededBytes } from '../client/contract-support.ts'
import { type Answer, ask } from './ask.ts'
import { startTestGateway } from './gateways.ts'
import { fileServer, startNginx } from './nginx.ts'
import { isInstalled } from './programs.ts'

const oneRequestEach = new Agent({ keepAlive: false })

/** A request to both; `ETAG` stands for the ETag that each gave. */
interface Probe {
  readonly method: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
}

/** What of an answer must be the same. */
function told({ status, headers, body }: Answer): object {
  const isError = status >= 400
  return {
    status,
    range: headers['content-range'],
    // Pages of errors differ, and nginx says no length with a 304 either.
    length: isError ? undefined : headers['content-length'],
    body: isError ? undefined : body.toString('latin1'),
    acceptsRanges: status === 200 || status === 206 ? (headers['accept-ranges'] ?? 'bytes') : undefined,
  }
}

/** Why an answer may differ from nginx's, for one kind of request. */
interface Difference {
  readonly reason: string
  readonly applies: (probe: Probe, ours: Answer, theirs: Answer) => boolean
}

const wellFormed = /^bytes=[ \t,]*(?:\d+-\d*|-\d+)[ \t,]*$/i
const differences: readonly Difference[] = [
  {
    reason: 'what is no range is ignored, as RFC 9110 (14.2) has it; nginx refuses some of it with 416',
    applies: ({ headers: { range = '' } }, ours, theirs) =>
      !wellFormed.test(range) && ours.status === 200 && theirs.status === 416,
  },
  {
    reason: 'a range whose end lies before its start is invalid (RFC 9110, 14.1.1), so ignored; nginx says 416',
    applies: ({ headers: { range = '' } }, ours, theirs) => {
      const [, first, last] = /^bytes=[ \t,]*(\d+)-(\d+)/i.exec(range) ?? []
      return last !== undefined && Number(last) < Number(first) && ours.status === 200 && theirs.status === 416
    },
  },
  {
    reason: 'several ranges are answered with the whole; nginx makes a multipart of them, or joins none of them to one',
    applies: ({ headers: { range = '' } }, ours) => /\d.*,.*\d/.test(range) && ours.status === 200,
  },
  {
    reason: 'lists may have empty elements and blanks around commas (RFC 9110, 5.6.1); nginx refuses some of those',
    applies: ({ headers: { range = '' } }, ours, theirs) =>
      /[ \t,]/.test(range) && ours.status === 206 && theirs.status === 416,
  },
  {
    reason: 'a range has no blanks inside (RFC 9110, 14.1.1), so such a one is ignored; nginx reads over them',
    applies: ({ headers: { range = '' } }, ours, theirs) =>
      /\d[ \t]+-|-[ \t]+\d/.test(range) && ours.status === 200 && theirs.status !== 200,
  },
  {
    reason: 'numbers that no file reaches are clamped; nginx refuses those that overflow 64 bits',
    applies: ({ headers: { range = '' } }, ours, theirs) =>
      /\d{19,}/.test(range) && ours.status === 206 && theirs.status === 416,
  },
]

const ofNothing: Difference = {
  reason: 'an empty content has no first byte, so ranges that name one are 416 (RFC 9110, 14.1.2); nginx ignores them',
  applies: ({ headers: { range = '' } }, ours, theirs) =>
    /\d+-|-0/.test(range) &&
    ours.status === 416 &&
    ours.headers['content-range'] === 'bytes */0' &&
    theirs.status === 200,
}

const sizes = [0, 1, 10, 1_000]
const integer = fc
  .oneof(fc.integer({ min: 0, max: 12 }), fc.constantFrom(999, 1_000, 1_001, 2 ** 31, 2 ** 53))
  .map(String)
const range = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(integer, integer).map(([first, last]) => `bytes=${first}-${last}`) },
  { weight: 3, arbitrary: integer.map((first) => `bytes=${first}-`) },
  { weight: 3, arbitrary: integer.map((suffix) => `bytes=-${suffix}`) },
  { weight: 2, arbitrary: fc.tuple(integer, integer, integer).map(([a, b, c]) => `bytes=${a}-${b},${c}-`) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=0x1-2',
      'bytes 0-1',
      '0-1',
      'lines=0-1',
      'BYTES=0-1',
      'bytes= 0-1',
      'bytes=0-1 ',
      'bytes=0 - 1',
      'bytes=1-2-3',
      'bytes=--1',
      'bytes=0-99999999999999999999999',
      'bytes=,0-1',
      'bytes=0-0',
      'bytes=-0',
    ),
  },
)
const entityTag = fc.constantFrom('ETAG', 'W/ETAG', '"other"', '"a", ETAG', 'ETAG , "b"', '*', '"a","b"', 'W/"other"')
const probes: fc.Arbitrary<Probe> = fc.record({
  method: fc.constantFrom('GET', 'GET', 'GET', 'HEAD'),
  headers: fc
    .record(
      {
        range,
        'if-none-match': entityTag,
        'if-match': entityTag,
        'if-range': fc.constantFrom('ETAG', 'W/ETAG', '"other"'),
      },
      { requiredKeys: [] },
    )
    .map((headers): Record<string, string> => ({ ...headers })),
}) as fc.Arbitrary<Probe>

test.skipIf(!isInstalled('nginx'))('answers as nginx does, but for what is listed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-nginx-'))
  await mkdir(join(folder, 'files'))
  await using cleanUp = new AsyncDisposableStack()
  cleanUp.defer(() => rm(folder, { recursive: true }))
  const gateway = cleanUp.use(await startTestGateway())
  const nginx = cleanUp.use(await startNginx(folder, fileServer(join(folder, 'files'))))
  const pairs: { ours: string; theirs: string; etags: [string, string] }[] = []
  for (const size of sizes) {
    const data = seededBytes(`nginx ${size}`, size)
    await writeFile(join(folder, 'files', `${size}.bin`), data)
    const { id } = await gateway.node.client.artifact.create({ name: `${size}.bin`, data, contentType: 'text/plain' })
    const [ours, theirs] = [gateway.link(id), `http://127.0.0.1:${nginx.port}/${size}.bin`]
    const [a, b] = await Promise.all([ask(ours), ask(theirs)])
    expect([a.status, b.status]).toEqual([200, 200])
    pairs.push({ ours, theirs, etags: [a.headers.etag as string, b.headers.etag as string] })
  }
  const seen = new Map<string, number>()
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`seed ${seed}`)
  await fc.assert(
    fc.asyncProperty(probes, fc.constantFrom(...pairs), async (probe, { ours, theirs, etags }) => {
      const withTag = (etag: string) =>
        Object.fromEntries(Object.entries(probe.headers).map(([name, value]) => [name, value.replace('ETAG', etag)]))
      const [mine, its] = await Promise.all([
        ask(ours, { method: probe.method, headers: withTag(etags[0]) }),
        // It closes connections after some refusals without a word.
        ask(theirs, { method: probe.method, headers: withTag(etags[1]), agent: oneRequestEach }),
      ])
      const difference = [...differences, ofNothing].find(({ applies }) => applies(probe, mine, its))
      if (difference !== undefined) seen.set(difference.reason, (seen.get(difference.reason) ?? 0) + 1)
      else expect(told(mine)).toEqual(told(its))
    }),
    { numRuns: 600, seed },
  )
  for (const [reason, count] of seen) console.log(`${count} × ${reason}`)
})
