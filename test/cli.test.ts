import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CliPlace, errorOf } from './support/cli-process.ts'

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

  test('a snippet of standard input is every byte of it, or refused', async () => {
    const marked = Buffer.from('\ufefftext')
    const { id } = await place.json<Shown>(['snippet', 'marked', '--text'], { input: marked })
    expect((await place.run(['cat', id])).stdout.equals(marked)).toBe(true)
    await place.json(['snippet', 'json'], { input: Buffer.from('\ufeff{"a":1}') })
    const refused = await place.run(['snippet', 'bytes', '--text', '--json'], { input: Buffer.from([0x61, 0xff]) })
    expect([refused.exitCode, errorOf(refused).code]).toEqual([2, 'INVALID_ARGUMENT'])
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
    await place.json(['rm', id, '--version', '2'])
    const { items } = await place.json<{ items: (Shown & { current: boolean; author: string })[] }>(['versions', id])
    expect(items.map((version) => [version.version, version.current])).toEqual([
      [4, true],
      [3, false],
      [1, false],
    ])
    expect(items[0]?.author).toMatch(/^did:key:z6Mk/)
    expect((await place.run(['cat', id, '--version', '2'])).exitCode).toBe(4)
  })

  test('rm of a whole artifact without --yes asks, and deletes nothing where nobody can answer', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'kept'], { input: 'x' })
    const refused = await place.run(['rm', id])
    expect(refused.exitCode).toBe(2)
    expect(refused.stderr).toContain('--yes')
    const help = (await place.run(['rm', '--help'])).stdout.toString().replaceAll(/\s+/g, ' ')
    expect(help).toContain('without a terminal a whole artifact is deleted only with this')
    expect(await place.json(['info', id])).toMatchObject({ name: 'kept' })
    expect(await place.json(['rm', id, '-y'])).toEqual({ deleted: { id } })
    expect((await place.run(['info', id])).exitCode).toBe(4)
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
    await using cloned = await CliPlace.create('clone')
    const traced = await cloned.run(['info', 'no-such-thing'], { env: { ARTIFACT_HUB_DEBUG: '1' } })
    expect(traced.stderr).toMatch(/\n +at .+\.ts:/)
  })

  test('a data directory with no name is refused, and the folder it runs in does not become one', async () => {
    const line = 'mkdir bare && cd bare && "$0" "$1" ls --data-dir "" --json; code=$?; ls -A; exit $code'
    const done = await place.runInShell(line, [])
    expect([done.exitCode, done.stdout.toString(), errorOf(done).code]).toEqual([2, '', 'INVALID_ARGUMENT'])
  })

  test('nor does it where there is no home directory', async () => {
    const line =
      'mkdir homeless && cd homeless && unset ARTIFACT_HUB_DIR && HOME= "$0" "$1" ls --json; code=$?; ls -A; exit $code'
    const done = await place.runInShell(line, [])
    expect([done.exitCode, done.stdout.toString(), errorOf(done).code]).toEqual([2, '', 'INVALID_ARGUMENT'])
  })

  test('paths that begin in a folder that was removed are refused, and no others', async () => {
    const inRemoved = 'mkdir gone && cd gone && rmdir ../gone && "$0" "$@"'
    for (const given of [
      ['ls', '--data-dir', 'data'],
      ['put', 'some-file'],
      ['get', 'nothing', '-o', 'target'],
    ]) {
      const done = await place.runInShell(inRemoved, [...given, '--json'])
      const code = given[0] === 'get' ? 'NOT_FOUND' : 'INVALID_ARGUMENT'
      expect(errorOf(done).code, given.join(' ')).toBe(code)
    }
  })

  test('what changed meanwhile, a range outside, a full output and a folder are told apart', async () => {
    const { id } = await place.json<Shown>(['put', '-', '--name', 'small'], { input: 'abc' })
    expect((await place.run(['update', id, '--name', 'x', '--expect', '9'])).exitCode).toBe(6)
    expect((await place.run(['cat', id, '--range', '100-'])).exitCode).toBe(9)
    const full = await place.runInShell('"$0" "$1" cat "$2" > /dev/full', [id])
    expect([full.exitCode, full.stderr]).toEqual([12, expect.stringContaining('cannot write the output')])
    await mkdir(join(place.folder, 'a-folder'))
    expect((await place.run(['put', 'a-folder'])).exitCode).toBe(2)
  })

  test('content that went bad on the disk is CORRUPT, and no wrong byte of it comes out', async () => {
    await using other = await CliPlace.create()
    await other.json(['put', '-', '--name', 'rotten'], { input: large })
    const packs = join(other.dataDir, 'packs')
    const files = (await readdir(packs, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
    for (const file of files) {
      const path = join(file.parentPath, file.name)
      const bytes = await readFile(path)
      const at = Math.floor(bytes.length / 2)
      bytes[at] = (bytes[at] ?? 0) ^ 1
      await writeFile(path, bytes)
    }
    const done = await other.run(['cat', 'rotten', '--json'])
    expect([done.exitCode, errorOf(done).code]).toEqual([14, 'CORRUPT'])
    expect(done.stdout.length).toBeLessThan(large.length)
    expect(done.stdout.equals(large.subarray(0, done.stdout.length))).toBe(true)
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
