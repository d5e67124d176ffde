import { describe, expect, test } from 'vitest'
import { ArtifactHubError, type Client, errorTable } from '../../sdk/index.ts'
import { failureOf, type OpenClient, rejectionOf, seededBytes, useClient } from './contract-support.ts'

type Call = (client: Client, options: unknown) => PromiseLike<unknown>

const calls: Record<string, Call> = {
  create: ({ artifact }, options) => artifact.create(options as never),
  uploadFile: ({ artifact }, options) => artifact.uploadFile(options as never),
  createSnippet: ({ artifact }, options) => artifact.createSnippet(options as never),
  update: ({ artifact }, options) => artifact.update(options as never),
  get: ({ artifact }, options) => artifact.get(options as never),
  download: ({ artifact }, options) => artifact.download(options as never),
  downloadStream: ({ artifact }, options) => Array.fromAsync(artifact.downloadStream(options as never)),
  downloadFile: ({ artifact }, options) => artifact.downloadFile(options as never),
  list: ({ artifact }, options) => artifact.list(options as never),
  listVersions: ({ artifact }, options) => artifact.listVersions(options as never),
  delete: ({ artifact }, options) => artifact.delete(options as never),
  deleteVersion: ({ artifact }, options) => artifact.deleteVersion(options as never),
  'namespace.create': ({ namespace }, options) => namespace.create(options as never),
  'namespace.list': ({ namespace }, options) => namespace.list(options as never),
  'namespace.get': ({ namespace }, options) => namespace.get(options as never),
  'namespace.use': ({ namespace }, options) => namespace.use(options as never),
  'namespace.setPlan': ({ namespace }, options) => namespace.setPlan(options as never),
  'namespace.usage': ({ namespace }, options) => namespace.usage(options as never),
  'namespace.delete': ({ namespace }, options) => namespace.delete(options as never),
}
const withoutRequired = new Set(['list', 'namespace.list', 'namespace.usage'])

/** Calls that are wrong in themselves, and what every failure has in common. */
export function callsContract(open: OpenClient): void {
  describe('calls', () => {
    const client = useClient(open)

    test.each(Object.entries(calls))('%s names an option that it does not know', async (_, call) => {
      const { message } = await failureOf(call(client, { surprise: 1 }), 'INVALID_ARGUMENT')
      expect(message).toMatch(/\S/)
    })

    test.each(['create', 'list', 'namespace.usage', 'namespace.list', 'get'])(
      '%s says which option it is',
      async (kind) => {
        const required: Record<string, object> = {
          create: { name: 'x', data: new Uint8Array(1) },
          get: { artifactId: `art_${'a'.repeat(32)}` },
        }
        const options = { ...required[kind], metadataFiltr: {} }
        expect((await failureOf((calls[kind] as Call)(client, options), 'INVALID_ARGUMENT')).message).toContain(
          'metadataFiltr',
        )
      },
    )

    test.each(Object.entries(calls))('%s refuses options that are none', async (kind, call) => {
      for (const options of ['text', 7, true, [], () => {}, Symbol('s')])
        await failureOf(call(client, options), 'INVALID_ARGUMENT')
      for (const options of [undefined, null]) {
        if (withoutRequired.has(kind)) await call(client, options)
        else await failureOf(call(client, options), 'INVALID_ARGUMENT')
      }
    })

    test.each(Object.entries(calls))('%s refuses a namespace that is no text', async (_, call) => {
      const all = { name: 'x', artifactId: `art_${'a'.repeat(32)}`, namespace: 7 }
      await failureOf(call(client, all), 'INVALID_ARGUMENT')
    })

    test('get takes an id or a name, and not both', async () => {
      const { id: artifactId, name } = await client.artifact.createSnippet({ name: 'both', content: '' })
      await failureOf(client.artifact.get({ artifactId, name } as never), 'INVALID_ARGUMENT')
      await failureOf(client.artifact.get({} as never), 'INVALID_ARGUMENT')
      await failureOf(client.artifact.get({ name: '' }), 'INVALID_ARGUMENT')
    })

    test('overwrite must be true or false', async () => {
      const { id: artifactId } = await client.artifact.createSnippet({ name: 'x', content: '' })
      for (const overwrite of ['yes', 1, null]) {
        const call = client.artifact.downloadFile({ artifactId, path: '/nowhere', overwrite: overwrite as never })
        await failureOf(call, 'INVALID_ARGUMENT')
      }
    })

    test('options may have no prototype, and what an object inherits is no option', async () => {
      const options = Object.assign(Object.create(null), { name: 'bare', content: 'x' })
      expect((await client.artifact.createSnippet(options)).name).toBe('bare')
    })

    test('every failure is of one class, with a code of the table and details that are JSON', async () => {
      const failures = await Promise.all(
        Object.values(calls).flatMap((call) =>
          [
            {},
            { artifactId: 'x', version: -1 },
            { namespace: 'none', name: 'none', content: 'x' },
            { artifactId: `art_${'a'.repeat(32)}` },
          ].map(async (options) => {
            try {
              await call(client, options)
              return undefined
            } catch (error) {
              return error
            }
          }),
        ),
      )
      const thrown = failures.filter((failure) => failure !== undefined)
      expect(thrown.length).toBeGreaterThan(40)
      for (const error of thrown) {
        expect(error).toBeInstanceOf(ArtifactHubError)
        const { code, retryable, details, message } = error as ArtifactHubError
        expect(Object.keys(errorTable)).toContain(code)
        expect(code).not.toBe('INTERNAL')
        expect(retryable).toBe(errorTable[code].retryable)
        expect(JSON.parse(JSON.stringify(error))).toEqual({ code, message, retryable, details })
      }
    })

    test('what cannot be looked at is refused like anything else that is wrong', async () => {
      const refuse = (): never => {
        throw new Error('not to be looked at')
      }
      const closed = new Proxy({}, { get: refuse, has: refuse, ownKeys: refuse, getPrototypeOf: refuse })
      const moved = new Uint8Array(100)
      structuredClone(moved.buffer, { transfer: [moved.buffer] })
      const getter = Object.defineProperty({}, 'a', { enumerable: true, get: refuse })
      const { artifact } = client
      for (const call of Object.values(calls)) {
        await failureOf(call(client, closed), 'INVALID_ARGUMENT')
        await failureOf(call(client, { artifactId: `art_${'a'.repeat(32)}`, signal: closed }), 'INVALID_ARGUMENT')
      }
      await failureOf(artifact.list({ limit: closed as never }), 'INVALID_ARGUMENT')
      for (const data of [closed, moved, moved.buffer])
        await failureOf(artifact.create({ name: 'x', data: data as never }), 'INVALID_ARGUMENT')
      for (const metadata of [closed, getter, { deep: [getter] }]) {
        await failureOf(
          artifact.createSnippet({ name: 'x', content: '', metadata: metadata as never }),
          'INVALID_ARGUMENT',
        )
        await failureOf(artifact.list({ metadataFilter: metadata as never }), 'INVALID_ARGUMENT')
      }
      await failureOf(artifact.createSnippet({ name: 'x', content: getter as never }), 'INVALID_ARGUMENT')
    })

    test('no failure tells content or metadata', async () => {
      const secret = 'correct-horse-battery-staple'
      const data = new TextEncoder().encode(secret)
      const { id: artifactId } = await client.artifact.create({ name: 'kept', data, metadata: { secret } })
      const failures = [
        await rejectionOf(client.artifact.update({ artifactId, data, expectedVersion: 9 })),
        await rejectionOf(client.artifact.update({ artifactId, metadata: { secret: [secret, Number.NaN] as never } })),
        await rejectionOf(client.artifact.update({ artifactId, metadata: { secret: secret.repeat(1_000) } })),
        await rejectionOf(client.artifact.create({ name: 'x', data: secret as never })),
        await rejectionOf(client.artifact.createSnippet({ name: 'x', content: { secret, big: 1n } as never })),
        await rejectionOf(client.artifact.download({ artifactId, range: { offset: 1_000 } })),
        await rejectionOf(client.artifact.download({ artifactId, version: 2 })),
      ]
      for (const error of failures) {
        const { message, stack, details } = error as ArtifactHubError
        expect(`${message} ${stack} ${JSON.stringify(details)}`).not.toContain(secret)
      }
    })

    test('a failed call leaves the next ones as they were', async () => {
      const data = seededBytes('next', 100)
      for (const call of Object.values(calls)) await rejectionOf(call(client, { surprise: 1 }))
      const { id: artifactId } = await client.artifact.create({ name: 'next', data })
      expect(await client.artifact.download({ artifactId })).toEqual(data)
    })
  })
}
