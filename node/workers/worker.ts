import { hash } from 'node:crypto'
import { parentPort, resourceLimits } from 'node:worker_threads'
// Not from the index: the rest of it takes a worker longer to load than these.
import { ScanState } from '../../src/content/engine.ts'
import { nonceOf, openLeaf, sealLeaf } from '../../src/content/leaf.ts'
import { isHubError } from '../../src/errors.ts'
import { FileError } from './file-error.ts'
import { copyLeaf, readFrom, readLeaf } from './leaf-files.ts'
import type { EntryJob, Job, Request, Response } from './messages.ts'

/** One thread of the pool: does the jobs that it is sent, one after another. */

const scans = new Map<number, ScanState>()
const port = parentPort
if (port === null) throw new Error('worker.ts is started by the pool, not run by itself')
port.on('message', ({ id, job }: Request) => {
  // Loaded when it is needed first: it takes as long as all the rest.
  if (isOfEntries(job))
    void import('./entry-jobs.ts').then(({ doPacked }) => answer(id, (moved) => doPacked(job, moved)))
  else answer(id, (transfer) => run(job, transfer))
})

// Answers nothing: says that it has started.
port.postMessage({ id: -1, result: undefined } satisfies Response)

function isOfEntries(job: Job): job is EntryJob {
  return job.kind === 'verify' || job.kind === 'open-bodies'
}

function answer(id: number, work: (transfer: ArrayBuffer[]) => unknown): void {
  const transfer: ArrayBuffer[] = []
  let response: Response
  try {
    response = { id, result: work(transfer) }
  } catch (error) {
    if (error instanceof FileError) response = { id, fileFailure: error.toJSON() }
    else if (isHubError(error)) response = { id, error: error.toJSON() }
    else throw error
  }
  port?.postMessage(response, transfer)
}

function run(job: Exclude<Job, EntryJob>, transfer: ArrayBuffer[]): unknown {
  switch (job.kind) {
    case 'nonce':
      return nonceOf(job.chunk, job.nonceKey)
    case 'seal':
      return sealLeaf(job.chunk, job.keys, job).digest
    case 'open': {
      transfer.push(job.leaf.buffer)
      return openLeaf(job.leaf, job.digest, job.encryptionKey)
    }
    case 'read-leaf': {
      const pieces = readLeaf(job.leaf)
      for (const { buffer } of pieces) transfer.push(buffer)
      return pieces
    }
    case 'copy-leaf':
      return copyLeaf(job.leaf, job.descriptor, job.offset)
    case 'collect':
      return collect()
    case 'digest':
      if (job.from !== undefined) readFrom(job.from, job.block)
      transfer.push(job.block.buffer)
      return { block: job.block, digest: hash('sha256', job.block, 'buffer') }
    case 'scan-open':
      scans.set(job.scan, new ScanState(job.chunkingKey))
      return undefined
    case 'scan-update':
      return scanOf(job.scan).update(job.bytes)
    case 'scan-finish':
      return scanOf(job.scan).finish()
    case 'scan-close':
      scans.delete(job.scan)
      return undefined
  }
}

/**
 * Shared memory stays as long as an object of some message that stood for it, of which the collector knows only that it is small. It collects
 * everything, at once (10 ms), when more than half of what the heap may have is asked for outside of it. No page of that is touched.
 */
function collect(): void {
  try {
    new ArrayBuffer((resourceLimits.maxOldGenerationSizeMb ?? 0) * 1024 * 1024)
  } catch {
    // Where there is no room for it either, the collector has been there in vain.
  }
}

function scanOf(scan: number): ScanState {
  const state = scans.get(scan)
  if (state === undefined) throw new Error('no such scan')
  return state
}
