import { expect, test } from 'vitest'
import { type DiskOperation, numbers, SimulatedDisk, systemError } from '../../node/disk/test-support/simulated-disk.ts'
import type { ArtifactHubNode } from '../../node/index.ts'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { KeyRange, KeyValueChange } from '../../src/storage/index.ts'
import { Ledger } from '../support/ledger.ts'
import { MemoryKeyValueStore } from '../support/memory-key-value.ts'
import { runWorkload } from '../support/mixed-workload.ts'
import { SimulatedMachine } from '../support/simulated-machine.ts'

/** Fails one of its calls, with what LevelStore gives for a failed database. */
class FailingStore extends MemoryKeyValueStore {
  calls = 0
  /** Which call fails, or, to fail after it is written, which batch. */
  fail: { readonly at: number; readonly batch: 'before' | 'after' } | undefined
  hasFailed = false

  override async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#failIfDue()
    return await super.get(key)
  }

  override async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.#failIfDue()
    return await super.getMany(keys)
  }

  override async *entries(
    range: KeyRange,
    options: { signal?: AbortSignal } = {},
  ): AsyncIterable<[Uint8Array, Uint8Array]> {
    this.#failIfDue()
    yield* super.entries(range, options)
  }

  override async batch(changes: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    if (this.#isDue()) this.failNextBatch = this.fail?.batch
    await super.batch(changes, options)
  }

  #failIfDue(): void {
    if (this.fail?.batch === 'before' && this.#isDue())
      throw new ArtifactHubError('STORAGE_FAILED', 'the read failed, as the test asked')
  }

  #isDue(): boolean {
    if (this.calls++ !== this.fail?.at) return false
    this.hasFailed = true
    return true
  }
}

/** A workload on a machine on which something fails; then, with nothing failing any more, in the same node and in the next. */
async function workThroughFailure(
  machine: SimulatedMachine,
  heal: () => void,
  codes: readonly string[],
): Promise<void> {
  const ledger = new Ledger()
  const mayFail = (error: unknown): void => {
    if (!isHubError(error)) throw error
    expect(codes, error.stack).toContain(error.code)
  }
  const work = (run: string, steps: number, node: ArtifactHubNode, onFailure: (error: unknown) => void) =>
    runWorkload({
      node,
      witness: {
        begin: (intent) => ledger.begin(intent),
        acknowledge: (key, answer) => ledger.acknowledge(key, answer),
        failed: (_, error) => onFailure(error),
      },
      random: numbers(11),
      lanes: 2,
      steps,
      sizes: [100, 33_000, 40_000, 34_000, 35_000, 36_000],
      run,
    })
  try {
    const node = await machine.startNode()
    try {
      await work('failing', 12, node, mayFail)
      await ledger.copy().verify(node.client).catch(mayFail)
      await node.gc({ now: true }).catch(mayFail)
      heal()
      await work('healed', 3, node, throwIt)
      await ledger.verify(node.client)
      expect((await node.check({ readData: true })).findings).toEqual([])
    } finally {
      heal()
      await node.close()
    }
  } catch (error) {
    // Of the work's own listing, or the start.
    mayFail(error)
    heal()
  }
  await using next = await machine.startNode()
  await ledger.verify(next.client)
  await work('next', 1, next, throwIt)
  await ledger.verify(next.client)
  expect((await next.check({ readData: true })).findings).toEqual([])
}

function throwIt(error: unknown): never {
  throw error
}

// The first at every operation; the others where a system may give them. For want of room, which goes the same ways as the first, at every other one.
const anywhere = undefined
const opening: readonly DiskOperation['kind'][] = ['open', 'readdir']
const needingRoom: readonly DiskOperation['kind'][] = [
  'open',
  'write',
  'datasync',
  'truncate',
  'rename',
  'unlink',
  'mkdir',
  'syncDirectory',
]
for (const { name, code, kinds, at: where, step, atLeast } of [
  { name: 'EIO', code: 'STORAGE_FAILED', kinds: anywhere, at: 'any operation', step: 1, atLeast: 50 },
  { name: 'EMFILE', code: 'STORAGE_FAILED', kinds: opening, at: 'any operation that opens', step: 1, atLeast: 10 },
  { name: 'ENOSPC', code: 'STORAGE_FULL', kinds: needingRoom, at: 'every other that needs room', step: 2, atLeast: 20 },
]) {
  test(`with ${name} at ${where} under the packs, nothing acknowledged is lost and the node goes on`, async () => {
    let operations = 0
    for (let at = 0; ; at += step) {
      const disk = new SimulatedDisk()
      let count = 0
      let failed = ''
      disk.fault = ({ kind, path }) => {
        if (kinds?.includes(kind) === false || count++ !== at) return undefined
        failed = `${kind} ${path}`
        return systemError(name)
      }
      const heal = () => {
        disk.fault = () => undefined
      }
      await workThroughFailure(new SimulatedMachine(5, disk), heal, [code]).catch((cause) => {
        throw new Error(`operation ${at}, ${failed}: ${(cause as Error).message}`, { cause })
      })
      if (failed === '') break
      operations += 1
    }
    console.log(`${name}: failed ${operations} operations, one in a run`)
    expect(operations).toBeGreaterThanOrEqual(atLeast)
  }, 300_000)
}

// Most calls are reads, alike one after the other, and fail alike whatever is to become of batches.
for (const { what, batch, step } of [
  {
    what: 'one call to the database failing, every eighth in turn (a batch before it is written)',
    batch: 'before',
    step: 8,
  },
  { what: 'one batch to the database failing once it is written, any in turn', batch: 'after', step: 1 },
] as const) {
  test(`with ${what}, nothing acknowledged is lost and the node goes on`, async () => {
    let calls = 0
    for (let at = 0; ; at += step) {
      const store = new FailingStore()
      store.fail = { at, batch }
      const heal = () => {
        store.fail = undefined
      }
      await workThroughFailure(new SimulatedMachine(5, undefined, store), heal, ['STORAGE_FAILED']).catch((cause) => {
        throw new Error(`call ${at}: ${(cause as Error).message}`, { cause })
      })
      if (!store.hasFailed) break
      calls += 1
    }
    console.log(`with ${what}: ${calls} in turn`)
    expect(calls).toBeGreaterThan(25)
  }, 300_000)
}
