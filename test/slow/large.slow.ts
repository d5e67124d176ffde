/**
 * Content far larger than memory, in and out again, with the process's resident memory watched all the while. On two cores that
 * others were using too, the stream took 4 minutes and the sparse file, by what 5 GB of it took, takes 21; ARTIFACT_HUB_SLOW_STREAM_BYTES and
 * ARTIFACT_HUB_SLOW_SPARSE_BYTES make them shorter.
 */
import { fork } from 'node:child_process'
import { mkdtemp, open, readFile, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { LargeContentMessage } from './large-content-process.ts'

const maxResidentBytes = 400_000_000
/** What a second half may take more than the first: the collector's play, and nothing that grows with the content. */
const flatWithinBytes = 64_000_000
const sampleMs = 100
const sparseBytes = sizeFrom('ARTIFACT_HUB_SLOW_SPARSE_BYTES', 100_000_000_000)
const streamBytes = sizeFrom('ARTIFACT_HUB_SLOW_STREAM_BYTES', 20_000_000_000)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-large-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

test(`a sparse file of ${sparseBytes} bytes goes in and comes out whole in at most 400 MB of memory`, async () => {
  const path = join(folder, 'sparse')
  await using file = await open(path, 'w')
  await file.truncate(sparseBytes)
  const { done, memory } = await inAndOut('sparse', sparseBytes, path)
  expect(done.bytes).toEqual({ version: sparseBytes, cameOut: sparseBytes })
  expect(done.allZero).toBe(true)
  expect(done.sha256.cameOut).toBe(done.sha256.version)
  expectBounded(memory)
})

test(`a stream of ${streamBytes} random bytes goes in and comes out whole in at most 400 MB of memory`, async ({
  skip,
}) => {
  const { bavail, bsize } = await statfs(folder)
  const neededBytes = 1.02 * streamBytes + 1e9
  skip(
    bavail * bsize < neededBytes,
    `needs ${Math.ceil(neededBytes / 1e9)} GB free in ${tmpdir()}; TMPDIR names another place`,
  )
  const { done, memory } = await inAndOut('stream', streamBytes)
  expect(done.bytes).toEqual({ version: streamBytes, cameOut: streamBytes })
  expect(done.sha256.version).toBe(done.sha256.wentIn)
  expect(done.sha256.cameOut).toBe(done.sha256.wentIn)
  expectBounded(memory)
})

/** Resident memory of a process, bytes: samples while content went in and while it came out, and the peak that the kernel saw. */
interface Memory {
  readonly in: number[]
  readonly out: number[]
  peak: number
}

function expectBounded(memory: Memory): void {
  expect(memory.peak).toBeLessThanOrEqual(maxResidentBytes)
  for (const samples of [memory.in, memory.out]) {
    const middle = Math.ceil(samples.length / 2)
    const [first, second] = [samples.slice(0, middle), samples.slice(middle)].map((half) => Math.max(...half)) as [
      number,
      number,
    ]
    expect(second).toBeLessThanOrEqual(first + flatWithinBytes)
  }
}

async function inAndOut(kind: 'sparse' | 'stream', bytes: number, path = '') {
  const startedMs = performance.now()
  const phases: string[] = []
  const memory: Memory = { in: [], out: [], peak: 0 }
  const child = fork(
    new URL('./large-content-process.ts', import.meta.url),
    [kind, join(folder, 'data'), String(bytes), path],
    {
      execArgv: [],
    },
  )
  let phase: LargeContentMessage['phase'] | undefined
  let done: Extract<LargeContentMessage, { phase: 'done' }> | undefined
  child.on('message', (message: LargeContentMessage) => {
    phases.push(`${message.phase} at ${((performance.now() - startedMs) / 1000).toFixed(0)} s`)
    phase = message.phase
    if (message.phase === 'done') done = message
  })
  const sampling = setInterval(async () => {
    const resident = await residentOf(child.pid)
    if (resident === undefined) return
    memory.peak = Math.max(memory.peak, resident.peak)
    if (phase === 'in' || phase === 'out') memory[phase].push(resident.now)
  }, sampleMs)
  try {
    const exitCode = await new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', resolve)
    })
    const [peak, most, mostOut] = [[memory.peak], memory.in, memory.out].map((bytes) =>
      (Math.max(...bytes) / 1e6).toFixed(0),
    )
    console.info(
      `${kind}: ${phases.join(', ')}; resident at most ${most} MB on the way in, ${mostOut} MB on the way out, ${peak} MB in all`,
    )
    expect(exitCode).toBe(0)
  } finally {
    clearInterval(sampling)
    child.kill('SIGKILL')
  }
  if (done === undefined) throw new Error('the process ended without a word')
  return { done, memory }
}

/** VmRSS and VmHWM of proc_pid_status(5), bytes; `undefined` once the process is gone. */
async function residentOf(pid: number | undefined): Promise<{ now: number; peak: number } | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '')
  const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024
  const [now, peak] = [kibibytes('VmRSS'), kibibytes('VmHWM')]
  return Number.isNaN(now) || Number.isNaN(peak) ? undefined : { now, peak }
}

/** A length from the environment, for a shorter run. */
function sizeFrom(name: string, otherwise: number): number {
  const given = process.env[name]
  if (given === undefined) return otherwise
  const bytes = Number(given)
  if (!Number.isSafeInteger(bytes) || bytes < 1) throw new Error(`${name} must be a number of bytes`)
  return bytes
}
