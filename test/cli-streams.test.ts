import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CliPlace, errorOf, finished } from './support/cli-process.ts'

const large = randomBytes(5_000_000)
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

let place: CliPlace

beforeAll(async () => {
  place = await CliPlace.create('clone')
})

afterAll(async () => {
  await place[Symbol.asyncDispose]()
})

describe('the CLI as a process', () => {
  test('a second process is told who holds the data directory, and nothing breaks', async () => {
    const holder = place.start(['put', '-', '--name', 'held', '--json'])
    const held = finished(holder)
    await consumed(holder.stdin, large)
    const [second, elsewhere] = await Promise.all([
      place.run(['ls', '--json']),
      place.run(['ls', '--data-dir', join(place.folder, 'other-data'), '--json']),
    ])
    holder.stdin?.end()
    const done = await held
    expect([second.exitCode, errorOf(second).code]).toEqual([11, 'LOCKED'])
    expect(errorOf(second).message).toContain(String(holder.pid))
    expect(errorOf(second).message).toContain('--data-dir')
    expect(elsewhere.exitCode).toBe(0)
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

  test('a folder as standard input is refused, and not taken for nothing', async () => {
    for (const command of [
      ['put', '-', '--name', 'folder'],
      ['snippet', 'folder', '--text'],
    ]) {
      const done = await place.runInShell('"$0" "$@" < .', [...command, '--json'])
      expect([done.exitCode, errorOf(done).code]).toEqual([2, 'INVALID_ARGUMENT'])
    }
    expect(await place.json<{ items: unknown[] }>(['ls', '--prefix', 'folder'])).toMatchObject({ items: [] })
  })

  test('a closed pipe ends it quietly', async () => {
    const { id } = await place.json<{ id: string }>(['put', '-', '--name', 'to-head'], { input: large })
    const child = place.start(['cat', id])
    const ended = finished(child)
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    child.stdout?.destroy()
    expect(await ended).toMatchObject({ exitCode: 141, stderr: '' })
  })

  test('results and messages never mix: a new data directory is announced on standard error', async () => {
    await using other = await CliPlace.create('clone')
    const first = await other.run(['ls'])
    expect(first.stdout.toString()).toBe('')
    expect(first.stderr).toContain('created a new agent, did:key:')
    expect((await stat(other.dataDir)).mode & 0o777).toBe(0o700)
    expect((await readdir(other.folder)).sort()).toEqual(['data'])
  })
})

/** Resolves when the other side has taken all but what a pipe holds. */
async function consumed(stream: NodeJS.WritableStream | null, bytes: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => stream?.write(bytes, (error) => (error ? reject(error) : resolve())))
}
