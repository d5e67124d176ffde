import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CliPlace, errorOf, finished } from './support/cli-process.ts'

interface Shown {
  id: string
  name: string
  sizeBytes: number
  sha256: string
  version: number
  versionId: string
  metadata: unknown
  contentType: string
}

const large = randomBytes(5_000_000)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

let place: CliPlace

beforeAll(async () => {
  place = await CliPlace.create()
})

afterAll(async () => {
  await place[Symbol.asyncDispose]()
})

describe('content through the CLI', () => {
  test('a file goes in and comes out byte for byte', async () => {
    await writeFile(join(place.folder, 'large.bin'), large)
    const put = await place.json<Shown>(['put', 'large.bin', '--meta', 'author=me', '--meta', 'year:=2026'])
    expect(put).toMatchObject({
      name: 'large.bin',
      sizeBytes: large.length,
      sha256: sha256(large),
      version: 1,
      metadata: { author: 'me', year: 2026 },
    })
    const fields =
      'id namespace name contentType sizeBytes sha256 metadata version versionId createdAt updatedAt createdBy cid'
    expect(Object.keys(put)).toEqual(fields.split(' '))
    const got = await place.json<Shown & { path: string }>(['get', put.id, '-o', 'copy.bin'])
    expect(got).toMatchObject({ id: put.id, path: 'copy.bin' })
    expect(await readFile(join(place.folder, 'copy.bin'))).toEqual(large)
  })

  test('standard input goes in, and standard output is exactly the content', async () => {
    const put = await place.json<Shown>(['put', '-', '--name', 'piped.bin'], { input: large })
    expect(put.sha256).toBe(sha256(large))
    for (const args of [
      ['cat', put.id],
      ['get', 'piped.bin', '-o', '-'],
    ]) {
      const { stdout, exitCode, stderr } = await place.run(args)
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
      expect(stdout.equals(large)).toBe(true)
    }
  })

  test('an empty file and a one-byte file survive', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from([0xff])]) {
      const put = await place.json<Shown>(['put', '-', '--name', `tiny-${bytes.length}`], { input: bytes })
      expect((await place.run(['cat', put.id])).stdout).toEqual(bytes)
    }
  })

  test('cat gives just the range asked for', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'ranged.bin'], { input: large })
    const ranges: [string, Buffer][] = [
      ['0-99', large.subarray(0, 100)],
      ['4999990-', large.subarray(4_999_990)],
      ['-500', large.subarray(-500)],
      ['2MB+1MB', large.subarray(2_000_000, 3_000_000)],
    ]
    for (const [range, expected] of ranges) {
      expect((await place.run(['cat', id, '--range', range])).stdout.equals(expected), range).toBe(true)
    }
  })

  test('a name never leads get out of the folder it runs in', async () => {
    await place.json(['put', '-', '--name', '../../.ssh/authorized_keys'], { input: 'evil' })
    const { path } = await place.json<{ path: string }>(['get', '../../.ssh/authorized_keys'])
    expect(path).toBe('___.._.ssh_authorized_keys')
    expect(await readFile(join(place.folder, path), 'utf8')).toBe('evil')
    await mkdir(join(place.folder, 'into'))
    const inside = await place.json<{ path: string }>(['get', '../../.ssh/authorized_keys', '-o', 'into'])
    expect(inside.path).toBe(join('into', path))
  })

  test('get does not replace a file unless told to', async () => {
    await place.json(['put', '-', '--name', 'once.txt'], { input: 'new' })
    await writeFile(join(place.folder, 'once.txt'), 'old')
    const refused = await place.run(['get', 'once.txt'])
    expect(refused.exitCode).toBe(5)
    expect(refused.stderr).toContain('--force')
    expect(await readFile(join(place.folder, 'once.txt'), 'utf8')).toBe('old')
    await place.json(['get', 'once.txt', '--force'])
    expect(await readFile(join(place.folder, 'once.txt'), 'utf8')).toBe('new')
  })

  test('a snippet is JSON, or text as it is', async () => {
    const value = await place.json<Shown>(['snippet', 'config.json', '{"model":"x"}'])
    expect(JSON.parse((await place.run(['cat', value.id])).stdout.toString())).toEqual({ model: 'x' })
    const note = await place.json<Shown>(['snippet', 'note.txt', '--text'], { input: 'not {json' })
    expect((await place.run(['cat', note.id])).stdout.toString()).toBe('not {json')
    const refused = await place.run(['snippet', 'bad.json', '{'])
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toContain('--text')
  })
})

describe('versions through the CLI', () => {
  test('update adds versions, restore brings one back, rm takes one away', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'doc.txt', '--meta', 'a=1', '--meta', 'b=2'], {
      input: 'one',
    })
    await place.json(['update', id, '-', '--meta', 'b=3'], { input: 'two' })
    const renamed = await place.json<Shown>(['update', id, '--name', 'doc-renamed.txt', '--expect', '2'])
    expect(renamed).toMatchObject({ version: 3, name: 'doc-renamed.txt', metadata: { a: '1', b: '3' } })
    expect((await place.run(['cat', id])).stdout.toString()).toBe('two')
    expect((await place.run(['cat', id, '--version', '1'])).stdout.toString()).toBe('one')
    const restored = await place.json<Shown>(['update', id, '--restore', '1'])
    expect(restored).toMatchObject({ version: 4, name: 'doc.txt', metadata: { a: '1', b: '2' } })
    await place.json(['rm', id, '--version', '2', '--yes'])
    const { items } = await place.json<{ items: (Shown & { current: boolean; author: string })[] }>(['versions', id])
    expect(items.map((version) => [version.version, version.current])).toEqual([
      [4, true],
      [3, false],
      [1, false],
    ])
    expect(items[0]?.author).toMatch(/^did:key:z6Mk/)
    expect((await place.run(['cat', id, '--version', '2'])).exitCode).toBe(4)
  })

  test('rm without --yes asks, and deletes nothing where nobody can answer', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'kept'], { input: 'x' })
    const refused = await place.run(['rm', id])
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toContain('--yes')
    expect(await place.json(['info', id])).toMatchObject({ name: 'kept' })
    expect(await place.json(['rm', id, '-y'])).toEqual({ deleted: { id } })
    expect((await place.run(['info', id])).exitCode).toBe(4)
  })
})

describe('finding through the CLI', () => {
  beforeAll(async () => {
    await place.json(['ns', 'create', 'find'])
    for (const [name, count] of [
      ['alpha', '1'],
      ['alphabet', '2'],
      ['beta', '3'],
      ['twin', '4'],
      ['twin', '5'],
    ] as const) {
      await place.json(
        ['put', '-', '--name', name, '--ns', 'find', '--meta', `count:=${count}`, '--meta', 'kind=test'],
        { input: name },
      )
    }
  })

  const names = async (...args: string[]): Promise<string[]> => {
    const { items } = await place.json<{ items: Shown[] }>(['ls', '--ns', 'find', ...args])
    return items.map((item) => item.name)
  }

  test('ls filters, orders and pages', async () => {
    expect(await names('--where', 'count>=2', '--where', 'count<4', '--order', 'name')).toEqual(['alphabet', 'beta'])
    expect(await names('--where', 'count=3')).toEqual(['beta'])
    expect(await names('--where', '!kind')).toEqual([])
    expect(await names('--prefix', 'alpha', '--order', 'name:desc')).toEqual(['alphabet', 'alpha'])
    expect(await names('--since', '1h')).toHaveLength(5)
    expect(await names('--before', '1h')).toEqual([])
    const first = await place.json<{ items: Shown[]; nextCursor: string }>([
      'ls',
      '--ns',
      'find',
      '--order',
      'name',
      '--limit',
      '2',
    ])
    const more = await names('--order', 'name', '--limit', '1', '--cursor', first.nextCursor)
    expect([...first.items.map((item) => item.name), ...more]).toEqual(['alpha', 'alphabet', 'beta'])
    expect(await names('--all')).toHaveLength(5)
  })

  test('a list that goes on says so', async () => {
    const { stdout, stderr } = await place.run(['ls', '--ns', 'find', '--limit', '2'])
    expect(stdout.toString().trimEnd().split('\n')).toHaveLength(3)
    expect(stderr).toContain('--all')
    expect((await place.run(['ls', '--ns', 'find', '--limit', '2', '--quiet'])).stderr).toBe('')
  })

  test('an artifact goes by its id, its name, or the start of its id with or without art_', async () => {
    const { items } = await place.json<{ items: Shown[] }>(['ls', '--ns', 'find', '--prefix', 'beta'])
    const id = items[0]?.id ?? ''
    for (const reference of [id, 'beta', id.slice(0, 20), id.slice(4, 24)]) {
      expect(await place.json(['info', reference, '--ns', 'find']), reference).toMatchObject({ id, name: 'beta' })
    }
    expect(await place.json(['info', 'alpha', '--ns', 'find'])).toMatchObject({ name: 'alpha' })
  })

  test('a name that several artifacts have is refused with the ids to choose from', async () => {
    const done = await place.run(['cat', 'twin', '--ns', 'find', '--json'])
    expect(done.exitCode).toBe(2)
    expect(done.stdout).toHaveLength(0)
    const { items } = await place.json<{ items: Shown[] }>(['ls', '--ns', 'find', '--prefix', 'twin'])
    const error = errorOf(done)
    expect([...(error.details.candidates as string[])].sort()).toEqual(items.map((item) => item.id).sort())
    for (const { id } of items) expect(error.message).toContain(id)
  })

  test('namespaces keep names apart', async () => {
    expect((await place.run(['info', 'alphabet'])).exitCode).toBe(4)
    const { items } = await place.json<{ items: Shown[] }>(['ls', '--prefix', 'alpha'])
    expect(items).toEqual([])
  })
})

describe('namespaces, node and store through the CLI', () => {
  test('namespaces are created, switched, bounded and deleted', async () => {
    const work = await place.json<{ id: string; current: boolean }>(['ns', 'create', 'work', '--plan', 'free'])
    expect(work).toMatchObject({ current: false, plan: 'free' })
    const before = await place.json<{ name: string; current: boolean }[]>(['ns', 'ls'])
    const home = before.find((namespace) => namespace.current)?.name ?? ''
    await place.json(['ns', 'use', 'work'])
    await place.json(['put', '-', '--name', 'in-work'], { input: 'x' })
    expect(await place.json(['ns', 'usage'])).toMatchObject({
      namespace: work.id,
      plan: 'free',
      artifacts: 1,
      limits: { maxFileBytes: 10_000_000, maxTotalBytes: 100_000_000 },
    })
    await writeFile(join(place.folder, 'eleven.bin'), Buffer.alloc(11_000_000))
    const over = await place.run(['put', 'eleven.bin', '--json'])
    expect([over.exitCode, errorOf(over).code]).toEqual([7, 'QUOTA_EXCEEDED'])
    expect(await place.json(['ns', 'plan', 'work', 'starter'])).toMatchObject({ plan: 'starter' })
    await place.json(['put', 'eleven.bin'])
    await place.json(['ns', 'use', home])
    expect((await place.run(['ns', 'rm', 'work'])).exitCode).toBe(2)
    await place.json(['ns', 'rm', 'work', '--yes'])
    const after = await place.json<{ name: string }[]>(['ns', 'ls'])
    expect(after.map((namespace) => namespace.name)).not.toContain('work')
  })

  test('an unlimited plan is null in JSON', async () => {
    await place.json(['ns', 'create', 'endless', '--plan', 'enterprise'])
    expect(await place.json(['ns', 'usage', 'endless'])).toMatchObject({ limits: { maxTotalBytes: null } })
  })

  test('id, status, check, gc and du show the same node', async () => {
    const { did } = await place.json<{ did: string }>(['id'])
    expect(did).toMatch(/^did:key:z6Mk/)
    expect((await place.run(['id'])).stdout.toString()).toBe(`${did}\n`)
    expect(await place.json(['status'])).toMatchObject({ did, dataDir: place.dataDir, network: 'offline' })
    const { id } = await place.json<Shown>(['put', '-', '--name', 'doomed'], { input: randomBytes(3_000_000) })
    const checked = await place.json<{ bytesRead: number; findings: unknown[] }>(['check', '--read-data'])
    expect(checked.findings).toEqual([])
    expect(checked.bytesRead).toBeGreaterThan(3_000_000)
    await place.json(['rm', id, '--yes'])
    expect(await place.json(['gc'])).toMatchObject({ removedBlocks: 0 })
    const gc = await place.json<{ removedBlocks: number; freedBytes: number }>(['gc', '--now'])
    expect(gc.removedBlocks).toBeGreaterThanOrEqual(2)
    const rows = await place.json<{ name: string; packBytes: number }[]>(['du'])
    expect(rows.some((row) => row.packBytes > 0)).toBe(true)
  })

  test('text results are aligned, tab-free and free of what names smuggle in', async () => {
    await place.json(['ns', 'create', 'texts'])
    await place.json(['put', '-', '--name', 'wide 東京 \u202e.txt', '--ns', 'texts', '--meta', 'note=\u001b[2J'], {
      input: 'x',
    })
    for (const args of [
      ['ls'],
      ['info', 'wide 東京 \u202e.txt'],
      ['versions', 'wide 東京 \u202e.txt'],
      ['ns', 'ls'],
      ['status'],
      ['du'],
      ['check'],
    ]) {
      const { stdout, exitCode, stderr } = await place.run([...args, '--ns', 'texts'])
      expect(exitCode, stderr).toBe(0)
      const text = stdout.toString()
      expect(text.length).toBeGreaterThan(10)
      for (const raw of ['\u001b', '\u202e', '\t']) expect(text.includes(raw), args[0]).toBe(false)
    }
  })
})

describe('failures through the CLI', () => {
  test.each([
    [['put'], 2, 'INVALID_ARGUMENT'],
    [['nonsense'], 2, 'INVALID_ARGUMENT'],
    [['ls', '--nonsense'], 2, 'INVALID_ARGUMENT'],
    [['put', '-'], 2, 'INVALID_ARGUMENT'],
    [['ls', '--since', 'soon'], 2, 'INVALID_ARGUMENT'],
    [['ls', '--limit', '0'], 2, 'INVALID_ARGUMENT'],
    [['info', 'no-such-thing'], 4, 'NOT_FOUND'],
    [['info', 'art_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'], 4, 'NOT_FOUND'],
    [['put', 'no-such-file'], 4, 'NOT_FOUND'],
    [['ns', 'use', 'no-such-namespace'], 4, 'NOT_FOUND'],
  ])('%j exits with %d, %s, and says so in one JSON document', async (args, exitCode, code) => {
    const done = await place.run([...args, '--json'])
    expect([done.exitCode, errorOf(done).code]).toEqual([exitCode, code])
    expect(done.stdout).toHaveLength(0)
  })

  test('people read what is wrong and what to do next, and no stack trace unless they ask for one', async () => {
    const missing = await place.run(['info', 'no-such-thing'])
    expect(missing.stderr).toMatch(/^artifact-hub: .*no-such-thing.*\n {2}.*artifact-hub ls.*\n$/)
    const usage = await place.run(['ls', '--nonsense'])
    expect(usage.stderr).toMatch(/^artifact-hub: .*--nonsense.*\n {2}.*--help.*\n$/)
    const traced = await place.run(['info', 'no-such-thing'], { env: { ARTIFACT_HUB_DEBUG: '1' } })
    expect(traced.stderr).toMatch(/\n +at .+\.ts:/)
  })

  test('what changed meanwhile, a range outside, a full output and a wrong source have exit codes of their own', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'small'], { input: 'abc' })
    expect((await place.run(['update', id, '--name', 'x', '--expect', '9'])).exitCode).toBe(6)
    expect((await place.run(['cat', id, '--range', '100-'])).exitCode).toBe(9)
    const full = await place.runInShell('"$0" "$1" cat "$2" > /dev/full', [id])
    expect([full.exitCode, full.stderr]).toEqual([12, expect.stringContaining('cannot write the output')])
    await mkdir(join(place.folder, 'a-folder'))
    expect((await place.run(['put', 'a-folder', '--json'])).exitCode).toBe(15)
  })

  test('a passphrase comes from a file, and is needed ever after', async () => {
    await using other = await CliPlace.create()
    await writeFile(join(other.folder, 'right'), 'correct horse\n')
    await writeFile(join(other.folder, 'wrong'), 'battery\n')
    const withFile = (name: string) =>
      other.run(['id'], { env: { ARTIFACT_HUB_PASSPHRASE_FILE: join(other.folder, name) } })
    expect((await withFile('right')).exitCode).toBe(0)
    const denied = await withFile('wrong')
    expect(denied.exitCode).toBe(3)
    expect(denied.stderr).toContain('ARTIFACT_HUB_PASSPHRASE_FILE')
    expect((await other.run(['id'])).exitCode).toBe(3)
    expect((await withFile('missing')).exitCode).toBe(4)
    expect((await withFile('right')).exitCode).toBe(0)
  })
})

describe('the CLI as a process', () => {
  test('a second process is told who holds the data directory, and nothing breaks', async () => {
    const holder = place.start(['put', '-', '--name', 'held', '--json'])
    const held = finished(holder)
    await consumed(holder.stdin, large)
    const second = await place.run(['ls', '--json'])
    expect([second.exitCode, errorOf(second).code]).toEqual([11, 'LOCKED'])
    expect(errorOf(second).message).toContain(String(holder.pid))
    expect(errorOf(second).hint).toContain('--data-dir')
    const elsewhere = await place.run(['ls', '--data-dir', join(place.folder, 'other-data'), '--json'])
    expect(elsewhere.exitCode).toBe(0)
    holder.stdin?.end()
    const done = await held
    expect(done.stderr).toBe('')
    expect(done.json()).toMatchObject({ name: 'held', sha256: sha256(large) })
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s in the middle of a put lists nothing', async (signal) => {
    const child = place.start(['put', '-', '--name', `cut-${signal}`])
    const ended = finished(child)
    child.stdin?.on('error', () => {})
    await consumed(child.stdin, large)
    child.kill(signal)
    expect((await ended).exitCode).toBe(signal === 'SIGINT' ? 130 : 143)
    expect((await ended).stderr).not.toMatch(/\n\s+at /)
    const { items } = await place.json<{ items: unknown[] }>(['ls', '--prefix', 'cut-'])
    expect(items).toEqual([])
    expect((await place.json<{ findings: unknown[] }>(['check'])).findings).toEqual([])
  })

  test('a closed pipe ends it quietly', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'to-head'], { input: large })
    const child = place.start(['cat', id])
    const ended = finished(child)
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    child.stdout?.destroy()
    expect(await ended).toMatchObject({ exitCode: 141, stderr: '' })
  })

  test('results and messages never mix: a new data directory is announced on standard error', async () => {
    await using other = await CliPlace.create()
    const first = await other.run(['ls'])
    expect(first.stdout.toString()).toBe('')
    expect(first.stderr).toContain('created a new agent, did:key:')
    expect((await stat(other.dataDir)).mode & 0o777).toBe(0o700)
    expect((await readdir(other.folder)).sort()).toEqual(['compile-cache', 'data'])
  })
})

/** Resolves when the other side has taken all but what a pipe holds. */
async function consumed(stream: NodeJS.WritableStream | null, bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => stream?.write(bytes, (error) => (error ? reject(error) : resolve())))
}
