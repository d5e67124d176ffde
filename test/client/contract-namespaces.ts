import { describe, expect, test } from 'vitest'
import { type Namespace, type NamespaceUsage, type PlanName, plans } from '../../sdk/index.ts'
import {
  expectBytes,
  failureOf,
  failuresOf,
  freshNamespace,
  inPieces,
  MiB,
  type OpenClient,
  seededBytes,
  useClient,
} from './contract-support.ts'

const free = plans.free
/** What a leaf adds to its chunk, bytes: what usage counts is leaves. */
const leafOverhead = 28

/** Namespaces and what their plans allow. */
export function namespacesContract(open: OpenClient): void {
  describe('namespaces', () => {
    const client = useClient(open)
    const used = async ({ id }: Namespace): Promise<number> =>
      (await client.namespace.usage({ namespace: id })).usedBytes
    const store = async ({ id }: Namespace, data: Uint8Array | AsyncIterable<Uint8Array>, name = 'stored') =>
      await client.artifact.create({ name, namespace: id, data: data as Uint8Array })

    test('the first one is there from the start and is the current one', async () => {
      const current = (await client.namespace.list()).filter((namespace) => namespace.current)
      expect(current).toHaveLength(1)
      expect(current[0]).toMatchObject({ owner: client.did, plan: 'enterprise', createdAt: expect.any(Date) })
      expect((await client.artifact.createSnippet({ name: 'x', content: 'x' })).namespace).toBe(current[0]?.id)
      expect((await client.namespace.usage()).namespace).toBe(current[0]?.id)
    })

    test('create, get and list say the same', async () => {
      const created = await client.namespace.create({ name: 'research', plan: 'pro' })
      expect(created).toEqual({
        id: expect.stringMatching(/^ns_[a-z2-7]{52}$/),
        name: 'research',
        plan: 'pro',
        owner: client.did,
        createdAt: expect.any(Date),
        current: false,
      })
      expect(await client.namespace.get({ namespace: 'research' })).toEqual(created)
      expect(await client.namespace.get({ namespace: created.id })).toEqual(created)
      expect(await client.namespace.list()).toContainEqual(created)
    })

    test('of two with one name the second is ALREADY_EXISTS, at once or later', async () => {
      const outcomes = await Promise.allSettled([1, 2, 3].map(() => client.namespace.create({ name: 'twice' })))
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      await failureOf(client.namespace.create({ name: 'twice' }), 'ALREADY_EXISTS')
      expect((await client.namespace.list()).filter(({ name }) => name === 'twice')).toHaveLength(1)
    })

    test.each<[string, unknown]>([
      ['the empty name', ''],
      ['a control character', 'a\nb'],
      ['an unpaired surrogate', 'a\ud800'],
      ['what looks like an id', `ns_${'a'.repeat(52)}`],
      ['257 bytes', 'x'.repeat(257)],
      ['a number', 7],
      ['nothing', undefined],
    ])('%s is no name', async (_, name) => {
      await failureOf(client.namespace.create({ name: name as string }), 'INVALID_ARGUMENT')
    })

    test.each(['Übung 日本 👩‍👧', '__proto__', '../x', 'ns_short', 'x'.repeat(256)])('%s is a name', async (name) => {
      const { id } = await client.namespace.create({ name })
      expect((await client.namespace.get({ namespace: name })).id).toBe(id)
    })

    test('what is not there is NOT_FOUND in every call', async () => {
      for (const namespace of ['there is none', `ns_${'a'.repeat(52)}`, 'ns_x', 'toString']) {
        await failuresOf(
          [
            () => client.namespace.get({ namespace }),
            () => client.namespace.use({ namespace }),
            () => client.namespace.setPlan({ namespace, plan: 'free' }),
            () => client.namespace.usage({ namespace }),
            () => client.namespace.delete({ namespace }),
            () => client.artifact.create({ name: 'x', data: new Uint8Array(1), namespace }),
            () => client.artifact.createSnippet({ name: 'x', content: 'x', namespace }),
            () => client.artifact.uploadFile({ path: '/nowhere', namespace }),
            () => client.artifact.get({ name: 'x', namespace }),
          ],
          'NOT_FOUND',
        )
      }
    })

    test('names in one never show in another', async () => {
      const [one, two] = [await freshNamespace(client), await freshNamespace(client)]
      const inOne = await client.artifact.createSnippet({ name: 'secret plan', content: '1', namespace: one.name })
      await failureOf(client.artifact.get({ name: 'secret plan', namespace: two.id }), 'NOT_FOUND')
      await failureOf(client.artifact.get({ name: 'secret plan' }), 'NOT_FOUND')
      for (const options of [{}, { namePrefix: 'secret' }, { order: { by: 'name' } as const }]) {
        expect((await client.artifact.list({ namespace: two.id, ...options })).items).toEqual([])
        expect((await Array.fromAsync(client.artifact.list(options))).map(({ id }) => id)).not.toContain(inOne.id)
      }
      const inTwo = await client.artifact.createSnippet({ name: 'secret plan', content: '2', namespace: two.id })
      expect((await client.artifact.get({ name: 'secret plan', namespace: one.id })).id).toBe(inOne.id)
      expect((await client.artifact.get({ name: 'secret plan', namespace: two.id })).id).toBe(inTwo.id)
    })

    test('only use switches the current one', async () => {
      const before = (await client.namespace.list()).find(({ current }) => current) as Namespace
      const other = await freshNamespace(client)
      await client.namespace.get({ namespace: other.id })
      await client.artifact.createSnippet({ name: 'there', content: '', namespace: other.id })
      await client.namespace.setPlan({ namespace: other.id, plan: 'team' })
      expect((await client.artifact.createSnippet({ name: 'here', content: '' })).namespace).toBe(before.id)
      expect(await client.namespace.use({ namespace: other.name })).toMatchObject({ id: other.id, current: true })
      expect((await client.namespace.list()).filter(({ current }) => current).map(({ id }) => id)).toEqual([other.id])
      expect((await client.artifact.createSnippet({ name: 'now here', content: '' })).namespace).toBe(other.id)
      expect((await client.artifact.list()).items.map(({ name }) => name)).toEqual(['now here', 'there'])
      await client.namespace.use({ namespace: before.id })
      expect((await client.namespace.get({ namespace: before.id })).current).toBe(true)
    })

    describe('delete', () => {
      test('takes all that is in it and frees its name', async () => {
        const namespace = await freshNamespace(client)
        const { id: artifactId } = await store(namespace, seededBytes('gone', 2 * MiB))
        expect(await client.namespace.delete({ namespace: namespace.name })).toBeUndefined()
        await failureOf(client.artifact.get({ artifactId }), 'NOT_FOUND')
        await failureOf(client.artifact.download({ artifactId }), 'NOT_FOUND')
        await failureOf(client.namespace.get({ namespace: namespace.id }), 'NOT_FOUND')
        await failureOf(client.namespace.delete({ namespace: namespace.id }), 'NOT_FOUND')
        const again = await client.namespace.create({ name: namespace.name })
        expect(again.id).not.toBe(namespace.id)
        expect((await client.artifact.list({ namespace: again.id })).items).toEqual([])
        expect(await used(again)).toBe(0)
      })

      test('of the current one is refused', async () => {
        const current = (await client.namespace.list()).find((namespace) => namespace.current) as Namespace
        await failureOf(client.namespace.delete({ namespace: current.id }), 'CONFLICT')
        await failureOf(client.namespace.delete({ namespace: current.name }), 'CONFLICT')
        expect(await client.namespace.get({ namespace: current.id })).toEqual(current)
      })

      test('while something is written to it fails that write with NOT_FOUND', async () => {
        const namespace = await freshNamespace(client)
        const { promise: begun, resolve: onBegun } = Promise.withResolvers<void>()
        const { promise: deleted, resolve: onDeleted } = Promise.withResolvers<void>()
        const data = async function* (): AsyncGenerator<Uint8Array> {
          yield seededBytes('written meanwhile', 3 * MiB)
          onBegun()
          await deleted
          yield seededBytes('and more', 3 * MiB)
        }
        const call = store(namespace, data())
        const outcome = failureOf(call, 'NOT_FOUND')
        await begun
        await client.namespace.delete({ namespace: namespace.id })
        onDeleted()
        expect((await outcome).details).toEqual({ namespace: namespace.id })
        expect((await client.namespace.list()).map(({ id }) => id)).not.toContain(namespace.id)
      })
    })

    describe('usage', () => {
      test('counts distinct leaves of what is live', async () => {
        const namespace = await freshNamespace(client)
        expect(await client.namespace.usage({ namespace: namespace.id })).toEqual({
          namespace: namespace.id,
          plan: 'enterprise',
          usedBytes: 0,
          artifacts: 0,
          limits: plans.enterprise,
        } satisfies NamespaceUsage)
        const inline = await store(namespace, seededBytes('inline', 1_000))
        expect(await used(namespace)).toBe(1_000 + leafOverhead)
        const bytes = seededBytes('shared', 6 * MiB)
        const { id: artifactId } = await store(namespace, bytes)
        const withBig = await used(namespace)
        expect(withBig).toBeGreaterThan(1_000 + bytes.length)
        expect(withBig).toBeLessThan(1_000 + bytes.length + 20 * leafOverhead)
        // The same content, a new description: nothing more.
        await client.artifact.update({ artifactId, data: bytes })
        await client.artifact.update({ artifactId, metadata: { n: 1 } })
        await client.artifact.update({ artifactId: inline.id, name: 'renamed' })
        expect(await used(namespace)).toBe(withBig)
        // One byte changed: at most its chunk and the one beside it.
        const edited = Uint8Array.from(bytes)
        edited[3 * MiB] = (edited[3 * MiB] as number) ^ 1
        await client.artifact.update({ artifactId, data: edited })
        const withEdit = await used(namespace)
        expect(withEdit).toBeGreaterThan(withBig)
        expect(withEdit).toBeLessThanOrEqual(withBig + 4 * MiB)
        // Another artifact of the same content shares nothing.
        const copy = await store(namespace, bytes)
        expect(await used(namespace)).toBeGreaterThan(withEdit + bytes.length)
        await client.artifact.delete({ artifactId: copy.id })
        expect(await used(namespace)).toBe(withEdit)
        await client.artifact.deleteVersion({ artifactId, version: 4 })
        expect(await used(namespace)).toBe(withBig)
        await client.artifact.deleteVersion({ artifactId, version: 1 })
        await client.artifact.deleteVersion({ artifactId, version: 2 })
        expect(await used(namespace)).toBe(withBig)
        await client.artifact.delete({ artifactId })
        expect(await client.namespace.usage({ namespace: namespace.id })).toMatchObject({
          usedBytes: 1_000 + leafOverhead,
          artifacts: 1,
        })
        await client.artifact.delete({ artifactId: inline.id })
        expect(await used(namespace)).toBe(0)
      })

      test('counts a leaf that one content holds many times once', async () => {
        const namespace = await freshNamespace(client)
        await store(namespace, new Uint8Array(20 * MiB))
        expect(await used(namespace)).toBeLessThan(5 * MiB)
      })
    })

    describe('plans', () => {
      test.each(Object.keys(plans) as PlanName[])('%s has the limits of the table', async (plan) => {
        const namespace = await freshNamespace(client, plan)
        expect(namespace.plan).toBe(plan)
        expect(await client.namespace.usage({ namespace: namespace.id })).toMatchObject({ plan, limits: plans[plan] })
      })

      test('change with setPlan', async () => {
        const namespace = await freshNamespace(client, 'free')
        const data = new Uint8Array(free.maxFileBytes + 1)
        await failureOf(store(namespace, data), 'QUOTA_EXCEEDED')
        expect(await client.namespace.setPlan({ namespace: namespace.id, plan: 'starter' })).toEqual({
          ...namespace,
          plan: 'starter',
        })
        const { id: artifactId } = await store(namespace, data)
        await client.namespace.setPlan({ namespace: namespace.name, plan: 'free' })
        await failureOf(
          client.artifact.update({ artifactId, data: new Uint8Array(free.maxFileBytes + 2) }),
          'QUOTA_EXCEEDED',
        )
        expectBytes(await client.artifact.download({ artifactId }), data)
        await client.artifact.update({ artifactId, name: 'still to be renamed' })
        await failureOf(
          client.namespace.setPlan({ namespace: namespace.id, plan: 'gold' as never }),
          'INVALID_ARGUMENT',
        )
        await failureOf(client.namespace.create({ name: 'gold', plan: 'toString' as never }), 'INVALID_ARGUMENT')
      })

      test('a file of exactly the largest size goes in, one byte more does not, with the figures', async () => {
        const namespace = await freshNamespace(client, 'free')
        const data = new Uint8Array(free.maxFileBytes + 1)
        const exact = data.subarray(1)
        for (const fits of [exact, inPieces(exact, MiB)])
          expect((await store(namespace, fits)).sizeBytes).toBe(free.maxFileBytes)
        const before = await used(namespace)
        const figures = { plan: 'free', limit: 'maxFileBytes', limitBytes: free.maxFileBytes }
        const known = await failureOf(store(namespace, data), 'QUOTA_EXCEEDED')
        expect(known.details).toEqual({ ...figures, sizeBytes: data.length })
        expect(known.message).toContain(String(free.maxFileBytes))
        expect((await failureOf(store(namespace, inPieces(data, MiB)), 'QUOTA_EXCEEDED')).details).toMatchObject(
          figures,
        )
        expect(await used(namespace)).toBe(before)
        expect((await client.namespace.usage({ namespace: namespace.id })).artifacts).toBe(2)
      })

      test('of a known size nothing is done before it is refused', async () => {
        const namespace = await freshNamespace(client, 'free')
        let events = 0
        const onProgress = (): number => events++
        const options = { name: 'x', namespace: namespace.id, onProgress }
        for (const data of [new Uint8Array(free.maxFileBytes + 1), new Blob([new Uint8Array(free.maxFileBytes + 1)])]) {
          await failureOf(client.artifact.create({ ...options, data }), 'QUOTA_EXCEEDED')
        }
        expect(events).toBe(0)
      })

      test('the total: refused with the figures; deletes work and make room; what fails gives its place back', async () => {
        const namespace = await freshNamespace(client, 'free')
        const nine = (n: number) => seededBytes(`nine ${n}`, 9_000_000)
        const ids: string[] = []
        for (let n = 0; n < 11; n++) ids.push((await store(namespace, nine(n))).id)
        const before = await used(namespace)
        expect(before).toBeGreaterThan(99_000_000)
        const refused = await failureOf(store(namespace, nine(11)), 'QUOTA_EXCEEDED')
        expect(refused.details).toMatchObject({
          plan: 'free',
          limit: 'maxTotalBytes',
          limitBytes: free.maxTotalBytes,
          usedBytes: before,
          reservedBytes: 0,
        })
        expect(refused.details.sizeBytes).toBeGreaterThanOrEqual(9_000_000)
        await failureOf(store(namespace, inPieces(nine(11), MiB)), 'QUOTA_EXCEEDED')
        await failureOf(client.artifact.update({ artifactId: ids[0] as string, data: nine(11) }), 'QUOTA_EXCEEDED')
        expect(await used(namespace)).toBe(before)

        // What is there already takes no room, and a description none at all.
        expect((await client.artifact.update({ artifactId: ids[0] as string, data: nine(0) })).version).toBe(2)
        await client.artifact.update({ artifactId: ids[0] as string, metadata: { n: 1 } })
        await client.artifact.update({ artifactId: ids[0] as string, restore: 1 })

        // About 990,000 bytes are left: three at once fit, however they are grouped; a fourth does not.
        const left = free.maxTotalBytes - before
        const third = Math.floor(left / 3) - 2 * leafOverhead
        await Promise.all([0, 1, 2].map((n) => store(namespace, seededBytes(`third ${n}`, third))))
        await failureOf(store(namespace, seededBytes('one too many', third)), 'QUOTA_EXCEEDED')
        expect(await used(namespace)).toBeLessThanOrEqual(free.maxTotalBytes)

        await client.namespace.setPlan({ namespace: namespace.id, plan: 'starter' })
        ids.push((await store(namespace, nine(12))).id)
        await client.namespace.setPlan({ namespace: namespace.id, plan: 'free' })
        await failureOf(store(namespace, new Uint8Array(1)), 'QUOTA_EXCEEDED')
        await client.artifact.deleteVersion({ artifactId: ids[0] as string, version: 2 })
        for (const n of [9, 10, 11]) await client.artifact.delete({ artifactId: ids[n] as string })
        expect((await store(namespace, nine(13))).sizeBytes).toBe(9_000_000)
      })

      test('snippets at once that fit together all go in; those over the total do not', async () => {
        const namespace = await freshNamespace(client, 'free')
        for (let n = 0; n < 10; n++) await store(namespace, seededBytes(`fill ${n}`, 9_990_000))
        const size = 10_000
        const left = free.maxTotalBytes - (await used(namespace))
        const fit = Math.floor(left / (size + leafOverhead))
        expect(fit).toBeGreaterThan(3)
        const write = async (n: number) =>
          await client.artifact.createSnippet({
            name: `${n}`,
            namespace: namespace.id,
            content: `${n}`.padEnd(size, 'x'),
          })
        const outcomes = await Promise.allSettled(Array.from({ length: fit }, (_, n) => write(n)))
        expect(outcomes.filter(({ status }) => status === 'rejected')).toEqual([])
        await failureOf(write(fit), 'QUOTA_EXCEEDED')
        expect(await used(namespace)).toBeLessThanOrEqual(free.maxTotalBytes)
      })

      test('uploads at once cannot go over the total together', async () => {
        const namespace = await freshNamespace(client, 'free')
        const outcomes = await Promise.allSettled(
          Array.from({ length: 14 }, (_, n) => {
            const bytes = seededBytes(`at once ${n}`, 9_500_000)
            return store(namespace, n % 2 === 0 ? bytes : inPieces(bytes, 500_000))
          }),
        )
        const whole = outcomes.filter(({ status }) => status === 'fulfilled').length
        for (const outcome of outcomes)
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'QUOTA_EXCEEDED' })
        expect(await client.namespace.usage({ namespace: namespace.id })).toMatchObject({ artifacts: whole })
        expect(await used(namespace)).toBeLessThanOrEqual(free.maxTotalBytes)
        expect(whole).toBeGreaterThan(0)
        // All places were given back: one more goes in if there is room for it.
        const left = free.maxTotalBytes - (await used(namespace))
        if (left > 9_600_000) expect((await store(namespace, seededBytes('afterwards', 9_500_000))).version).toBe(1)
        else await failureOf(store(namespace, seededBytes('afterwards', 9_990_000)), 'QUOTA_EXCEEDED')
      })
    })
  })
}
