import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { OnProgress } from 'artifact-hub'
import { ProgressLine, transferLine } from '../../node/cli/progress-line.ts'
import { formatRate } from '../../node/cli/text/index.ts'

let steps = 0

/** Begins the next step. */
export function step(title: string): void {
  console.log(`\n${++steps}. ${title}`)
}

/** Says what came of it. */
export function say(text: string): void {
  console.log(`   ${text}`)
}

/** @throws when what was promised is not so: the demo fails */
export function must(isSo: boolean, promise: string): asserts isSo {
  if (!isSo) throw new Error(`not as promised: ${promise}`)
}

/** Does something that tells how far it has come: a bar on a terminal, a line a quarter elsewhere. */
export async function shown<T>(
  label: string,
  work: (onProgress: OnProgress) => Promise<T>,
): Promise<{ value: T; ms: number }> {
  using line = new ProgressLine(process.stderr, { label: `   ${label}`, silent: !process.stderr.isTTY })
  let told = 0
  return await timed(() =>
    work((progress) => {
      line.transfer(progress)
      const quarter = Math.floor((4 * progress.loaded) / (progress.total || Number.POSITIVE_INFINITY))
      if (process.stderr.isTTY || quarter <= told) return
      told = quarter
      say(transferLine(label, progress))
    }),
  )
}

/** What something gives, and how long it takes. */
export async function timed<T>(work: () => Promise<T>): Promise<{ value: T; ms: number }> {
  const start = performance.now()
  const value = await work()
  return { value, ms: performance.now() - start }
}

/** Of a file, lowercase hex. */
export async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece as Buffer)
  return hash.digest('hex')
}

/** `1.25 s` */
export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`
}

/** `210 MB/s` */
export function rate(bytes: number, ms: number): string {
  return formatRate((bytes / ms) * 1_000)
}

/** What `look` gives once it gives something, looked at again and again: what it waits for tells nobody. */
export async function until<T>(promise: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const endMs = performance.now() + 30_000
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    must(performance.now() < endMs, promise)
    await delay(50)
  }
}
