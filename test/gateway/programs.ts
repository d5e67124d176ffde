import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Whether a program of the system is installed. */
export function isInstalled(program: string): boolean {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.some((folder) => existsSync(join(folder, program)))
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
  { signal, cwd }: { readonly signal?: AbortSignal; readonly cwd?: string } = {},
): Promise<{ readonly exitCode: number | null; readonly output: string }> {
  const started = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(signal && { signal }),
    ...(cwd && { cwd }),
  })
  const output: Buffer[] = []
  started.stdout.on('data', (data) => output.push(data))
  started.stderr.on('data', (data) => output.push(data))
  // An abort is told by the exit code.
  started.on('error', () => {})
  await once(started, 'close')
  return { exitCode: started.exitCode, output: Buffer.concat(output).toString() }
}
