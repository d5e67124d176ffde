import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CliPlace, errorOf } from './support/cli-process.ts'

interface Shown {
  id: string
  name: string
}

let place: CliPlace

beforeAll(async () => {
  place = await CliPlace.create()
})

afterAll(async () => {
  await place[Symbol.asyncDispose]()
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
    const packBytes = async () =>
      (await place.json<{ packBytes: number }[]>(['du'])).reduce((sum, row) => sum + row.packBytes, 0)
    expect(await packBytes()).toBeGreaterThan(3_000_000)
    await place.json(['rm', id, '--yes'])
    expect(await place.json(['gc'])).toMatchObject({ removedBlocks: 0 })
    const gc = await place.json<{ removedBlocks: number; freedBytes: number }>(['gc', '--now'])
    expect(gc.removedBlocks).toBeGreaterThanOrEqual(2)
    expect(gc.freedBytes).toBeGreaterThan(3_000_000)
    expect(await packBytes()).toBeLessThan(3_000_000)
    expect(await place.json(['check'])).toMatchObject({ findings: [] })
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
