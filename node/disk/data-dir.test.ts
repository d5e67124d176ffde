import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { KeyValueStore } from '../../src/storage/key-value.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { DataDir } from './data-dir.ts'
import { openIncarnation } from './incarnation.ts'
import { bootIdentity, ownIdentity } from './process-identity.ts'

let base: string
let path: string
const children = new Set<ChildProcessWithoutNullStreams>()

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'ahub-dir-'))
  path = join(base, 'data')
})

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  children.clear()
  await rm(base, { recursive: true, force: true })
})

/** Another process that tries to open the directory; `answer` is its one line. */
async function other(): Promise<{ child: ChildProcessWithoutNullStreams; answer: Record<string, string> }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'test-support/hold-data-dir.ts'), path])
  children.add(child)
  child.stderr.pipe(process.stderr)
  const [line] = await once(createInterface(child.stdout), 'line')
  return { child, answer: JSON.parse(line as string) }
}

async function kill(child: ChildProcessWithoutNullStreams): Promise<void> {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** A claim on the lock as some process would leave it. */
async function leaveClaim(claim: object): Promise<void> {
  await mkdir(join(path, 'lock'), { recursive: true, mode: 0o700 })
  await chmod(path, 0o700)
  for (const kind of ['claim', 'held']) {
    await writeFile(join(path, 'lock', `${kind}-0000000001-00`), JSON.stringify({ since: '2026-01-01', ...claim }))
  }
}

test('makes the directory with its parents, for its owner alone, and opens it again', async () => {
  path = join(base, 'a', 'b')
  const dir = await DataDir.open({ path })
  expect((await stat(path)).mode & 0o777).toBe(0o700)
  expect(await readFile(join(path, 'FORMAT'), 'utf8')).toBe('1\n')
  await dir.close()
  await dir.close()
  await using again = await DataDir.open({ path })
  expect(again.path).toBe(path)
})

test.runIf(process.platform === 'linux')(
  'says so where nobody can make a directory, and does not try for ever',
  async () => {
    path = '/proc/artifact-hub/data'
    await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'STORAGE_FAILED', message: /\/proc/ })
  },
)

test('is no directory where a link leads nowhere, or below a file', async () => {
  await symlink(join(base, 'nowhere'), join(base, 'link'))
  await writeFile(join(base, 'file'), '')
  for (const name of ['link', 'link/data', 'file', 'file/data/deep']) {
    await expect(DataDir.open({ path: join(base, name) })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  }
  expect((await readdir(base)).sort()).toEqual(['file', 'link'])
})

test('tightens an empty directory and refuses one with content that others may enter', async () => {
  await mkdir(path, { mode: 0o755 })
  await (await DataDir.open({ path })).close()
  expect((await stat(path)).mode & 0o777).toBe(0o700)
  await chmod(path, 0o750)
  await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'ACCESS_DENIED', message: /chmod 700/ })
  expect((await stat(path)).mode & 0o777).toBe(0o750)
})

test('leaves a folder of other things, another format and a file as they are', async () => {
  await mkdir(path, { mode: 0o700 })
  await writeFile(join(path, 'thesis.tex'), 'x')
  await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  expect(await readdir(path)).toEqual(['thesis.tex'])
  for (const format of ['0\n', '2\n', '7\n']) {
    await writeFile(join(path, 'FORMAT'), format)
    await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    expect(await readFile(join(path, 'FORMAT'), 'utf8')).toBe(format)
  }
  expect((await readdir(path)).sort()).toEqual(['FORMAT', 'thesis.tex'])
  await writeFile(join(path, 'FORMAT'), 'seven')
  await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'CORRUPT' })
  await expect(DataDir.open({ path: join(path, 'FORMAT') })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

test('is opened once in one process, also by another name', async () => {
  const dir = await DataDir.open({ path })
  await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'LOCKED', details: { pid: process.pid } })
  await symlink(path, join(base, 'link'))
  await expect(DataDir.open({ path: join(base, 'link') })).rejects.toMatchObject({ code: 'LOCKED' })
  await dir.close()
  await (await DataDir.open({ path })).close()
})

test('tells a second process who holds it and how to go elsewhere, and lets it in afterwards', async () => {
  const first = await other()
  const { answer } = await other()
  expect(answer.code).toBe('LOCKED')
  expect(answer.message).toContain(`process ${first.child.pid} on ${hostname()}`)
  expect(answer.message).toMatch(/--data-dir or ARTIFACT_HUB_DIR/)
  first.child.stdin.end()
  await once(first.child, 'exit')
  expect((await other()).answer).toEqual({ opened: path })
})

test('lets exactly one in when many take over after a kill at the same time', async () => {
  for (let round = 0; round < 3; round++) {
    const { child, answer } = await other()
    expect(answer).toEqual({ opened: path })
    await kill(child)
    const rivals = await Promise.all(Array.from({ length: 6 }, () => other()))
    const opened = rivals.filter((rival) => rival.answer.opened)
    expect(opened).toHaveLength(1)
    for (const rival of rivals) if (rival !== opened[0]) expect(rival.answer.code).toBe('LOCKED')
    await kill((opened[0] as (typeof rivals)[0]).child)
  }
}, 60_000)

test('takes over from a process whose pid is used again, and from before a reboot', async () => {
  await leaveClaim({ ...ownIdentity(), start: '1' })
  await (await DataDir.open({ path })).close()
  await leaveClaim({ ...ownIdentity(), boot: 'another' })
  await (await DataDir.open({ path })).close()
  expect(await readdir(join(path, 'lock'))).toEqual([])
})

test.skipIf(process.platform !== 'linux')(
  'takes over from a process of this boot also when the host had another name then',
  async () => {
    const own = { ...ownIdentity(), host: 'old-name' }
    await leaveClaim(own)
    await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'LOCKED', details: { host: 'old-name' } })
    await leaveClaim({ ...own, start: '1' })
    await (await DataDir.open({ path })).close()
    await leaveClaim({ ...own, pid: 2 ** 22 + 1 })
    await (await DataDir.open({ path })).close()
    expect(await readdir(join(path, 'lock'))).toEqual([])
  },
)

test.each([
  ['another boot', { boot: 'another' }],
  ['another pid namespace', { pids: 'pid:[1]' }],
  ['an unknown pid namespace', { pids: '' }],
  ['a claim that tells none', { pids: undefined }],
  ['a boot known by its time only', { boot: bootIdentity().startsWith('at:') ? bootIdentity() : 'at:1700000000' }],
])('does not judge a process of a host of another name with %s, and says exactly what to do', async (_, differs) => {
  await leaveClaim({ ...ownIdentity(), host: 'old-container', start: '1', ...differs })
  const failure = await DataDir.open({ path }).catch((error) => error)
  expect(failure).toMatchObject({ code: 'LOCKED', details: { host: 'old-container' } })
  expect(failure.message).toMatch(/another machine or container.*make sure that nothing else uses the directory/)
  expect(failure.message).toContain(`remove the folder ${join(path, 'lock')} and start again`)
  await rm(join(path, 'lock'), { recursive: true })
  await (await DataDir.open({ path })).close()
})

test('does not judge a process of another host', async () => {
  await leaveClaim({ pid: 1, host: 'elsewhere.example', boot: 'other', start: '1' })
  await expect(DataDir.open({ path })).rejects.toMatchObject({ code: 'LOCKED', message: /elsewhere\.example.*remove/ })
})

const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes))
const stampKey = Uint8Array.of(7)
/** A start; `store` is the database of that directory. */
const start = (directory: string, store: KeyValueStore) => openIncarnation({ directory, store, stampKey, random })

test('keeps its incarnation from start to start, closed or killed, also when the directory is renamed', async () => {
  await mkdir(path)
  const store = new MemoryKeyValueStore()
  const first = await start(path, store)
  expect(first).toMatchObject({ fresh: true, incarnation: expect.any(Uint8Array) })
  expect(first.incarnation).toHaveLength(16)
  const same = { incarnation: first.incarnation, fresh: false }
  expect(await start(path, store)).toMatchObject(same)
  await rename(path, `${path}2`)
  const again = await start(`${path}2`, store)
  expect(again).toMatchObject(same)
  await again.seal()
  expect(await start(`${path}2`, store)).toMatchObject(same)
})

test('draws a new incarnation in a copy, after a restore, on another host, after a reboot and from a damaged marker', async () => {
  await mkdir(path)
  const store = new MemoryKeyValueStore()
  const seen = new Set<string>()
  const expectFresh = async (directory: string) => {
    const { incarnation, fresh } = await start(directory, store)
    expect(fresh).toBe(true)
    expect(seen).not.toContain(Buffer.from(incarnation).toString('hex'))
    seen.add(Buffer.from(incarnation).toString('hex'))
    expect((await start(directory, store)).fresh).toBe(false)
  }
  await expectFresh(path)
  await cp(path, `${path}-copy`, { recursive: true, preserveTimestamps: true })
  await expectFresh(`${path}-copy`)
  await rm(path, { recursive: true })
  await cp(`${path}-copy`, path, { recursive: true, preserveTimestamps: true })
  await expectFresh(path)
  const marker = join(path, 'incarnation')
  for (const change of [
    (text: string) => text.replace(JSON.stringify(hostname()), '"elsewhere"'),
    (text: string) => text.replace(bootIdentity(), 'another-boot'),
    (text: string) => text.replace('"v": 1', '"v": 0'),
    (text: string) => text.replace('"v": 1', '"v": 2'),
    (text: string) => text.replace(/"stamp": "[0-9a-f]{6}/, '"stamp": "000000'),
    () => 'not json',
    () => '{}',
    () => '',
  ]) {
    const text = await readFile(marker, 'utf8')
    expect(change(text)).not.toBe(text)
    await writeFile(marker, change(text))
    await expectFresh(path)
  }
})

test('draws a new incarnation when its database alone was put back, or its marker alone', async () => {
  await mkdir(path)
  const marker = join(path, 'incarnation')
  const store = new MemoryKeyValueStore()
  const read = async () => ({ marker: await readFile(marker), stamp: await store.get(stampKey) })
  const restoreDatabase = async (copy: Awaited<ReturnType<typeof read>>) => {
    const value = copy.stamp as Uint8Array
    await store.batch([{ type: 'put', key: stampKey, value }], { sync: true })
  }
  const first = await start(path, store)
  const whileItRan = await read()
  await first.seal()
  const atRest = await read()
  expect((await start(path, store)).fresh).toBe(false)

  await restoreDatabase(atRest)
  const second = await start(path, store)
  expect(second.fresh).toBe(true)
  await restoreDatabase(whileItRan)
  expect((await start(path, store)).fresh).toBe(true)

  // Into the very file that is there: its inode is the one that the marker of now names, and so can an old one's be.
  const { ino, dev, birthtimeNs } = await stat(marker, { bigint: true })
  const old = { ...JSON.parse(atRest.marker.toString()), device: `${dev}`, inode: `${ino}`, born: `${birthtimeNs}` }
  await writeFile(marker, JSON.stringify(old))
  const third = await start(path, store)
  expect(third.fresh).toBe(true)
  expect(third.incarnation).not.toEqual(first.incarnation)

  await store.batch([{ type: 'del', key: stampKey }], { sync: true })
  expect((await start(path, store)).fresh).toBe(true)
  expect((await start(path, store)).fresh).toBe(false)
})

test('a stamp that is cut off, or fails, costs an incarnation at most', async () => {
  await mkdir(path)
  const store = new MemoryKeyValueStore()
  await start(path, store)
  for (const failure of ['before', 'after'] as const) {
    store.failNextBatch = failure
    await expect(start(path, store)).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    expect((await start(path, store)).fresh).toBe(failure === 'before')
  }
  const running = await start(path, store)
  store.failNextBatch = 'before'
  await running.seal()
  expect((await start(path, store)).fresh).toBe(true)
  expect((await start(path, store)).fresh).toBe(false)
})

test.skipIf(process.getuid?.() !== 0)(
  'keeps its incarnation on a full disk, where it cannot stamp it anew (a tmpfs, so root only)',
  async () => {
    await mkdir(path)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path])
    try {
      const store = new MemoryKeyValueStore()
      const first = await start(path, store)
      await expect(writeFile(join(path, 'ballast'), Buffer.alloc(100_000))).rejects.toMatchObject({ code: 'ENOSPC' })
      const same = { incarnation: first.incarnation, fresh: false }
      const onFull = await start(path, store)
      expect(onFull).toMatchObject(same)
      await onFull.seal()
      expect(await start(path, store)).toMatchObject(same)
      await rm(join(path, 'ballast'))
      expect(await start(path, store)).toMatchObject(same)
      expect(await readdir(path)).toEqual(['incarnation'])
    } finally {
      execFileSync('umount', ['-l', path])
    }
  },
)
