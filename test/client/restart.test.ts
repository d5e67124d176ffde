import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ArtifactHubNode, type Client, startNode } from '../../node/index.ts'
import { expectBytes, failureOf, failuresOf, MiB, rejectionOf, seededBytes } from './contract-support.ts'

const small = seededBytes('kept small', 800)
const big = seededBytes('kept big', 4 * MiB)
const edited = Uint8Array.from(big)
edited[MiB] = (edited[MiB] as number) ^ 1

let root: string
let places = 0
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'artifact-hub-restart-'))
})
afterAll(async () => {
  await rm(root, { recursive: true })
})

function place(): string {
  places += 1
  return join(root, `place ${places}`)
}

async function checkClean(node: ArtifactHubNode): Promise<void> {
  expect((await node.check({ readData: true })).findings).toEqual([])
}

/** Everything that a client tells of what it has, without the bytes. */
async function everythingOf({ artifact, namespace }: Client): Promise<unknown> {
  const all: unknown[] = []
  for (const row of await namespace.list()) {
    const artifacts = await Array.fromAsync(artifact.list({ namespace: row.id }))
    const versions = await Promise.all(
      artifacts.map(({ id }) => Array.fromAsync(artifact.listVersions({ artifactId: id }))),
    )
    all.push({ row, usage: await namespace.usage({ namespace: row.id }), artifacts, versions })
  }
  return all
}

describe('a node that is closed and started again', () => {
  test('has everything as it was, and goes on', async () => {
    const dataDir = place()
    let before: unknown
    let did: string
    let ids: { inline: string; chunked: string; dropped: string }
    {
      await using node = await startNode({ network: 'offline', dataDir })
      const { artifact, namespace } = node.client
      did = node.did
      const other = await namespace.create({ name: 'other', plan: 'starter' })
      const inline = await artifact.create({ name: 'inline', data: small, metadata: { n: 1 } })
      await artifact.update({ artifactId: inline.id, content: 'second', metadata: { n: 2 } })
      const chunked = await artifact.create({ name: 'chunked', data: big, namespace: other.id })
      await artifact.update({ artifactId: chunked.id, data: edited })
      const dropped = await artifact.create({ name: 'dropped', data: big })
      await artifact.update({ artifactId: dropped.id, data: small })
      await artifact.deleteVersion({ artifactId: dropped.id, version: 2 })
      const gone = await artifact.create({ name: 'gone', data: small })
      await artifact.delete({ artifactId: gone.id })
      await namespace.create({ name: 'removed' })
      await namespace.delete({ namespace: 'removed' })
      await namespace.use({ namespace: 'other' })
      ids = { inline: inline.id, chunked: chunked.id, dropped: dropped.id }
      before = await everythingOf(node.client)
    }
    await using node = await startNode({ network: 'offline', dataDir })
    const { artifact, namespace } = node.client
    expect(node.did).toBe(did)
    expect(await everythingOf(node.client)).toEqual(before)
    expect(await namespace.list()).toHaveLength(2)
    expect((await namespace.get({ namespace: 'other' })).current).toBe(true)
    expectBytes(await artifact.download({ artifactId: ids.inline, version: 1 }), small)
    expect(new TextDecoder().decode(await artifact.download({ artifactId: ids.inline }))).toBe('second')
    expectBytes(await artifact.download({ artifactId: ids.chunked, version: 1 }), big)
    expectBytes(await artifact.download({ artifactId: ids.chunked }), edited)
    expectBytes(await artifact.download({ artifactId: ids.dropped }), big)
    expect((await artifact.update({ artifactId: ids.dropped, content: 'on' })).version).toBe(3)
    expect((await artifact.update({ artifactId: ids.chunked, restore: 1 })).version).toBe(3)
    expect((await artifact.createSnippet({ name: 'new', content: '' })).namespace).toBe(
      (await namespace.get({ namespace: 'other' })).id,
    )
    await checkClean(node)
  })

  test('many times over keeps its identity and its chain', async () => {
    const dataDir = place()
    const dids = new Set<string>()
    for (let n = 1; n <= 4; n++) {
      await using node = await startNode({ network: 'offline', dataDir })
      dids.add(node.did)
      await node.client.artifact.createSnippet({ name: 'counter', content: n })
      expect((await Array.fromAsync(node.client.artifact.list())).length).toBe(n)
      if (n === 4) await checkClean(node)
    }
    expect(dids.size).toBe(1)
  })
})

describe('close', () => {
  const calls = (client: Client, artifactId: string): Record<string, () => PromiseLike<unknown>> => ({
    create: () => client.artifact.create({ name: 'x', data: small }),
    'create in chunks': () => client.artifact.create({ name: 'x', data: big }),
    createSnippet: () => client.artifact.createSnippet({ name: 'x', content: 'x' }),
    uploadFile: () => client.artifact.uploadFile({ path: import.meta.filename }),
    update: () => client.artifact.update({ artifactId, content: 'x' }),
    get: () => client.artifact.get({ artifactId }),
    'get by name': () => client.artifact.get({ name: 'x' }),
    download: () => client.artifact.download({ artifactId }),
    downloadFile: () => client.artifact.downloadFile({ artifactId, path: join(root, 'never') }),
    list: () => client.artifact.list(),
    listVersions: () => client.artifact.listVersions({ artifactId }),
    delete: () => client.artifact.delete({ artifactId }),
    deleteVersion: () => client.artifact.deleteVersion({ artifactId, version: 1 }),
    'namespace.create': () => client.namespace.create({ name: 'x' }),
    'namespace.list': () => client.namespace.list(),
    'namespace.get': () => client.namespace.get({ namespace: 'personal' }),
    'namespace.use': () => client.namespace.use({ namespace: 'personal' }),
    'namespace.setPlan': () => client.namespace.setPlan({ namespace: 'personal', plan: 'free' }),
    'namespace.usage': () => client.namespace.usage(),
    'namespace.delete': () => client.namespace.delete({ namespace: 'personal' }),
  })

  test('may be called again, and every call after it is CLOSED', async () => {
    const node = await startNode({ network: 'offline', dataDir: place() })
    const { id } = await node.client.artifact.create({ name: 'x', data: big })
    await Promise.all([node.close(), node.close()])
    await node.close()
    await node[Symbol.asyncDispose]()
    for (const [name, call] of Object.entries(calls(node.client, id))) {
      const error = await rejectionOf(call()).catch((cause) => cause)
      expect({ name, error }).toMatchObject({ name, error: { code: 'CLOSED' } })
    }
    await failuresOf(
      [() => node.status(), () => node.check(), () => node.gc(), () => node.du(), () => node.helia()],
      'CLOSED',
    )
  })

  test('while calls are in flight: each is done or CLOSED, and what was done is there', async () => {
    const dataDir = place()
    const node = await startNode({ network: 'offline', dataDir })
    const { artifact } = node.client
    const { id: artifactId } = await artifact.create({ name: 'read', data: big })
    const work = [
      ...Array.from({ length: 30 }, (_, n) => artifact.createSnippet({ name: 'snippet', content: n })),
      ...Array.from({ length: 4 }, (_, n) => artifact.create({ name: 'chunked', data: seededBytes(`${n}`, 3 * MiB) })),
      ...Array.from({ length: 4 }, (_, n) =>
        artifact.update({ artifactId, data: seededBytes(`update ${n}`, 2 * MiB) }),
      ),
    ]
    const reads = Array.from({ length: 4 }, () => artifact.download({ artifactId, version: 1 }))
    const outcomes = Promise.allSettled(work)
    const readOutcomes = Promise.allSettled(reads)
    await node.close()
    for (const outcome of [...(await outcomes), ...(await readOutcomes)]) {
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ name: 'ArtifactHubError', code: 'CLOSED' })
    }
    for (const outcome of await readOutcomes) if (outcome.status === 'fulfilled') expectBytes(outcome.value, big)
    await using again = await startNode({ network: 'offline', dataDir })
    for (const outcome of await outcomes) {
      if (outcome.status === 'rejected') continue
      const { id, version, sha256 } = outcome.value
      expect((await again.client.artifact.get({ artifactId: id, version })).sha256).toBe(sha256)
      await again.client.artifact.download({ artifactId: id, version })
    }
    await checkClean(again)
  })

  test('ends an upload whose source gives nothing, a stream that nobody reads, and lets the directory go', async () => {
    const dataDir = place()
    const node = await startNode({ network: 'offline', dataDir })
    const { artifact } = node.client
    const { promise: asked, resolve: onAsked } = Promise.withResolvers<void>()
    const { promise: never } = Promise.withResolvers<void>()
    const stalled = artifact.create({
      name: 'stalled',
      data: (async function* () {
        yield big
        onAsked()
        await never
      })(),
    })
    const outcome = failureOf(stalled, 'CLOSED')
    const { id: artifactId } = await artifact.create({ name: 'unread', data: big })
    const unread = artifact.downloadStream({ artifactId })[Symbol.asyncIterator]()
    await unread.next()
    await asked
    await node.close()
    await outcome
    await using again = await startNode({ network: 'offline', dataDir })
    expect((await again.client.artifact.list()).items.map(({ name }) => name)).toEqual(['unread'])
  })
})

describe('one data directory', () => {
  test('a second node on it is LOCKED, says by whom, and does not disturb the first', async () => {
    const dataDir = place()
    await using node = await startNode({ network: 'offline', dataDir })
    const { message, details } = await failureOf(startNode({ network: 'offline', dataDir }), 'LOCKED')
    expect(message).toContain(String(process.pid))
    expect(details).toMatchObject({ pid: process.pid })
    expect((await node.client.artifact.createSnippet({ name: 'x', content: 'x' })).version).toBe(1)
    await node.close()
    await using next = await startNode({ network: 'offline', dataDir })
    expect((await next.client.artifact.list()).items).toHaveLength(1)
  })

  test('of several started at once one gets it', async () => {
    const dataDir = place()
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => startNode({ network: 'offline', dataDir })))
    const nodes = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    await Promise.all(nodes.map((node) => node.close()))
    expect(nodes).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'LOCKED' })
  })

  test('copied and opened beside the original: both write on, each under its own incarnation', async () => {
    const [dataDir, copyDir] = [place(), place()]
    let artifactId: string
    {
      await using node = await startNode({ network: 'offline', dataDir })
      artifactId = (await node.client.artifact.create({ name: 'shared past', data: big })).id
    }
    await cp(dataDir, copyDir, { recursive: true, preserveTimestamps: true })
    const incarnations: unknown[] = []
    {
      await using original = await startNode({ network: 'offline', dataDir })
      await using copy = await startNode({ network: 'offline', dataDir: copyDir })
      expect(copy.did).toBe(original.did)
      for (const [n, { client }] of [original, copy].entries()) {
        expectBytes(await client.artifact.download({ artifactId }), big)
        expect((await client.artifact.update({ artifactId, content: `by ${n}` })).version).toBe(2)
        await client.artifact.create({ name: `by ${n}`, data: seededBytes(`by ${n}`, 2 * MiB) })
      }
      await checkClean(original)
      await checkClean(copy)
      for (const directory of [dataDir, copyDir]) {
        incarnations.push(JSON.parse(await readFile(join(directory, 'incarnation'), 'utf8')).incarnation)
      }
    }
    expect(incarnations[0]).not.toBe(incarnations[1])
    await using copy = await startNode({ network: 'offline', dataDir: copyDir })
    expect((await copy.client.artifact.get({ artifactId })).version).toBe(2)
    expect(new TextDecoder().decode(await copy.client.artifact.download({ artifactId }))).toBe('by 1')
    await checkClean(copy)
  })
})

describe('startNode', () => {
  test('with a passphrase needs it ever after, and tells it nobody', async () => {
    const dataDir = place()
    const passphrase = 'correct horse battery staple'
    let did: string
    {
      await using node = await startNode({ network: 'offline', dataDir, passphrase })
      did = node.did
      await node.client.artifact.createSnippet({ name: 'x', content: 'x' })
    }
    const wrong = 'Tr0ub4dor&3'
    for (const given of [undefined, wrong]) {
      const { message, stack, details } = await failureOf(
        startNode({ network: 'offline', dataDir, passphrase: given }),
        'ACCESS_DENIED',
      )
      for (const secret of [passphrase, wrong])
        expect(`${message} ${stack} ${JSON.stringify(details)}`).not.toContain(secret)
    }
    await using node = await startNode({ network: 'offline', dataDir, passphrase })
    expect(node.did).toBe(did)
    expect((await node.client.artifact.list()).items).toHaveLength(1)
    expect((await readFile(join(dataDir, 'identity.key'))).includes(passphrase)).toBe(false)
  })

  test('without a passphrase refuses one that is given later', async () => {
    const dataDir = place()
    await (await startNode({ network: 'offline', dataDir })).close()
    await failureOf(startNode({ network: 'offline', dataDir, passphrase: 'new' }), 'ACCESS_DENIED')
    await (await startNode({ network: 'offline', dataDir })).close()
  })

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['no data directory', {}],
    ['an empty path', { dataDir: '' }],
    ['a number as a path', { dataDir: 7 }],
    ['an empty passphrase', { dataDir: 'x', passphrase: '' }],
    ['an unknown network', { dataDir: 'x', network: 'moon' }],
    ['addresses to listen on offline', { dataDir: 'x', network: 'offline', listen: ['/ip4/127.0.0.1/tcp/0'] }],
    ['addresses that are no texts', { dataDir: 'x', listen: [7] }],
    ['a private network without its key', { dataDir: 'x', network: 'private' }],
    ['a network key elsewhere', { dataDir: 'x', network: 'lan', networkKey: new Uint8Array(32) }],
    ['a network key of another length', { dataDir: 'x', network: 'private', networkKey: new Uint8Array(16) }],
    ['what is no ticket', { dataDir: 'x', replicate: ['ahub1nothing'] }],
    ['tickets that are no list', { dataDir: 'x', replicate: null }],
    ['an option that it does not know', { dataDir: 'x', passPhrase: 'secret' }],
    ['a path with a NUL', { dataDir: 'x\0y' }],
    ['a signal that is none', { dataDir: 'x', signal: {} }],
    ['a logger that cannot warn', { dataDir: 'x', logger: { debug() {}, info() {}, error() {} } }],
    ['a gateway that is no object', { dataDir: 'x', gateway: 0 }],
  ])('refuses %s', async (_, options) => {
    await failureOf(startNode(options as never), 'INVALID_ARGUMENT')
  })

  test('calls of a node refuse what they do not know, and what only looks like yes', async () => {
    await using node = await startNode({ network: 'offline', dataDir: place() })
    for (const options of ['text', 7, { surprise: 1 }, { signal: {} }]) {
      for (const call of ['check', 'gc', 'du', 'status', 'peers'] as const)
        await failureOf(node[call](options as never), 'INVALID_ARGUMENT')
      await failureOf(node.ping('somebody', options as never), 'INVALID_ARGUMENT')
    }
    await failureOf(node.gc({ now: 'no' as never }), 'INVALID_ARGUMENT')
    await failureOf(node.check({ repair: 'no' as never }), 'INVALID_ARGUMENT')
    await failureOf(node.check({ readData: 1 as never }), 'INVALID_ARGUMENT')
    await failureOf(node.check({ onProgress: true as never }), 'INVALID_ARGUMENT')
  })

  test('aborted before it began gives the signal’s reason and leaves the directory free', async () => {
    const dataDir = place()
    const signal = AbortSignal.abort(new Error('not now'))
    expect(await rejectionOf(startNode({ network: 'offline', dataDir, signal }))).toBe(signal.reason)
    await (await startNode({ network: 'offline', dataDir })).close()
  })
})
