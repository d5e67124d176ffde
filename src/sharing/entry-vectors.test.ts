import { readFile } from 'node:fs/promises'
import { gcm } from '@noble/ciphers/aes.js'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes } from '@noble/hashes/utils.js'
import { describe, expect, it } from 'vitest'
import { decodeCanonical, encodeCanonical, toHex } from '../encoding/index.ts'

type Map = Record<string, unknown>
type Box = readonly [keyId: Uint8Array, tag: Uint8Array, box: Uint8Array]

/** An entry taken apart by nothing of `src/log`: what the README says of its five sections. */
interface Parts {
  readonly headerBytes: Uint8Array
  readonly header: Map
  readonly signature: Uint8Array
  readonly keys: Uint8Array | null
  readonly body: Uint8Array | null
  readonly leaf: Uint8Array | null
}

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const utf8 = (text: string) => new TextEncoder().encode(text)
const read = (bytes: Uint8Array) => decodeCanonical(bytes, { maxBytes: 65_536, what: 'it' })
const noNonce = fill(24, 0)
const [authorSeed, memberSeed, epoch, groupEpoch, artifactKey] = [1, 14, 7, 26, 10].map((byte) => fill(32, byte)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

async function vectors(): Promise<Record<string, Parts>> {
  const path = new URL('../../test/fixtures/entry-v1.json', import.meta.url)
  const { entries } = JSON.parse(await readFile(path, 'utf8')) as { entries: Record<string, string> }
  const parts = Object.entries(entries).map(([name, hex]) => {
    const sections = read(new Uint8Array(Buffer.from(hex, 'hex'))) as (Uint8Array | null)[]
    const [headerBytes = fill(0, 0), signature, keys, body, leaf] = sections
    const header = read(headerBytes as Uint8Array) as Map
    return [name, { headerBytes, header, signature, keys, body, leaf } as Parts]
  })
  return Object.fromEntries(parts)
}

/** The artifact that an entry is about. */
const artifactOf = ({ ns, data }: Map) =>
  sha256(concatBytes(utf8('artifact-hub/artifact-id/v1\0'), ns as Uint8Array, (data as Map).art as Uint8Array)).slice(
    0,
    20,
  )

const derive = (secret: Uint8Array, info: unknown[], length = 32) =>
  hkdf(sha256, secret, utf8('artifact-hub/secret/v1'), encodeCanonical(info), length)

/** What the box of that key in a keys section seals to an agent; `undefined` when none is for it. */
function unsealed(section: Uint8Array, seed: Uint8Array, context: readonly unknown[]): Uint8Array | undefined {
  const { eph, boxes } = read(section) as { eph: Uint8Array; boxes: readonly Box[] }
  const recipient = ed25519.getPublicKey(seed)
  const shared = x25519.getSharedSecret(ed25519.utils.toMontgomerySecret(seed), eph)
  const salt = concatBytes(eph, ed25519.utils.toMontgomery(recipient))
  const info = encodeCanonical(['artifact-hub/key-box/v1', ...context, recipient])
  const derived = hkdf(sha256, shared, salt, info, 40)
  const mine = boxes.find(([, tag]) => toHex(tag) === toHex(derived.slice(32)))
  return mine && xsalsa20poly1305(derived.slice(0, 32), noNonce).decrypt(mine[2])
}

function opened({ header, body }: Parts, key: Uint8Array): unknown {
  const { ns, author, grant, inc, seq } = header
  const aad = encodeCanonical(['artifact-hub/body/v1', ns, author, grant, inc, seq])
  const sealed = body ?? expect.fail('it has a body')
  return read(gcm(key, sealed.slice(0, 12), aad).decrypt(sealed.slice(12)))
}

describe('the frozen entries, by a second implementation of every primitive', () => {
  it('are signed by their author, name their sections by their hashes, and each other by the hash of the header', async () => {
    const all = await vectors()
    const author = ed25519.getPublicKey(authorSeed)
    let previous: Parts | undefined
    for (const part of Object.values(all)) {
      const { headerBytes, header, signature, keys, body } = part
      const signed = concatBytes(utf8('artifact-hub/entry/v1\0'), headerBytes)
      expect(header.v).toBe(1)
      expect(header.author).toEqual(author)
      expect(signature).toEqual(ed25519.sign(signed, authorSeed))
      expect(header.keys).toEqual(keys && sha256(keys))
      expect(header.body).toEqual(body && sha256(body))
      expect(header.prev).toEqual(header.seq === 0 ? null : sha256((previous as Parts).headerBytes))
      previous = part
    }
    const { put, genesis } = all as Record<'put' | 'genesis', Parts>
    const { roots } = put.header.data as { roots: [[Uint8Array]] }
    expect(roots[0][0]).toEqual(sha256(put.leaf ?? fill(0, 0)))
    expect(put.header.ns).toEqual(sha256(genesis.headerBytes))
  })

  it('are of every kind, for namespaces and for groups', async () => {
    const all = await vectors()
    expect([...new Set(Object.values(all).map(({ header }) => header.kind))].sort()).toEqual([
      'adopt',
      'delete',
      'descriptor',
      'drop',
      'genesis',
      'grant',
      'keys',
      'put',
      'revoke',
      'revoke-capability',
      'rotate',
      'share',
    ])
    const types = ['genesis', 'genesis-group'].map((name) => (read(all[name]?.body ?? fill(0, 0)) as Map).type)
    expect(types).toEqual([0, 1])
  })

  it('seal each epoch to whom they say, under an id that is derived from it', async () => {
    const all = await vectors()
    for (const [name, seed, secret] of [
      ['rotate', authorSeed, epoch],
      ['grant', memberSeed, epoch],
      ['keys', memberSeed, epoch],
      ['rotate-of-group', authorSeed, groupEpoch],
    ] as const) {
      const { header, keys } = all[name] ?? expect.fail('it is one of these')
      const keyId = derive(secret, ['key-id'], 16)
      expect(header.key).toEqual(keyId)
      const context = ['epoch', header.ns, fill(0, 0), keyId]
      expect(unsealed(keys ?? fill(0, 0), seed, context)).toEqual(secret)
      expect(unsealed(keys ?? fill(0, 0), fill(32, 99), context)).toBeUndefined()
    }
  })

  it('seal the artifact key to agents, and to a group by the key pair of its epoch', async () => {
    const { 'keys-of-artifact': plain, share } = (await vectors()) as Record<'keys-of-artifact' | 'share', Parts>
    const groupSecret = fill(32, 22)
    const pairSeed = derive(groupSecret, ['group-key', fill(32, 20)])
    const keyId = derive(artifactKey, ['key-id'], 16)
    for (const { header, keys } of [plain, share]) {
      const context = ['artifact', header.ns, artifactOf(header), keyId]
      const seeds = header.kind === 'share' ? [authorSeed, memberSeed, pairSeed] : [memberSeed]
      for (const seed of seeds) expect(unsealed(keys ?? fill(0, 0), seed, context)).toEqual(artifactKey)
      expect(unsealed(keys ?? fill(0, 0), fill(32, 99), context)).toBeUndefined()
    }
    const { for: labels } = read(share.keys ?? fill(0, 0)) as Map
    const jti = fill(16, 18)
    expect(labels).toEqual([null, [jti, null], [jti, derive(groupSecret, ['key-id'], 16)]])
  })

  it('name the public key that a group’s epoch derives', async () => {
    const { header, body } = (await vectors())['rotate-of-group'] ?? expect.fail('it is one of these')
    const pair = derive(groupEpoch, ['group-key', header.ns])
    expect(read(body ?? fill(0, 0))).toMatchObject({ v: 1, pub: ed25519.getPublicKey(pair), gen: 1 })
  })

  it('wrap the artifact key, and hold bodies that it and the epoch open', async () => {
    const { put, share } = (await vectors()) as Record<'put' | 'share', Parts>
    const { wraps } = read(put.keys ?? fill(0, 0)) as { wraps: [[Uint8Array, Uint8Array, Uint8Array]] }
    const [keyId, under, wrap] = wraps[0]
    expect(keyId).toEqual(derive(artifactKey, ['key-id'], 16))
    expect(under).toEqual(derive(epoch, ['key-id'], 16))
    const { ns } = put.header
    const artifact = artifactOf(put.header)
    const info = encodeCanonical(['artifact-hub/key-wrap/v1', 'artifact', ns, artifact, keyId, null])
    expect(xsalsa20poly1305(hkdf(sha256, epoch, undefined, info, 32), noNonce).decrypt(wrap)).toEqual(artifactKey)
    expect(opened(put, derive(artifactKey, ['body', ns, artifact]))).toMatchObject({ v: 1, name: 'a', meta: '{}' })
    const cap = { v: 1, kind: 'share', cap: fill(40, 23) }
    expect(opened(share, derive(epoch, ['share-body', ns, artifact]))).toEqual(cap)
  })
})
