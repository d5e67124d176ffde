import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** A program that ran to its end. */
export interface Ran {
  /** From before it was started to its end, milliseconds. */
  readonly ms: number
  /** The most memory that it had resident, bytes, sampled 50 times a second. */
  readonly peakRssBytes: number
  readonly stdout: string
}

const sampleMs = 20
const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Has the process end with this one. */
export function endsWithUs<T extends ChildProcess>(child: T): T {
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

/** Runs a program to its end. @throws Error with what it said when it fails or cannot be started */
export async function run(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const startedMs = performance.now()
  const child = endsWithUs(spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] }))
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  let peakRssBytes = 0
  let endedMs = startedMs
  const sampling = setInterval(() => {
    peakRssBytes = peakRssOf(child.pid) ?? peakRssBytes
  }, sampleMs)
  child.once('exit', () => {
    endedMs = performance.now()
    clearInterval(sampling)
  })
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  }).finally(() => clearInterval(sampling))
  if (exitCode !== 0) throw new Error(`${command} ${args[0] ?? ''} exited with ${exitCode}: ${stderr.trim()}`)
  return { ms: endedMs - startedMs, peakRssBytes, stdout }
}

/** The most memory that a process has had resident so far (VmHWM of proc_pid_status(5)), bytes; `undefined` when it is gone. */
export function peakRssOf(pid: number | undefined): number | undefined {
  return statusBytes(pid, 'VmHWM')
}

/**
 * Watches the anonymous memory of a process (RssAnon of proc_pid_status(5)): what it has resident but for files that it maps, whose clean
 * pages the system takes back when it wants the room. The kernel remembers no peak of it.
 */
export function watchAnonymous(pid: number | undefined): Disposable & { readonly peakBytes: number } {
  let peakBytes = 0
  const look = () => {
    peakBytes = Math.max(peakBytes, statusBytes(pid, 'RssAnon') ?? 0)
  }
  const sampling = setInterval(look, sampleMs)
  return {
    get peakBytes() {
      look()
      return peakBytes
    },
    [Symbol.dispose]: () => clearInterval(sampling),
  }
}

function statusBytes(pid: number | undefined, name: 'VmHWM' | 'RssAnon'): number | undefined {
  try {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(
      readFileSync(`/proc/${pid}/status`, 'latin1'),
    )?.[1]
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
  } catch {
    return undefined
  }
}

/** Writes out all that is dirty, so that nobody pays for what another wrote. */
export async function writeOutDirtyPages(): Promise<void> {
  await run('sync', [])
}

/** Free memory that a job over a file of that many bytes may need, page cache and all. */
export function settledBytes(fileBytes: number): number {
  return 2.5 * fileBytes + 512 * 2 ** 20
}

/**
 * As `writeOutDirtyPages`, then has the machine hand out memory for a scratch file and take it back. A virtual machine whose
 * host takes free memory away pays for its return with the first touch (here 5 s a GiB, whoever touches it): who runs after
 * a pause would pay, who runs right after another had freed would not.
 */
export async function settleMachine(scratch: string, bytes: number): Promise<void> {
  await writeOutDirtyPages()
  await run('sh', [
    '-c',
    'dd if=/dev/zero of="$1" bs=1048576 count="$2" && rm "$1"',
    'sh',
    scratch,
    String(Math.ceil(bytes / 2 ** 20)),
  ])
}

/** Reads a file, or all files of a folder, once, so that everybody finds them in the page cache. */
export async function warmPageCache(path: string): Promise<void> {
  await run('sh', ['-c', 'find "$1" -type f -exec cat {} + > /dev/null', 'sh', path])
}
