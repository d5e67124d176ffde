import { afterEach, expect, test, vi } from 'vitest'
import { testKeys } from '../../src/content/content.test-helper.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { decodeEntry } from '../../src/log/index.ts'
import { ArtifactKey, Keyring, openWrappedBody, type WrappedBody } from '../../src/sharing/index.ts'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { WorkerPool } from './index.ts'
import { pack, unpack } from './packed.ts'

const bytes = (length: number, first: number) => Uint8Array.from({ length }, (_, at) => (first + at) & 0xff)
const flipped = (of: Uint8Array) => of.map((byte, at) => (at === 3 ? byte ^ 1 : byte))

let pool: WorkerPool | undefined
afterEach(() => pool?.close())

/** Whatever is above what is done on the spot has all workers start. */
async function started(): Promise<WorkerPool> {
  const one = new WorkerPool(2)
  pool = one
  one.inFiles(1024 * 1024)
  await vi.waitFor(
    () => expect(one.verify(Array.from({ length: 8 }, () => decodeEntry(genesis)))).toBeDefined(),
    30_000,
  )
  return one
}

const owner = await new NamespaceNode(1, new TestTime()).create()
for (let at = 0; at < 12; at++) await owner.write(`snippet ${at}`)
const entries = (await Array.fromAsync(owner.ns.held.entriesBeyond([]))).map((entry) => decodeEntry(entry))
const genesis = (await owner.ns.held.bytes(owner.ns.id)) as Uint8Array

const agent = new AgentKey(bytes(32, 1))
const namespace = bytes(32, 2)
const keyring = new Keyring(namespace, agent)
const epoch = keyring.admitEpoch(bytes(32, 3))
const bodies = Array.from({ length: 12 }, (_, seq): WrappedBody => {
  const artifact = bytes(20, seq)
  const key = new ArtifactKey(bytes(32, 100 + seq), namespace, artifact)
  const place = {
    namespace,
    author: agent.publicKey,
    grant: bytes(32, 9),
    incarnation: bytes(16, 8),
    seq: seq * 2 ** 40,
  }
  const body = key.sealBody(bytes(1 + 50 * seq, seq), place, bytes(12, seq))
  return { epoch: epoch.secret, artifact, wrap: keyring.wrap(key, artifact, epoch), place, body }
})

test('signatures are checked by a worker as they are here', async () => {
  const workers = await started()
  const other = new AgentKey(bytes(32, 77)).publicKey
  const asked = entries.map((entry, at) => {
    if (at === 1) return { ...entry, signature: flipped(entry.signature) }
    if (at === 2) return { ...entry, headerBytes: flipped(entry.headerBytes) }
    if (at === 3) return { ...entry, header: { ...entry.header, author: other } }
    return at === 4 ? { ...entry, signature: new Uint8Array(0) } : entry
  })
  const verdicts = await workers.verify(asked)
  expect(verdicts).toEqual(asked.map((_, at) => at < 1 || at > 4))
})

test('bodies are opened by a worker as they are here, and only with their key and in their place', async () => {
  const workers = await started()
  const asked = bodies.map((one, at): WrappedBody => {
    if (at === 1) return { ...one, body: flipped(one.body) }
    if (at === 2) return { ...one, wrap: { ...one.wrap, box: flipped(one.wrap.box) } }
    if (at === 3) return { ...one, place: { ...one.place, seq: one.place.seq + 1 } }
    if (at === 4) return { ...one, wrap: { ...one.wrap, keyId: flipped(one.wrap.keyId) } }
    return at === 5 ? { ...one, artifact: flipped(one.artifact) } : one
  })
  const opened = (await workers.openBodies(asked)) ?? expect.fail('a worker has started')
  expect(opened).toEqual(asked.map(openWrappedBody))
  expect(opened).toEqual(asked.map((_, at) => (at < 1 || at > 5 ? bytes(1 + 50 * at, at) : undefined)))
})

test('nothing is asked of a worker that has not started, for few entries, or when the pool is closed', async () => {
  pool = new WorkerPool(2)
  expect(pool.verify(entries)).toBeUndefined()
  expect(pool.openBodies(bodies)).toBeUndefined()
  const workers = await started()
  expect(workers.verify(entries.slice(0, 2))).toBeUndefined()
  const [verdicts, opened] = [workers.verify(entries), workers.openBodies(bodies)]
  await workers.close()
  // What the worker was doing is done here.
  expect(await verdicts).toEqual(entries.map(() => true))
  expect((await opened)?.filter((body) => body === undefined)).toEqual([])
  expect(workers.verify(entries)).toBeUndefined()
})

test('entries go to a worker again when theirs has died, though there is no other work for it, and what was with it is done here', async () => {
  const workers = await started()
  const deadly = { ...testKeys, encryption: new Uint8Array(5) }
  const dieAll = () =>
    Promise.allSettled([1, 2, 3, 4].map(() => workers.seal(new Uint8Array(new SharedArrayBuffer(100_000)), deadly)))
  let verdicts = workers.verify(entries)
  for (; verdicts !== undefined; verdicts = workers.verify(entries)) {
    await dieAll()
    expect(await verdicts).toEqual(entries.map(() => true))
  }
  await vi.waitFor(() => expect(workers.verify(entries)).toBeDefined(), 10_000)
})

test('what is packed is what is unpacked', () => {
  const parts = [bytes(0, 0), bytes(1, 7), bytes(300, 1), bytes(0, 0), bytes(70_000, 5)]
  expect(unpack(pack(parts))).toEqual(parts)
  expect(unpack(pack([]))).toEqual([])
})
