import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { BlockWriter } from '../../src/storage/blocks.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import type { PackNamespace } from './pack-namespace.ts'
import { PackStore } from './pack-store.ts'
import { numbers, SimulatedDisk, systemError } from './test-support/simulated-disk.ts'

const blocks = Array.from({ length: 24 }, (_, i) => {
  const bytes = Buffer.alloc(i * 37 + (i % 3 === 0 ? 0 : 400), i)
  return { bytes, digest: Uint8Array.from(createHash('sha256').update(bytes).digest()) }
})
const blockIndex = fc.nat({ max: blocks.length - 1 })
const writerIndex = fc.nat({ max: 2 })

type Command =
  | { kind: 'put'; block: number; writer: number }
  | { kind: 'find'; block: number; writer: number }
  | { kind: 'sync'; writer: number }
  | { kind: 'closeWriter'; writer: number }
  | { kind: 'restart' | 'kill' }
  | { kind: 'powerCut'; seed: number }
  | { kind: 'sweep'; live: number[] }
  | { kind: 'rebuild' }
  | { kind: 'fail'; after: number; code: string }
  | { kind: 'failBatch'; applied: boolean }

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant('put' as const), block: blockIndex, writer: writerIndex }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('find' as const), block: blockIndex, writer: writerIndex }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('sync' as const), writer: writerIndex }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('closeWriter' as const), writer: writerIndex }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('restart' as const, 'kill' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('powerCut' as const), seed: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('sweep' as const), live: fc.array(blockIndex) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rebuild' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('fail' as const),
      after: fc.nat({ max: 12 }),
      code: fc.constantFrom('EIO', 'ENOSPC', 'EMFILE'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('failBatch' as const), applied: fc.boolean() }) },
)

/** The store, and beside it what it has promised. */
class World {
  disk = new SimulatedDisk()
  index = new MemoryKeyValueStore()
  store!: PackStore
  packs!: PackNamespace
  now = 1_000_000_000_000
  writers: (BlockWriter | undefined)[] = []
  /** What each writer relies on, by block. */
  touched: Set<number>[] = []
  /** Blocks whose sync resolved. */
  promised = new Set<number>()
  everPut = new Set<number>()

  async open(): Promise<void> {
    this.writers = []
    this.touched = []
    const options = { directory: '/packs', keyPrefix: Uint8Array.of(7), now: () => this.now, maxPackBytes: 4000 }
    this.store = await PackStore.open({ ...options, index: this.index, files: this.disk })
    this.packs = await this.store.namespace('ns_x')
  }

  heal(): void {
    this.disk.fault = () => undefined
    this.index.failNextBatch = undefined
  }

  writer(i: number): BlockWriter {
    this.touched[i] ??= new Set()
    this.writers[i] ??= this.packs.openWriter()
    return this.writers[i]
  }

  protects(block: number): boolean {
    return this.writers.some((writer, i) => writer && this.touched[i]?.has(block))
  }

  async run(step: Command): Promise<void> {
    this.now += 1000
    switch (step.kind) {
      case 'put': {
        const { digest, bytes } = blocks[step.block] as (typeof blocks)[0]
        const writer = this.writer(step.writer)
        this.touched[step.writer]?.add(step.block)
        this.everPut.add(step.block)
        await writer.put(digest, [bytes.subarray(0, 5), bytes.subarray(5)])
        break
      }
      case 'find': {
        const writer = this.writer(step.writer)
        if (await writer.find((blocks[step.block] as (typeof blocks)[0]).digest))
          this.touched[step.writer]?.add(step.block)
        break
      }
      case 'sync': {
        const relied = [...(this.touched[step.writer] ?? [])]
        await this.writer(step.writer).sync()
        for (const block of relied) if (this.putOk(step.writer, block)) this.promised.add(block)
        break
      }
      case 'closeWriter':
        await this.writers[step.writer]?.close()
        this.writers[step.writer] = undefined
        this.touched[step.writer] = new Set()
        break
      case 'restart':
        await this.store.close()
        await this.open()
        break
      case 'kill':
        await this.open()
        break
      case 'powerCut': {
        const random = numbers(step.seed)
        this.disk = this.disk.afterPowerCut(random)
        this.index = this.index.afterPowerCut(Math.floor(random() * (this.index.unsyncedBatches + 1)))
        await this.open()
        break
      }
      case 'sweep': {
        const live = new Set(step.live)
        const keys = new Set(
          [...live].map((i) => Buffer.from((blocks[i] as (typeof blocks)[0]).digest).toString('hex')),
        )
        for (const block of [...this.promised])
          if (!live.has(block) && !this.protects(block)) this.promised.delete(block)
        await this.packs.sweep({
          markLive: async () => (digest) => keys.has(Buffer.from(digest).toString('hex')),
          storedBefore: this.now,
        })
        break
      }
      case 'rebuild':
        await this.packs.rebuildIndex()
        break
      case 'fail': {
        const at = this.disk.operations + step.after
        this.disk.fault = (operation) => {
          if (operation.index < at) return undefined
          this.disk.fault = () => undefined
          return operation.kind === 'write' && step.after % 2 === 0
            ? { shortWrite: step.after * 10, error: systemError(step.code) }
            : systemError(step.code)
        }
        break
      }
      case 'failBatch':
        this.index.failNextBatch = step.applied ? 'after' : 'before'
        break
    }
  }

  /** Puts that failed are not relied on. */
  failedPuts = new Map<number, Set<number>>()
  putOk(writer: number, block: number): boolean {
    return !this.failedPuts.get(writer)?.has(block)
  }
}

async function checkPromises(world: World): Promise<void> {
  for (const [i, { digest, bytes }] of blocks.entries()) {
    const found = await world.packs.read(digest)
    if (world.promised.has(i)) expect(found, `block ${i} was promised`).toBeDefined()
    if (!world.everPut.has(i)) expect(found).toBeUndefined()
    if (found) expect(Buffer.from(found).equals(bytes), `block ${i} reads as it was put`).toBe(true)
  }
}

test('whatever happens, what sync promised reads back and the index agrees with the packs', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 60 }), async (steps) => {
      const world = new World()
      await world.open()
      for (const step of steps) {
        try {
          await world.run(step)
          if (step.kind === 'put') world.failedPuts.get(step.writer)?.delete(step.block)
        } catch (error) {
          expect((error as { code?: string }).code, String((error as Error).stack)).toMatch(/^STORAGE_(FULL|FAILED)$/)
          if (step.kind === 'put') {
            const failed = world.failedPuts.get(step.writer) ?? new Set()
            world.failedPuts.set(step.writer, failed.add(step.block))
          }
          // A restart that met the fault: the process starts again.
          if (step.kind === 'restart' || step.kind === 'kill' || step.kind === 'powerCut') {
            world.heal()
            await world.open()
          }
        }
      }
      world.heal()
      await checkPromises(world)
      const random = numbers(steps.length)
      world.disk = world.disk.afterPowerCut(random)
      world.index = world.index.afterPowerCut(0)
      await world.open()
      await checkPromises(world)
      const findings = []
      for await (const finding of world.packs.verify({ readData: true })) findings.push(finding)
      expect(findings).toEqual([])
      let count = 0
      for await (const _ of world.packs.digests()) count++
      expect((await world.packs.usage()).blocks).toBe(count)
    }),
    { numRuns: Number(process.env.PACK_RUNS ?? 300) },
  )
})
