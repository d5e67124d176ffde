import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { TargetFile } from '../sdk/local/index.ts'
import { seededBytes } from '../src/content/content.test-helper.ts'
import { localFiles } from './local-files.ts'

const MiB = 1024 * 1024
const bytes = seededBytes('content', 3 * MiB)
let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-test-'))
  await mkdir(join(folder, 'place'))
  await symlink('place', join(folder, 'link'))
})

afterEach(async () => {
  await rm(folder, { recursive: true })
})

function target(overwrite: boolean, through: 'place' | 'link' = 'place'): Promise<TargetFile> {
  const path = join(folder, through, 'file')
  return localFiles.openTarget(path, { overwrite, content: 'ab'.repeat(32) })
}

async function writeAll(file: TargetFile): Promise<void> {
  await file.write(bytes, 0)
  file.keep(bytes.length)
  await file.truncate(bytes.length)
}

const written = (): Promise<Buffer> => readFile(join(folder, 'place', 'file'))

/** Two processes that download one content to one place; in one process, they come there by two names. */
describe('of two that write the same partial file', () => {
  test('one that ends early takes nothing from the other', async () => {
    const one = await target(true)
    await one.write(bytes, 0)
    one.keep(bytes.length)
    await one.write(bytes, 40 * MiB)
    const other = await target(true, 'link')
    await other.write(bytes.subarray(0, 1000), 0)
    other.keep(1000)
    await other[Symbol.asyncDispose]()
    const [partial] = await readdir(join(folder, 'place'))
    expect((await stat(join(folder, 'place', partial as string))).size).toBe(43 * MiB)
    await one[Symbol.asyncDispose]()
  })

  test('one that ends early leaves the target of the other as it is', async () => {
    const [one, other] = [await target(true), await target(true, 'link')]
    await other.write(bytes.subarray(0, 1000), 0)
    other.keep(1000)
    await writeAll(one)
    await one.commit()
    await one[Symbol.asyncDispose]()
    await other[Symbol.asyncDispose]()
    expect(Buffer.compare(await written(), bytes)).toBe(0)
    expect(await readdir(join(folder, 'place'))).toEqual(['file'])
  })

  test.each([true, false])('both end well, or are told of the first, with overwrite %s', async (overwrite) => {
    const [one, other] = [await target(overwrite), await target(overwrite, 'link')]
    for (const file of [one, other]) await writeAll(file)
    await one.commit()
    if (overwrite) await other.commit()
    else await expect(other.commit()).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
    for (const file of [one, other]) await file[Symbol.asyncDispose]()
    expect(Buffer.compare(await written(), bytes)).toBe(0)
    expect(await readdir(join(folder, 'place'))).toEqual(['file'])
  })

  test('one whose partial file is taken away fails, and nothing is there', async () => {
    const one = await target(true)
    await writeAll(one)
    for (const name of await readdir(join(folder, 'place'))) await rm(join(folder, 'place', name))
    await expect(one.commit()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
    await one[Symbol.asyncDispose]()
    expect(await readdir(join(folder, 'place'))).toEqual([])
  })
})
