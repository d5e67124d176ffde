import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { cpus, release, totalmem, type } from 'node:os'
import { promisify } from 'node:util'
import { cores } from './settings.ts'

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  /** 2^30 bytes. */
  readonly ramGiB: number
  readonly kernel: string
  readonly node: string
  /** Device, file system, and whether the kernel calls it rotating, of the folder that was written to. */
  readonly disk: string
  /** Processes that wanted a core in the minute before. */
  readonly loadBefore: number
  readonly restic: string | undefined
}

/** Looks at the machine. */
export async function describeMachine(folder: string): Promise<Machine> {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores,
    ramGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    node: process.version,
    disk: await describeDisk(folder),
    loadBefore: Number((await readFile('/proc/loadavg', 'utf8').catch(() => 'NaN')).split(' ')[0]),
    restic: (await output('restic', ['version']))?.split(' ').slice(0, 2).join(' '),
  }
}

async function describeDisk(folder: string): Promise<string> {
  const row = (await output('df', ['--output=source,fstype', folder]))?.split('\n')[1]?.trim()
  if (row === undefined) return 'unknown'
  const [source = '', fileSystem = ''] = row.split(/\s+/)
  const device = source.replace(/^\/dev\//, '')
  const rotational = await readFile(`/sys/class/block/${device}/queue/rotational`, 'utf8').catch(() => undefined)
  const kind =
    rotational === undefined ? '' : rotational.trim() === '1' ? ', rotating by the kernel’s word' : ', not rotating'
  return `${source} ${fileSystem}${kind}`
}

async function output(command: string, args: readonly string[]): Promise<string | undefined> {
  return await promisify(execFile)(command, args).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  )
}
