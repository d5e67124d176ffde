import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { HeliaJobs } from './helia-process.ts'
import type { HubJobs } from './hub-process.ts'
import { JobProcess } from './job-process.ts'
import { run } from './programs.ts'

/** Something done to a store. */
export interface Work {
  /** The whole call, or the whole process of a program, milliseconds. */
  readonly ms: number
  readonly peakRssBytes: number
}

/** An open store of one contender. */
export interface FileStore {
  /** Stores a file; `onto` names what it is a newer version of, where the contender knows of such a thing. */
  put(path: string, onto?: string): Promise<Work & { readonly ref: string }>
  /** Writes what `ref` names to a new file. Gives the path it chose under the folder `into`. */
  get(ref: string, into: string): Promise<Work & { readonly path: string }>
  close(): Promise<void>
}

/** One way to keep files. */
export interface Contender {
  readonly name: string
  /** What it has done when a put or a get returns. */
  readonly guarantees: string
  /** Opens the store in a folder; makes it when the folder is not there. Not part of what is timed. */
  open(folder: string): Promise<FileStore>
}

/** Ours, embedded: a process that runs a node. The process's start is not counted, nor that of the node and of the workers that it has ready after a second. */
export const hub: Contender = {
  name: 'artifact-hub',
  guarantees:
    'encrypted, deduplicated; blocks fsynced and entry in a synced batch when the call returns; each block checked against its hash and tag on the way out',
  open: async (folder) => {
    const node = new JobProcess<HubJobs>(new URL('./hub-process.ts', import.meta.url))
    await node.run('open', folder)
    return {
      put: async (path, onto) => {
        const {
          result: ref,
          ms,
          peakRssBytes,
        } = onto === undefined ? await node.run('upload', path) : await node.run('update', { artifactId: onto, path })
        return { ref, ms, peakRssBytes }
      },
      get: async (ref, into) => {
        const path = join(into, 'out')
        const { ms, peakRssBytes } = await node.run('download', { artifactId: ref, path })
        return { path, ms, peakRssBytes }
      },
      close: async () => {
        await node.run('close', undefined as never)
        await node.close()
      },
    }
  },
}

const cliPath = fileURLToPath(new URL('../../node/cli/bin.js', import.meta.url))

/** Ours as a command: the whole process, as restic's and cp's are counted. */
export const hubCommand: Contender = {
  name: 'artifact-hub put/get',
  guarantees: 'as artifact-hub; counted from the start of the process to its end',
  open: async (folder) => {
    const command = (...args: string[]) => run(process.execPath, [cliPath, '--data-dir', folder, '--json', ...args])
    await command('id')
    return {
      put: async (path, onto) => {
        const done = await (onto === undefined ? command('put', path) : command('update', onto, path))
        return { ...done, ref: (JSON.parse(done.stdout) as { id: string }).id }
      },
      get: async (ref, into) => {
        const path = join(into, 'out')
        return { ...(await command('get', ref, '-o', path)), path }
      },
      close: async () => {},
    }
  },
}

/** Helia as its README has it, without a network. */
export const helia: Contender = {
  name: 'Helia + blockstore-fs',
  guarantees: 'not encrypted; fixed 1 MiB chunks; never fsyncs; does not hash what it reads from its own disk',
  open: async (folder) => {
    const process = new JobProcess<HeliaJobs>(new URL('./helia-process.ts', import.meta.url))
    await process.run('open', folder)
    return {
      put: async (path) => {
        const { result: ref, ms, peakRssBytes } = await process.run('add', path)
        return { ref, ms, peakRssBytes }
      },
      get: async (ref, into) => {
        const path = join(into, 'out')
        const { ms, peakRssBytes } = await process.run('cat', { cid: ref, path })
        return { path, ms, peakRssBytes }
      },
      close: async () => {
        await process.run('close', undefined as never)
        await process.close()
      },
    }
  },
}

/** restic with its defaults, but for a cache of its own. */
export const restic: Contender = {
  name: 'restic',
  guarantees:
    'encrypted, deduplicated; packs fsynced when backup returns; each blob checked on the way out, the restored file not fsynced',
  open: async (folder) => {
    const env = {
      RESTIC_REPOSITORY: join(folder, 'repo'),
      RESTIC_PASSWORD: 'bench',
      RESTIC_CACHE_DIR: join(folder, 'cache'),
    }
    const isNew = (await mkdir(folder, { recursive: true })) !== undefined
    if (isNew) await run('restic', ['init'], env)
    return {
      put: async (path) => {
        const done = await run('restic', ['backup', '--quiet', path], env)
        return { ...done, ref: path }
      },
      get: async (ref, into) => {
        const done = await run('restic', ['restore', '--quiet', '--path', ref, '--target', into, 'latest'], env)
        return { ...done, path: join(into, ref) }
      },
      close: async () => {},
    }
  },
}

/** What the disk and the kernel can do with the same bytes. */
export const copy: Contender = {
  name: 'cp',
  guarantees: 'in: cp, then fsync of the file; out: cp alone, as nobody here fsyncs what is read out',
  open: async (folder) => {
    await mkdir(folder, { recursive: true })
    return {
      put: async (path) => {
        const ref = join(folder, 'copy')
        return { ...(await run('sh', ['-c', 'cp "$1" "$2" && sync "$2"', 'sh', path, ref])), ref }
      },
      get: async (ref, into) => {
        const path = join(into, 'out')
        return { ...(await run('cp', [ref, path])), path }
      },
      close: async () => {},
    }
  },
}

/** Which of them can run here: those whose program is installed. */
export async function available(contenders: readonly Contender[]): Promise<Contender[]> {
  const hasRestic = await run('restic', ['version']).then(
    () => true,
    () => false,
  )
  return contenders.filter((one) => one !== restic || hasRestic)
}
