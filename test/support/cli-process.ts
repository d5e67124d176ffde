import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { withCompileCache } from './compile-cache.ts'
import { bundled } from './programs.ts'

/** The launcher that the package's `bin` names. */
const inAClone = fileURLToPath(new URL('../../node/cli/bin.js', import.meta.url))

/** What a finished run of the CLI left behind. */
export interface Finished {
  readonly exitCode: number | null
  readonly killedBy: NodeJS.Signals | null
  readonly stdout: Buffer
  readonly stderr: string
  /** Standard output parsed as JSON. */
  json(): unknown
}

/** A folder with a data directory in it, and the real CLI run as processes that use both; removed at the end. */
export class CliPlace implements AsyncDisposable {
  /** The working folder of every run. */
  readonly folder: string
  readonly dataDir: string
  readonly #launcher: string
  readonly #env: Record<string, string>

  private constructor(folder: string, launcher: string) {
    this.folder = folder
    this.#launcher = launcher
    this.dataDir = join(folder, 'data')
    this.#env = {
      PATH: process.env.PATH ?? '',
      HOME: folder,
      TMPDIR: process.env.TMPDIR ?? tmpdir(),
      ARTIFACT_HUB_DIR: this.dataDir,
      // Nothing of these tests is to be seen, or to see others, outside of this machine.
      ARTIFACT_HUB_LISTEN: '/ip4/127.0.0.1/tcp/0',
      ...withCompileCache,
    }
  }

  /** @param form what is run: the same code in a few files, which starts in half the time, or module by module as in a clone */
  static async create(form: 'bundle' | 'clone' = 'bundle'): Promise<CliPlace> {
    const launcher = form === 'bundle' ? bundled('cli') : inAClone
    return new CliPlace(await mkdtemp(join(tmpdir(), 'artifact-hub-cli-')), launcher)
  }

  /** Runs the CLI to its end. */
  async run(
    args: readonly string[],
    options: { input?: Uint8Array | string; env?: Record<string, string> } = {},
  ): Promise<Finished> {
    const child = this.start(args, options)
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
    return await finished(child)
  }

  /** As `run` with `--json`; a failure of the command fails the test with what it said. */
  async json<T>(args: readonly string[], options: { input?: Uint8Array | string } = {}): Promise<T> {
    const done = await this.run([...args, '--json'], options)
    if (done.exitCode !== 0) throw new Error(`${args.join(' ')} exited with ${done.exitCode}: ${done.stderr}`)
    return done.json() as T
  }

  /** Runs a line of shell: `$0` is Node, `$1` the launcher, and from `$2` on the arguments. */
  async runInShell(line: string, args: readonly string[]): Promise<Finished> {
    const options = { cwd: this.folder, env: this.#env, stdio: 'pipe' } as const
    return await finished(spawn('sh', ['-c', line, process.execPath, this.#launcher, ...args], options))
  }

  /** Starts the CLI and leaves its streams to the test. */
  start(args: readonly string[], options: { env?: Record<string, string> } = {}): ChildProcess {
    const env = { ...this.#env, ...options.env }
    return spawn(process.execPath, [this.#launcher, ...args], { cwd: this.folder, env, stdio: 'pipe' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** A command that stays until it is told to stop, and the lines of JSON that it prints. */
export class Staying implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #ended: Promise<unknown[]>

  constructor(place: CliPlace, args: readonly string[], options?: { env?: Record<string, string> }) {
    this.#child = place.start([...args, '--json'], options)
    this.#child.stderr?.pipe(process.stderr)
    this.#ended = once(this.#child, 'close')
    this.#lines = createInterface(this.#child.stdout as NodeJS.ReadableStream)[Symbol.asyncIterator]()
  }

  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('it ended')
    return JSON.parse(value) as T
  }

  async until<T>(wanted: (line: T) => boolean): Promise<T> {
    for (;;) {
      const line = await this.next<T>()
      if (wanted(line)) return line
    }
  }

  /** Sends the signal; its exit code. */
  async stop(signal: NodeJS.Signals): Promise<number> {
    this.#child.kill(signal)
    return (await this.#ended)[0] as number
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL')
  }
}

/** Collects what a process prints until it has ended. */
export async function finished(child: ChildProcess): Promise<Finished> {
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout?.on('data', (bytes: Buffer) => stdout.push(bytes))
  child.stderr?.on('data', (bytes: Buffer) => stderr.push(bytes))
  const [exitCode, killedBy] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve([code, signal]))
  })
  const out = Buffer.concat(stdout)
  return {
    exitCode,
    killedBy,
    stdout: out,
    stderr: Buffer.concat(stderr).toString(),
    json: () => JSON.parse(out.toString()),
  }
}

/** The one JSON document that a failed run with `--json` prints on standard error. */
export function errorOf(done: Finished): {
  code: string
  message: string
  details: Record<string, unknown>
  hint?: string
} {
  return (JSON.parse(done.stderr) as { error: ReturnType<typeof errorOf> }).error
}
