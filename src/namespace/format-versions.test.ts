import { describe, expect, test } from 'vitest'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { signEntry } from '../log/index.ts'
import { ArtifactKey, sealShareBody } from '../sharing/index.ts'
import { decodeBody, encodeBody } from './body.ts'
import { encodeShareBody, openShared } from './share-book.ts'
import { loadUpload, pendingUploadKey, putUpload } from './uploads.ts'

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const unsupported = expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' })

/** A map with another version. */
function inVersion(bytes: Uint8Array, v: number): Uint8Array<ArrayBuffer> {
  const value = decodeCanonical(bytes, { maxBytes: 10_000, what: 'it' }) as object
  return encodeCanonical({ ...value, v })
}

describe('another version', () => {
  test.each([0, 2])('(%s) of what a version of an artifact says is refused', (v) => {
    const state = { name: 'a', contentType: 'text/plain', metadata: { n: 1 }, sha256: fill(32, 1) }
    const body = encodeBody(state)
    expect(decodeBody(inVersion(body, 1))).toEqual(state)
    expect(() => decodeBody(inVersion(body, v))).toThrow(unsupported)
  })

  test.each([0, 1, 2])('than 1 of what a share says is not read: %s', async (v) => {
    const { ns, agent, env } = await new NamespaceNode(1, new TestTime()).create()
    const [epoch] = ns.keyring.epochHeads()
    if (epoch === undefined) return expect.fail('it has an epoch')
    const artifactSalt = fill(16, 2)
    const shared = { kind: 'share' as const, bytes: fill(40, 3) }
    const place = { namespace: ns.id, author: agent.publicKey, grant: ns.id, incarnation: fill(16, 4), seq: 0 }
    const key = { secret: epoch.secret, namespace: ns.id, artifact: ns.artifactOf(artifactSalt) }
    const { entry } = signEntry(
      agent,
      {
        kind: 'share',
        namespace: ns.id,
        grant: ns.id,
        incarnation: place.incarnation,
        seq: 0,
        previous: undefined,
        heads: [],
        clock: { wallMs: 1, counter: 0 },
        keyId: epoch.id,
        data: { artifactSalt, parents: [], gen: 0, root: undefined, versions: [], jti: fill(16, 5) },
      },
      { body: sealShareBody(key, inVersion(encodeShareBody(shared), v), place, fill(12, 6)) },
    )
    const { store } = env
    const reader = {
      namespace: ns.id,
      keyring: ns.keyring,
      keys: ns.keys,
      get: (row: Uint8Array) => store.get(row),
      entry: async () => undefined,
      keysIn: async () => undefined,
    }
    expect(await openShared(entry, reader)).toEqual(v === 1 ? shared : undefined)
  })

  test.each([0, 2])('(%s) of the record of an upload is refused', async (v) => {
    const { ns, env } = await new NamespaceNode(1, new TestTime()).create()
    const rowKey = pendingUploadKey(ns, 'a', '/a')
    const wrap = { keyId: fill(16, 1), under: fill(16, 2), box: fill(48, 3) }
    const artifact = ns.artifactOf(fill(16, 4))
    const key = new ArtifactKey(fill(32, 6), ns.id, artifact)
    const change = putUpload(rowKey, { salt: fill(16, 4), artifact, key, wrap, isNew: true }, 5)
    if (change.type !== 'put') return expect.fail('it writes a row')
    await env.store.batch([change], { sync: true })
    // Nothing opens that key, so there is nothing to go on with.
    expect(await loadUpload(ns, rowKey)).toBeUndefined()
    await env.store.batch([{ ...change, value: inVersion(change.value, v) }], { sync: true })
    await expect(loadUpload(ns, rowKey)).rejects.toEqual(unsupported)
  })
})
