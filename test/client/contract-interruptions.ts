import { writeFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import type { Artifact, Client, Progress } from '../../sdk/index.ts'
import {
  bytesOf,
  expectBytes,
  freshNamespace,
  inPieces,
  MiB,
  type OpenClient,
  rejectionOf,
  seededBytes,
  useClient,
  useFolder,
} from './contract-support.ts'

const small = seededBytes('little', 700)
const big = seededBytes('much', 5 * MiB + 3)

/** What an upload may be made of, and how each is begun. */
type Upload = (options: {
  bytes: Uint8Array<ArrayBuffer>
  namespace: string
  onProgress?: ((progress: Progress) => void) | undefined
  signal?: AbortSignal | undefined
}) => Promise<Artifact>

/** Progress, aborts and callbacks that throw: at every stage, and nothing is left behind. */
export function interruptionsContract(open: OpenClient): void {
  describe('interruptions', () => {
    const client = useClient(open)
    const at = useFolder()
    let files = 0

    const uploads: Record<string, Upload> = {
      'create from bytes': ({ bytes, ...options }) => client.artifact.create({ name: 'a', data: bytes, ...options }),
      'create from a Blob': ({ bytes, ...options }) =>
        client.artifact.create({ name: 'a', data: new Blob([bytes]), ...options }),
      'create from a stream': ({ bytes, ...options }) =>
        client.artifact.create({ name: 'a', data: inPieces(bytes, 700_001), ...options }),
      uploadFile: async ({ bytes, ...options }) => {
        files += 1
        const path = at(`file ${files}`)
        await writeFile(path, bytes)
        return await client.artifact.uploadFile({ path, ...options })
      },
    }
    const nothingIn = async (namespace: string): Promise<void> => {
      expect((await client.artifact.list({ namespace })).items).toEqual([])
      expect(await client.namespace.usage({ namespace })).toMatchObject({ usedBytes: 0, artifacts: 0 })
    }
    const worksIn = async (namespace: string): Promise<void> => {
      const { id: artifactId } = await client.artifact.create({ name: 'works', namespace, data: big })
      expectBytes(await client.artifact.download({ artifactId }), big)
    }
    const stored = new Map<Uint8Array, Promise<Artifact>>()
    const idOf = async (bytes: Uint8Array): Promise<string> => {
      const made = stored.get(bytes) ?? client.artifact.create({ name: 'stored', data: bytes })
      stored.set(bytes, made)
      return (await made).id
    }

    function checkEvents(events: readonly Progress[], sizeBytes: number, isSizeKnown: boolean): void {
      expect(events.length).toBeGreaterThan(0)
      expect(events.at(-1)).toMatchObject({ loaded: sizeBytes, total: sizeBytes })
      let before = -1
      for (const [index, { loaded, total, bytesPerSecond }] of events.entries()) {
        expect(loaded).toBeGreaterThan(before)
        expect(Number.isFinite(bytesPerSecond) && bytesPerSecond >= 0).toBe(true)
        expect(total).toBe(isSizeKnown || index === events.length - 1 ? sizeBytes : undefined)
        before = loaded
      }
    }

    describe('progress', () => {
      test.each(Object.keys(uploads))('of %s rises and ends with all of it', async (kind) => {
        const namespace = (await freshNamespace(client)).id
        for (const bytes of [new Uint8Array(0), small, big]) {
          const events: Progress[] = []
          await (uploads[kind] as Upload)({ bytes, namespace, onProgress: (event) => events.push(event) })
          checkEvents(events, bytes.length, kind !== 'create from a stream')
          if (bytes === big) expect(events.length).toBeGreaterThan(1)
        }
      })

      test('of an update and of downloads rises and ends with all of it', async () => {
        const { id: artifactId } = await client.artifact.create({ name: 'a', data: small })
        const events: Progress[] = []
        const onProgress = (event: Progress): number => events.push(event)
        await client.artifact.update({ artifactId, data: big, onProgress })
        checkEvents(events.splice(0), big.length, true)
        await client.artifact.download({ artifactId, onProgress })
        checkEvents(events.splice(0), big.length, true)
        await bytesOf(client.artifact.downloadStream({ artifactId, onProgress }))
        checkEvents(events.splice(0), big.length, true)
        await client.artifact.download({ artifactId, range: { offset: 5, length: 3 * MiB }, onProgress })
        checkEvents(events.splice(0), 3 * MiB, true)
        await client.artifact.download({ artifactId, range: { offset: 5, length: 0 }, onProgress })
        checkEvents(events.splice(0), 0, true)
        await client.artifact.downloadFile({ artifactId, path: at('downloaded'), onProgress })
        checkEvents(events.splice(0), big.length, true)
      })

      test('comes at most about 20 times a second', async () => {
        const times: number[] = []
        const begun = performance.now()
        const onProgress = (): number => times.push(performance.now())
        await client.artifact.create({
          name: 'a',
          data: inPieces(seededBytes('many pieces', 12 * MiB), 10_000),
          onProgress,
        })
        expect(times.length).toBeLessThanOrEqual((performance.now() - begun) / 50 + 2)
      })
    })

    describe('a callback that throws', () => {
      const reason = new Error('the window was closed')

      test.each(Object.keys(uploads))('fails %s and leaves nothing', async (kind) => {
        const { id: namespace } = await freshNamespace(client)
        for (const bytes of [small, big]) {
          for (const throwAt of ['first', 'last']) {
            const onProgress = ({ loaded }: Progress): void => {
              if (throwAt === 'first' || loaded === bytes.length) throw reason
            }
            expect(await rejectionOf((uploads[kind] as Upload)({ bytes, namespace, onProgress }))).toBe(reason)
          }
        }
        await nothingIn(namespace)
        await worksIn(namespace)
      })

      test('fails downloads', async () => {
        const onProgress = (): void => {
          throw reason
        }
        for (const bytes of [small, big]) {
          const artifactId = await idOf(bytes)
          expect(await rejectionOf(client.artifact.download({ artifactId, onProgress }))).toBe(reason)
          expect(await rejectionOf(bytesOf(client.artifact.downloadStream({ artifactId, onProgress })))).toBe(reason)
          expect(await rejectionOf(client.artifact.downloadFile({ artifactId, path: at('never'), onProgress }))).toBe(
            reason,
          )
        }
      })

      test('must be a function', async () => {
        expect(
          await rejectionOf(client.artifact.create({ name: 'a', data: small, onProgress: 'log' as never })),
        ).toMatchObject({
          code: 'INVALID_ARGUMENT',
        })
      })
    })

    describe('an abort', () => {
      const calls: Record<string, (client: Client, signal: AbortSignal) => PromiseLike<unknown>> = {
        create: ({ artifact }, signal) => artifact.create({ name: 'a', data: small, signal }),
        createSnippet: ({ artifact }, signal) => artifact.createSnippet({ name: 'a', content: 'a', signal }),
        uploadFile: ({ artifact }, signal) => artifact.uploadFile({ path: at('nowhere'), signal }),
        update: async ({ artifact }, signal) =>
          await artifact.update({ artifactId: await idOf(small), name: 'b', signal }),
        get: async ({ artifact }, signal) => await artifact.get({ artifactId: await idOf(small), signal }),
        'get by name': ({ artifact }, signal) => artifact.get({ name: 'a', signal }),
        download: async ({ artifact }, signal) => await artifact.download({ artifactId: await idOf(small), signal }),
        downloadStream: async ({ artifact }, signal) =>
          await bytesOf(artifact.downloadStream({ artifactId: await idOf(small), signal })),
        downloadFile: async ({ artifact }, signal) =>
          await artifact.downloadFile({ artifactId: await idOf(small), path: at('x'), signal }),
        list: ({ artifact }, signal) => artifact.list({ signal }),
        'list, iterated': ({ artifact }, signal) => Array.fromAsync(artifact.list({ signal })),
        listVersions: async ({ artifact }, signal) =>
          await artifact.listVersions({ artifactId: await idOf(small), signal }),
        delete: async ({ artifact }, signal) => await artifact.delete({ artifactId: await idOf(small), signal }),
        deleteVersion: async ({ artifact }, signal) =>
          await artifact.deleteVersion({ artifactId: await idOf(small), version: 1, signal }),
        'namespace.create': ({ namespace }, signal) => namespace.create({ name: 'never', signal }),
        'namespace.list': ({ namespace }, signal) => namespace.list({ signal }),
        'namespace.get': ({ namespace }, signal) => namespace.get({ namespace: 'x', signal }),
        'namespace.use': ({ namespace }, signal) => namespace.use({ namespace: 'x', signal }),
        'namespace.setPlan': ({ namespace }, signal) => namespace.setPlan({ namespace: 'x', plan: 'free', signal }),
        'namespace.usage': ({ namespace }, signal) => namespace.usage({ signal }),
        'namespace.delete': ({ namespace }, signal) => namespace.delete({ namespace: 'x', signal }),
      }

      test.each(Object.entries(calls))(
        'before %s rejects with the signal’s reason, whatever it is',
        async (_, call) => {
          for (const reason of [new Error('no more'), 'a string', undefined]) {
            const signal = AbortSignal.abort(reason)
            expect(await rejectionOf(call(client, signal))).toBe(signal.reason)
          }
          expect((await client.artifact.get({ artifactId: await idOf(small) })).version).toBe(1)
        },
      )

      test.each(Object.keys(calls))('what is no signal is refused by %s', async (kind) => {
        const failure = await rejectionOf(
          (calls[kind] as (typeof calls)[string])(client, { aborted: true } as AbortSignal),
        )
        expect(failure).toMatchObject({ code: 'INVALID_ARGUMENT' })
      })

      const stages = ['at once', 'at the first progress', 'midway', 'at the last progress'] as const

      test.each(
        Object.keys(uploads).flatMap((kind) => stages.map((stage): [string, (typeof stages)[number]] => [kind, stage])),
      )('of %s %s leaves nothing, and the client goes on', async (kind, stage) => {
        const { id: namespace } = await freshNamespace(client)
        for (const bytes of [small, big]) {
          const controller = new AbortController()
          const reason = new Error(stage)
          const onProgress = ({ loaded }: Progress): void => {
            const isNow =
              stage === 'at the first progress' ||
              (stage === 'midway' && loaded >= bytes.length / 2) ||
              (stage === 'at the last progress' && loaded === bytes.length)
            if (isNow) controller.abort(reason)
          }
          const call = (uploads[kind] as Upload)({ bytes, namespace, onProgress, signal: controller.signal })
          if (stage === 'at once') controller.abort(reason)
          expect(await rejectionOf(call)).toBe(reason)
        }
        await nothingIn(namespace)
        await worksIn(namespace)
      })

      test('while the source gives nothing ends the call, and the source is told as soon as it listens', async () => {
        const { id: namespace } = await freshNamespace(client)
        const { promise: stuck, resolve: unstick } = Promise.withResolvers<void>()
        const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>()
        const { promise: told, resolve: onTold } = Promise.withResolvers<void>()
        const data = (async function* (): AsyncGenerator<Uint8Array> {
          try {
            yield big
            onAsked()
            await stuck
            yield small
          } finally {
            onTold()
          }
        })()
        const controller = new AbortController()
        const call = client.artifact.create({ name: 'a', namespace, data, signal: controller.signal })
        await asked
        controller.abort(new Error('too slow'))
        expect(await rejectionOf(call)).toBe(controller.signal.reason)
        await nothingIn(namespace)
        unstick()
        await told
      })

      test('of an update leaves the version that there was', async () => {
        const { id: artifactId } = await client.artifact.create({ name: 'a', data: small })
        const controller = new AbortController()
        const onProgress = (): void => controller.abort(new Error('stop'))
        const call = client.artifact.update({ artifactId, data: big, onProgress, signal: controller.signal })
        expect(await rejectionOf(call)).toBe(controller.signal.reason)
        expect((await client.artifact.listVersions({ artifactId })).items).toHaveLength(1)
        expectBytes(await client.artifact.download({ artifactId }), small)
      })

      test('of a download stops it within a chunk', async () => {
        const artifactId = await idOf(big)
        const controller = new AbortController()
        let afterAbort = 0
        const read = async (): Promise<void> => {
          for await (const piece of client.artifact.downloadStream({ artifactId, signal: controller.signal })) {
            if (controller.signal.aborted) afterAbort += piece.length
            else controller.abort(new Error('enough'))
          }
        }
        expect(await rejectionOf(read())).toBe(controller.signal.reason)
        expect(afterAbort).toBeLessThanOrEqual(2 * MiB)
        const again = new AbortController()
        const call = client.artifact.download({ artifactId, signal: again.signal, onProgress: () => again.abort() })
        expect(await rejectionOf(call)).toBe(again.signal.reason)
        expectBytes(await client.artifact.download({ artifactId }), big)
      })

      test('between the pages of a list ends it', async () => {
        const { id: namespace } = await freshNamespace(client)
        for (let n = 0; n < 4; n++) await client.artifact.createSnippet({ name: 'n', namespace, content: n })
        const controller = new AbortController()
        let seen = 0
        const read = async (): Promise<void> => {
          for await (const _ of client.artifact.list({ namespace, limit: 2, signal: controller.signal })) {
            seen += 1
            if (seen === 2) controller.abort(new Error('enough'))
          }
        }
        expect(await rejectionOf(read())).toBe(controller.signal.reason)
        expect(seen).toBe(2)
      })

      test('after the end changes nothing', async () => {
        const controller = new AbortController()
        const { id: artifactId } = await client.artifact.create({ name: 'a', data: big, signal: controller.signal })
        controller.abort()
        expectBytes(await client.artifact.download({ artifactId }), big)
      })

      test('of many at random moments leaves each whole or absent', async () => {
        const { id: namespace } = await freshNamespace(client)
        const outcomes = await Promise.allSettled(
          Array.from({ length: 24 }, async (_, n) => {
            const controller = new AbortController()
            let pieces = 0
            const data = (async function* (): AsyncGenerator<Uint8Array> {
              for await (const piece of inPieces(big.subarray(0, 2 * MiB), 128 * 1024)) {
                if (pieces === n) controller.abort(n)
                pieces += 1
                yield piece
              }
            })()
            return await client.artifact.create({ name: `${n}`, namespace, data, signal: controller.signal })
          }),
        )
        const whole = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
        for (const [n, outcome] of outcomes.entries()) if (outcome.status === 'rejected') expect(outcome.reason).toBe(n)
        // Those whose abort would come after their end.
        expect(whole.length).toBeGreaterThanOrEqual(8)
        const listed = await Array.fromAsync(client.artifact.list({ namespace }))
        expect(listed.map(({ id }) => id).sort()).toEqual(whole.map(({ id }) => id).sort())
        for (const { id: artifactId } of listed)
          expectBytes(await client.artifact.download({ artifactId }), big.subarray(0, 2 * MiB))
      })
    })
  })
}
