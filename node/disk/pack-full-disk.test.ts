import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LevelStore } from './level-store.ts'
import { PackStore } from './pack-store.ts'

const isRoot = process.getuid?.() === 0

test.skipIf(!isRoot)(
  'a full disk stops a put and loses nothing; room made by a sweep is used (a tmpfs, so root only)',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'ahub-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', dir])
    try {
      const synced: { digest: Uint8Array; bytes: Buffer }[] = []
      const openStore = async () => {
        const index = await LevelStore.open({ path: join(dir, 'db') })
        const options = { directory: join(dir, 'packs'), index, keyPrefix: Uint8Array.of(1), now: Date.now }
        const store = await PackStore.open({ ...options, maxPackBytes: 4 << 20 })
        return { index, store, packs: await store.namespace('ns_a') }
      }
      const store = async (packs: Awaited<ReturnType<typeof openStore>>['packs'], count: number) => {
        await using writer = packs.openWriter()
        for (let i = 0; i < count; i++) {
          const bytes = randomBytes(700_000)
          const digest = Uint8Array.from(createHash('sha256').update(bytes).digest())
          await writer.put(digest, bytes)
          await writer.sync()
          synced.push({ digest, bytes })
        }
      }
      let open = await openStore()
      await expect(store(open.packs, 100)).rejects.toMatchObject({ code: 'STORAGE_FULL', retryable: true })
      expect(synced.length).toBeGreaterThan(20)
      const check = async () => {
        for (const { digest, bytes } of synced)
          expect(Buffer.from((await open.packs.read(digest)) ?? []).equals(bytes)).toBe(true)
        for await (const finding of open.packs.verify({ readData: true })) expect(finding).toBeUndefined()
      }
      await check()
      await open.store.close().catch(() => {})
      await open.index.close()
      execFileSync('mount', ['-o', 'remount,size=25m', dir])
      open = await openStore()
      await check()
      const dead = new Set(synced.splice(0, 12).map(({ digest }) => Buffer.from(digest).toString('hex')))
      const { reclaimedBytes } = await open.packs.sweep({
        markLive: async () => (digest) => !dead.has(Buffer.from(digest).toString('hex')),
        storedBefore: Date.now() + 10_000,
      })
      expect(reclaimedBytes).toBeGreaterThan(10 * 700_000)
      await store(open.packs, 8)
      await check()
      await open.store.close()
      await open.index.close()
    } finally {
      execFileSync('umount', ['-l', dir])
      await rm(dir, { recursive: true, force: true })
    }
  },
)

test.skipIf(!isRoot)(
  'on a disk without room for one more block, a sweep removes what a failed write left, in one go (a tmpfs, so root only)',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'ahub-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', dir])
    try {
      const index = await LevelStore.open({ path: join(dir, 'db') })
      const options = { directory: join(dir, 'packs'), index, keyPrefix: Uint8Array.of(1), now: Date.now }
      const store = await PackStore.open({ ...options, maxPackBytes: 4 << 20 })
      const packs = await store.namespace('ns_a')
      const digests: Uint8Array[] = []
      {
        await using writer = packs.openWriter()
        const fill = async () => {
          for (;;) {
            const bytes = randomBytes(300_000)
            const digest = Uint8Array.from(createHash('sha256').update(bytes).digest())
            await writer.put(digest, bytes)
            digests.push(digest)
            // The last of what is made durable shares a pack with the first of what never is.
            if (digests.length === 8) await writer.sync()
          }
        }
        await expect(fill()).rejects.toMatchObject({ code: 'STORAGE_FULL' })
      }
      expect(digests.length).toBeGreaterThan(30)
      const { bavail, bsize } = await statfs(dir)
      await writeFile(join(dir, 'ballast'), Buffer.alloc(Math.max(0, bavail * bsize - 64_000)))
      const { removedBlocks } = await packs.sweep({
        markLive: async () => () => false,
        storedBefore: Date.now() + 10_000,
      })
      expect(removedBlocks).toBe(digests.length)
      expect(await packs.usage()).toMatchObject({ packs: 0, blocks: 0, diskBytes: 0 })
      expect(await packs.has(digests)).toEqual(digests.map(() => false))
      await store.close()
      await index.close()
    } finally {
      execFileSync('umount', ['-l', dir])
      await rm(dir, { recursive: true, force: true })
    }
  },
)
