import { unixfs } from '@helia/unixfs'
import { decode } from '@ipld/dag-pb'
import { createHeliaLight, type Helia } from 'helia'
import { UnixFS } from 'ipfs-unixfs'
import { CID } from 'multiformats/cid'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { leafOverheadBytes } from '../../src/limits.ts'
import { bytesOf, expectBytes, MiB, seededBytes, sha256Hex } from './contract-support.ts'
import { openInProcess } from './in-process.ts'

let opened: Awaited<ReturnType<typeof openInProcess>>
beforeAll(async () => {
  opened = await openInProcess()
})
afterAll(async () => {
  await opened.close()
})

/** The bytes of a block, out of a Helia. */
async function blockOf(helia: Helia, cid: CID): Promise<Uint8Array> {
  return await bytesOf(helia.blockstore.get(cid, { offline: true }) as AsyncIterable<Uint8Array>)
}

/** All blocks of a DAG in order, by the standards alone: raw leaves under dag-pb nodes. */
async function* blocksOf(helia: Helia, cid: CID): AsyncGenerator<{ cid: CID; bytes: Uint8Array; isLeaf: boolean }> {
  const bytes = await blockOf(helia, cid)
  yield { cid, bytes, isLeaf: cid.code === 0x55 }
  if (cid.code === 0x55) return
  const { Data, Links } = decode(bytes)
  expect(UnixFS.unmarshal(Data as Uint8Array).type).toBe('file')
  for (const { Hash } of Links) yield* blocksOf(helia, Hash)
}

async function leavesOf(helia: Helia, cid: CID): Promise<Uint8Array[]> {
  const blocks = await Array.fromAsync(blocksOf(helia, cid))
  return blocks.filter(({ isLeaf }) => isLeaf).map(({ bytes }) => bytes)
}

const contents: [string, Uint8Array<ArrayBuffer>][] = [
  ['many chunks', seededBytes('read by Helia', 9 * MiB + 1)],
  ['one chunk', seededBytes('one chunk', 100_000)],
  ['an entry', seededBytes('in an entry', 500)],
  ['nothing', new Uint8Array(0)],
]

test.each(contents)(
  'the node’s Helia reads the leaves of a version with %s, and they do not tell its content',
  async (_, data) => {
    const { cid: text } = await opened.client.artifact.create({ name: 'for Helia', data })
    const cid = CID.parse(text)
    const helia = await opened.node.helia()
    const leaves = await leavesOf(helia, cid)
    const stored = Buffer.concat(leaves)
    expect(stored.length).toBe(data.length + leaves.length * leafOverheadBytes)
    expectBytes(await bytesOf(unixfs(helia).cat(cid, { offline: true })), stored)
    expect((await unixfs(helia).stat(cid, { offline: true })).size).toBe(BigInt(stored.length))
    if (data.length > 100)
      for (let at = 0; at + 16 <= data.length; at += 65_521)
        expect(stored.includes(Buffer.from(data.subarray(at, at + 16)))).toBe(false)
  },
)

test('a plain Helia elsewhere, given the blocks, reads exactly the same bytes, whole and in part', async () => {
  const data = seededBytes('copied', 7 * MiB)
  const { id: artifactId, cid: text } = await opened.client.artifact.create({ name: 'copied', data })
  const cid = CID.parse(text)
  const here = await opened.node.helia()
  const elsewhere = createHeliaLight()
  await elsewhere.start()
  try {
    for await (const block of blocksOf(here, cid)) await elsewhere.blockstore.put(block.cid, block.bytes)
    const stored = Buffer.concat(await leavesOf(here, cid))
    const fs = unixfs(elsewhere)
    expect(sha256Hex(await bytesOf(fs.cat(cid, { offline: true })))).toBe(sha256Hex(stored))
    const part = await bytesOf(fs.cat(cid, { offline: true, offset: 3 * MiB, length: 100 }))
    expectBytes(part, stored.subarray(3 * MiB, 3 * MiB + 100))
    // It cannot be made to give what was never copied.
    const { cid: other } = await opened.client.artifact.create({ name: 'kept', data: seededBytes('kept', MiB) })
    await expect(bytesOf(fs.cat(CID.parse(other), { offline: true }))).rejects.toThrow()
  } finally {
    await elsewhere.stop()
  }
  expectBytes(await opened.client.artifact.download({ artifactId }), data)
})

test('the node’s own UnixFS is the same, and an unchanged chunk is one block in two versions', async () => {
  const data = seededBytes('versions', 8 * MiB)
  const edited = Uint8Array.from(data)
  edited[4 * MiB] = (edited[4 * MiB] as number) ^ 1
  const first = await opened.client.artifact.create({ name: 'versions', data })
  const second = await opened.client.artifact.update({ artifactId: first.id, data: edited })
  const helia = await opened.node.helia()
  const [before, after] = [await leavesOf(helia, CID.parse(first.cid)), await leavesOf(helia, CID.parse(second.cid))]
  expectBytes(
    await bytesOf((await opened.node.unixfs()).cat(CID.parse(second.cid), { offline: true })),
    Buffer.concat(after),
  )
  const known = new Set(before.map(sha256Hex))
  const fresh = after.filter((leaf) => !known.has(sha256Hex(leaf)))
  expect(fresh.length).toBeGreaterThan(0)
  expect(fresh.length).toBeLessThanOrEqual(3)
})

test('what is put through Helia is read through Helia, and is nobody’s artifact', async () => {
  const fs = await opened.node.unixfs()
  const bytes = seededBytes('put through Helia', MiB)
  const cid = await fs.addBytes(bytes)
  expectBytes(await bytesOf(fs.cat(cid, { offline: true })), bytes)
  await opened.node.gc({ now: true })
  expectBytes(await bytesOf(fs.cat(cid, { offline: true })), bytes)
  expect((await opened.client.artifact.list({ namePrefix: 'put' })).items).toEqual([])
})
