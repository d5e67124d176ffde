import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  closeSync,
  openSync,
  type Stats,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import {
  chmod,
  chown,
  link,
  mkdir,
  open as openHandle,
  readdir,
  readFile,
  stat,
  symlink,
  truncate,
  unlink,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Artifact, Progress } from '../../sdk/index.ts'
import {
  expectBytes,
  failureOf,
  freshNamespace,
  MiB,
  type OpenClient,
  rejectionOf,
  seededBytes,
  sha256Hex,
  useClient,
  useFolder,
} from './contract-support.ts'

/** The rights on a file, octal. */
const modeOf = ({ mode }: Stats): string => (mode & 0o777).toString(8)

const small = seededBytes('small file', 900)
const big = seededBytes('big file', 12 * MiB + 5)

/** Files in and files out, for a client on the machine where the files are. */
export function filesContract(open: OpenClient): void {
  describe('files', () => {
    const client = useClient(open)
    const at = useFolder()
    let places = 0
    /** A path in an empty folder of its own. */
    const fresh = async (name = 'file.bin'): Promise<string> => {
      places += 1
      await mkdir(at(`place ${places}`))
      return at(`place ${places}/${name}`)
    }
    const fileOf = async (bytes: Uint8Array, name?: string): Promise<string> => {
      const path = await fresh(name)
      await writeFile(path, bytes)
      return path
    }
    const download = async ({ id }: Artifact): Promise<Uint8Array> => await client.artifact.download({ artifactId: id })

    describe('uploadFile', () => {
      test.each([
        ['empty', new Uint8Array(0)],
        ['of one byte', Uint8Array.of(7)],
        ['small', small],
        ['of several chunks', big],
      ])('takes a file that is %s', async (_, bytes) => {
        const artifact = await client.artifact.uploadFile({ path: await fileOf(bytes) })
        expect(artifact).toMatchObject({
          name: 'file.bin',
          sizeBytes: bytes.length,
          sha256: sha256Hex(bytes),
          version: 1,
        })
        expectBytes(await download(artifact), bytes)
      })

      test('takes a description as create does', async () => {
        const path = await fileOf(new TextEncoder().encode('a,b\n1,2\n'), 'табл 表.csv')
        expect(await client.artifact.uploadFile({ path })).toMatchObject({
          name: 'табл 表.csv',
          contentType: 'text/csv',
        })
        const described = { name: 'other.txt', contentType: 'text/x-y', metadata: { a: { b: 1 } } }
        expect(await client.artifact.uploadFile({ path, ...described })).toMatchObject(described)
      })

      test('follows a link to a file, and keeps the link’s name', async () => {
        const path = await fileOf(small)
        const linked = join(dirname(path), 'linked.txt')
        await symlink(path, linked)
        const artifact = await client.artifact.uploadFile({ path: linked })
        expect(artifact.name).toBe('linked.txt')
        expectBytes(await download(artifact), small)
      })

      test('the same file again is another artifact, one after the other or at once', async () => {
        const path = await fileOf(big)
        const first = await client.artifact.uploadFile({ path })
        const others = await Promise.all([1, 2, 3].map(() => client.artifact.uploadFile({ path })))
        expect(new Set([first, ...others].map(({ id }) => id)).size).toBe(4)
        for (const artifact of others) expectBytes(await download(artifact), big)
      })

      test('update takes a path, too', async () => {
        const { id: artifactId } = await client.artifact.createSnippet({ name: 'x.bin', content: 'x' })
        const next = await client.artifact.update({ artifactId, path: await fileOf(big) })
        expect(next).toMatchObject({ name: 'x.bin', version: 2, sizeBytes: big.length })
        expectBytes(await download(next), big)
        await failureOf(client.artifact.update({ artifactId, path: at('missing') }), 'NOT_FOUND')
        await failureOf(client.artifact.update({ artifactId, path: at('.') }), 'INVALID_ARGUMENT')
      })

      describe('refuses', () => {
        test('a file that is not there', async () => {
          const { details } = await failureOf(client.artifact.uploadFile({ path: at('missing') }), 'NOT_FOUND')
          expect(details.path).toBe(at('missing'))
          await failureOf(client.artifact.uploadFile({ path: join(await fileOf(small), 'below a file') }), 'NOT_FOUND')
          await symlink('nowhere', at('dangling'))
          await failureOf(client.artifact.uploadFile({ path: at('dangling') }), 'NOT_FOUND')
        })

        test('a directory, by its path and through a link', async () => {
          const path = dirname(await fileOf(small))
          expect((await failureOf(client.artifact.uploadFile({ path }), 'INVALID_ARGUMENT')).message).toMatch(
            /directory/,
          )
          await symlink(path, at('to a directory'))
          await failureOf(client.artifact.uploadFile({ path: at('to a directory') }), 'INVALID_ARGUMENT')
          await failureOf(client.artifact.uploadFile({ path: '/' }), 'INVALID_ARGUMENT')
        })

        test('what is no regular file, without waiting for its other end', async () => {
          const path = await fresh('pipe')
          execFileSync('mkfifo', [path])
          await failureOf(client.artifact.uploadFile({ path }), 'INVALID_ARGUMENT')
          await failureOf(client.artifact.uploadFile({ path: '/dev/zero', name: 'zeros' }), 'INVALID_ARGUMENT')
        })

        test('a path that no file can have', async () => {
          await failureOf(client.artifact.uploadFile({ path: '' }), 'INVALID_ARGUMENT')
          await failureOf(client.artifact.uploadFile({ path: 'a\0b' }), 'INVALID_ARGUMENT')
          await failureOf(client.artifact.uploadFile({ path: 7 as never }), 'INVALID_ARGUMENT')
          await failureOf(client.artifact.uploadFile({} as never), 'INVALID_ARGUMENT')
        })

        test('a file that cannot be read: SOURCE_FAILED with the system’s error', async () => {
          await symlink('loop', at('loop'))
          expect(
            (await failureOf(client.artifact.uploadFile({ path: at('loop') }), 'SOURCE_FAILED')).cause,
          ).toMatchObject({ code: 'ELOOP' })
          // Opens, even for root, but its first bytes are no memory of this process.
          expect(
            (await failureOf(client.artifact.uploadFile({ path: '/proc/self/mem' }), 'SOURCE_FAILED')).cause,
          ).toMatchObject({ code: 'EIO' })
        })

        test('a file that is longer than it says, as those in /proc are', async () => {
          const { size } = await stat('/proc/self/status')
          expect(size).toBe(0)
          await failureOf(client.artifact.uploadFile({ path: '/proc/self/status' }), 'SOURCE_FAILED')
        })

        test('a name that the file has and no artifact may', async () => {
          await failureOf(client.artifact.uploadFile({ path: await fileOf(small, 'line\nbreak') }), 'INVALID_ARGUMENT')
        })
      })

      test.each<[string, (path: string) => void]>([
        ['grows', (path) => appendFileSync(path, 'more')],
        ['shrinks', (path) => truncateSync(path, 10)],
        ['is emptied', (path) => truncateSync(path, 0)],
        ['changes in place', (path) => overwriteByte(path, 3)],
        ['is written anew', (path) => writeFileSync(path, big)],
        ['is deleted', (path) => unlinkSync(path)],
      ])('a file that %s while it is read is SOURCE_FAILED, and nothing is listed', async (_, change) => {
        const { id: namespace } = await freshNamespace(client)
        for (const bytes of [small, big]) {
          const path = await fileOf(bytes)
          let changed = false
          const onProgress = (): void => {
            if (changed) return
            changed = true
            change(path)
          }
          await failureOf(client.artifact.uploadFile({ path, namespace, onProgress }), 'SOURCE_FAILED')
          expect(changed).toBe(true)
        }
        expect((await client.artifact.list({ namespace })).items).toEqual([])
        expect(await client.namespace.usage({ namespace })).toMatchObject({ usedBytes: 0, artifacts: 0 })
      })
    })

    describe('downloadFile', () => {
      const stored = new Map<Uint8Array, Promise<Artifact>>()
      const artifactOf = async (bytes: Uint8Array): Promise<string> => {
        const made = stored.get(bytes) ?? client.artifact.create({ name: 'source.bin', data: bytes })
        stored.set(bytes, made)
        return (await made).id
      }
      /** The one file beside the target. */
      const partialOf = async (path: string): Promise<string> => {
        const beside = (await readdir(dirname(path))).filter((name) => name !== basename(path))
        expect(beside).toHaveLength(1)
        return join(dirname(path), beside[0] as string)
      }
      /** Downloads and aborts once it has begun: gives how many bytes there were by then. */
      const interrupt = async (artifactId: string, path: string): Promise<number> => {
        const controller = new AbortController()
        let loaded = 0
        const onProgress = (progress: Progress): void => {
          loaded = progress.loaded
          controller.abort()
        }
        const call = client.artifact.downloadFile({ artifactId, path, onProgress, signal: controller.signal })
        expect(await rejectionOf(call)).toBe(controller.signal.reason)
        expect(loaded).toBeLessThan(big.length)
        return loaded
      }

      test.each([
        ['nothing', new Uint8Array(0)],
        ['a few bytes', small],
        ['several chunks', big],
      ])('writes %s, and nothing else', async (_, bytes) => {
        const path = await fresh()
        const artifactId = await artifactOf(bytes)
        const artifact = await client.artifact.downloadFile({ artifactId, path })
        expect(artifact).toEqual(await client.artifact.get({ artifactId }))
        expectBytes(await readFile(path), bytes)
        expect(await readdir(dirname(path))).toEqual(['file.bin'])
      })

      test('keeps what is not whole yet for its owner alone, and then gives it the rights of any new file', async () => {
        const path = await fresh()
        const artifactId = await artifactOf(big)
        await interrupt(artifactId, path)
        const partial = await partialOf(path)
        expect(modeOf(await stat(partial))).toBe('600')
        await chmod(partial, 0o666)
        await interrupt(artifactId, path)
        expect(modeOf(await stat(partial))).toBe('600')
        await client.artifact.downloadFile({ artifactId, path })
        expectBytes(await readFile(path), big)
        const usual = `${path}.usual`
        await writeFile(usual, '')
        expect(modeOf(await stat(path))).toBe(modeOf(await stat(usual)))
      })

      test.each(['600', '640', '755'])('replaces a file of mode %s by one of the same mode', async (mode) => {
        const path = await fresh()
        await writeFile(path, 'old')
        await chmod(path, Number.parseInt(mode, 8))
        await client.artifact.downloadFile({ artifactId: await artifactOf(small), path, overwrite: true })
        expectBytes(await readFile(path), small)
        expect(modeOf(await stat(path))).toBe(mode)
      })

      // Only root can make a file of another user.
      test.skipIf(process.getuid?.() !== 0)(
        'does not go on with another user’s partial file, nor keep it',
        async () => {
          const path = await fresh()
          const artifactId = await artifactOf(big)
          await interrupt(artifactId, path)
          const partial = await partialOf(path)
          await chown(partial, 12_345, 12_345)
          await using held = await openHandle(partial, 'r+')
          await client.artifact.downloadFile({ artifactId, path })
          // Who has it open can still write to it, and must not write to ours.
          await held.write('theirs', 0)
          expectBytes(await readFile(path), big)
          expect((await stat(path)).uid).toBe(0)
          expect(await readdir(dirname(path))).toEqual([basename(path)])
        },
      )

      test('goes its own way where something that stays is in its partial file’s place', async () => {
        const path = await fresh()
        const artifactId = await artifactOf(big)
        await interrupt(artifactId, path)
        const partial = await partialOf(path)
        await unlink(partial)
        await mkdir(partial)
        await client.artifact.downloadFile({ artifactId, path })
        expectBytes(await readFile(path), big)
        expect((await readdir(dirname(path))).sort()).toEqual([basename(partial), basename(path)])
      })

      test('refuses a link that leads nowhere before it writes anything', async () => {
        const path = await fresh()
        await symlink('nowhere', path)
        const call = client.artifact.downloadFile({ artifactId: await artifactOf(small), path })
        await failureOf(call, 'ALREADY_EXISTS')
        expect(await readdir(dirname(path))).toEqual([basename(path)])
      })

      test('writes the version that is named', async () => {
        const first = await client.artifact.create({ name: 'v', data: small })
        await client.artifact.update({ artifactId: first.id, data: big })
        const path = await fresh()
        expect(await client.artifact.downloadFile({ artifactId: first.id, version: 1, path })).toEqual(first)
        expectBytes(await readFile(path), small)
      })

      test.each(['x', 'é', '表', '𝕏'])('takes the longest name that a file may have, of %s', async (letter) => {
        const name = letter.repeat(Math.floor(255 / Buffer.byteLength(letter)))
        const path = await fresh(name)
        const artifactId = await artifactOf(big)
        await interrupt(artifactId, path)
        await client.artifact.downloadFile({ artifactId, path })
        expectBytes(await readFile(path), big)
        expect(await readdir(dirname(path))).toEqual([name])
        await failureOf(client.artifact.downloadFile({ artifactId, path: `${path}${letter}` }), 'INVALID_ARGUMENT')
      })

      test('leaves what is there: ALREADY_EXISTS, unless it may overwrite', async () => {
        const path = await fileOf(Buffer.from('mine'))
        const artifactId = await artifactOf(big)
        for (const overwrite of [undefined, false]) {
          const { details } = await failureOf(
            client.artifact.downloadFile({ artifactId, path, overwrite }),
            'ALREADY_EXISTS',
          )
          expect(details.path).toBe(path)
        }
        expect(await readFile(path, 'utf8')).toBe('mine')
        expect(await readdir(dirname(path))).toEqual(['file.bin'])
        await client.artifact.downloadFile({ artifactId, path, overwrite: true })
        expectBytes(await readFile(path), big)
        expect(await readdir(dirname(path))).toEqual(['file.bin'])
      })

      test('leaves what appears meanwhile', async () => {
        const path = await fresh()
        const onProgress = (): void => writeFileSync(path, 'mine')
        await failureOf(
          client.artifact.downloadFile({ artifactId: await artifactOf(small), path, onProgress }),
          'ALREADY_EXISTS',
        )
        expect(await readFile(path, 'utf8')).toBe('mine')
      })

      test('never leaves half a file at its target', async () => {
        const path = await fileOf(Buffer.from('old'))
        const controller = new AbortController()
        const onProgress = ({ loaded }: Progress): void => {
          if (loaded < big.length) controller.abort(new Error('enough'))
        }
        const options = {
          artifactId: await artifactOf(big),
          path,
          overwrite: true,
          onProgress,
          signal: controller.signal,
        }
        expect(await rejectionOf(client.artifact.downloadFile(options))).toBe(controller.signal.reason)
        expect(await readFile(path, 'utf8')).toBe('old')
      })

      test('refuses a target that is a directory, or no file at all', async () => {
        const artifactId = await artifactOf(small)
        const path = await fresh('pipe')
        execFileSync('mkfifo', [path])
        for (const overwrite of [true, false]) {
          await failureOf(
            client.artifact.downloadFile({ artifactId, path: dirname(path), overwrite }),
            'INVALID_ARGUMENT',
          )
          await failureOf(client.artifact.downloadFile({ artifactId, path, overwrite }), 'INVALID_ARGUMENT')
        }
        expect((await stat(path)).isFIFO()).toBe(true)
        await failureOf(client.artifact.downloadFile({ artifactId, path: '' }), 'INVALID_ARGUMENT')
        await failureOf(client.artifact.downloadFile({ artifactId, path: 'a\0b' }), 'INVALID_ARGUMENT')
      })

      test('refuses a target whose folder is not there', async () => {
        const artifactId = await artifactOf(small)
        const { details } = await failureOf(
          client.artifact.downloadFile({ artifactId, path: at('no/such/folder/x') }),
          'NOT_FOUND',
        )
        expect(details.path).toBe(at('no/such/folder/x'))
        await failureOf(client.artifact.downloadFile({ artifactId, path: join(await fileOf(small), 'x') }), 'NOT_FOUND')
      })

      test('interrupted and run again, goes on where it was', async () => {
        const path = await fresh()
        const artifactId = await artifactOf(big)
        const loaded = await interrupt(artifactId, path)
        expect(loaded).toBeGreaterThan(0)
        expect((await stat(await partialOf(path))).size).toBeGreaterThanOrEqual(loaded)
        const events: Progress[] = []
        await client.artifact.downloadFile({ artifactId, path, onProgress: (progress) => events.push(progress) })
        expect(events[0]?.loaded).toBeGreaterThan(loaded)
        expect(events.at(-1)).toMatchObject({ loaded: big.length, total: big.length })
        expectBytes(await readFile(path), big)
        expect(await readdir(dirname(path))).toEqual(['file.bin'])
      })

      test.each<[string, (partial: string) => Promise<void>]>([
        ['was changed', async (partial) => overwriteByte(partial, 100)],
        ['was emptied', (partial) => truncate(partial, 0)],
        ['lost its end', (partial) => truncate(partial, 12_345)],
        ['is whole but wrong', (partial) => writeFile(partial, new Uint8Array(big.length))],
        ['is whole and right', (partial) => writeFile(partial, big)],
        ['is too long', (partial) => writeFile(partial, new Uint8Array(big.length + 1))],
      ])('a partial file that %s still becomes the right one', async (_, change) => {
        const path = await fresh()
        const artifactId = await artifactOf(big)
        await interrupt(artifactId, path)
        await change(await partialOf(path))
        await client.artifact.downloadFile({ artifactId, path })
        expectBytes(await readFile(path), big)
        expect(await readdir(dirname(path))).toEqual(['file.bin'])
      })

      test('a download that was killed goes on before the gaps that it left', async () => {
        const path = await fresh()
        const large = seededBytes('large file', 50 * MiB)
        const artifactId = await artifactOf(large)
        await interrupt(artifactId, path)
        const partial = await partialOf(path)
        await writeFile(partial, large.subarray(0, 10 * MiB))
        await using handle = await openHandle(partial, 'r+')
        await handle.write(large, 20 * MiB, 20 * MiB, 20 * MiB)
        const events: Progress[] = []
        await client.artifact.downloadFile({ artifactId, path, onProgress: (progress) => events.push(progress) })
        expectBytes(await readFile(path), large)
        // It would count from the beginning, had it believed in the gap.
        const loaded = events.map((event) => event.loaded)
        expect(loaded[0]).toBeGreaterThan(8 * MiB)
        expect(loaded).toEqual(loaded.toSorted((a, b) => a - b))
      })

      test('a partial file of other content is not gone on with', async () => {
        const path = await fresh()
        const other = await client.artifact.create({ name: 'other', data: seededBytes('other', 8 * MiB) })
        await interrupt(await artifactOf(big), path)
        await client.artifact.downloadFile({ artifactId: other.id, path })
        expect(sha256Hex(await readFile(path))).toBe(other.sha256)
      })

      test('a link planted as the partial file is not written through', async () => {
        const path = await fresh()
        const artifactId = await artifactOf(big)
        await interrupt(artifactId, path)
        const partial = await partialOf(path)
        const victim = await fileOf(Buffer.from('precious'))
        const plants = [
          () => symlink(victim, partial),
          () => symlink(at('not yet there'), partial),
          () => link(victim, partial),
        ]
        for (const plant of plants) {
          unlinkSync(partial)
          await plant()
          await interrupt(artifactId, path)
        }
        await client.artifact.downloadFile({ artifactId, path })
        expectBytes(await readFile(path), big)
        expect(await readFile(victim, 'utf8')).toBe('precious')
        await expect(stat(at('not yet there'))).rejects.toMatchObject({ code: 'ENOENT' })
      })

      test('many at once to one target leave a right file and nothing else', async () => {
        const path = await fresh()
        const artifactId = await artifactOf(big)
        const calls = Array.from({ length: 4 }, () =>
          client.artifact.downloadFile({ artifactId, path, overwrite: true }),
        )
        for (const outcome of await Promise.allSettled(calls)) expect(outcome).toMatchObject({ status: 'fulfilled' })
        expectBytes(await readFile(path), big)
        expect(await readdir(dirname(path))).toEqual(['file.bin'])
      })
    })
  })
}

/** Inverts one byte of a file. */
function overwriteByte(path: string, position: number): void {
  const file = openSync(path, 'r+')
  try {
    writeSync(file, Uint8Array.of(0xff ^ (position & 0x7f)), 0, 1, position)
  } finally {
    closeSync(file)
  }
}
