import { readFile } from 'node:fs/promises'
import { gcm } from '@noble/ciphers/aes.js'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes } from '@noble/hashes/utils.js'
import { describe, expect, it } from 'vitest'
import { artifactIdOf, encodeCanonical, toHex } from '../encoding/index.ts'
import { AgentKey, Sealer, wrapKey, wrappingKey } from '../identity/index.ts'
import { ArtifactKey, groupKeyOf, keyIdOf, sealShareBody } from './index.ts'

// Everything here is fixed, so every byte is.
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const [secret, under, namespace, group] = [fill(32, 1), fill(32, 2), fill(32, 3), fill(32, 4)]
const artifactSalt = fill(16, 5)
const artifact = artifactIdOf(namespace, artifactSalt)
const place = { namespace, author: fill(32, 6), grant: fill(32, 7), incarnation: fill(16, 8), seq: 9 }
const nonce = fill(12, 10)
const plaintext = fill(20, 11)
const ephemeralSeed = fill(32, 12)
const recipientSeed = fill(32, 13)
const contexts = {
  epoch: { kind: 'epoch' as const, namespace, subject: fill(0, 0), keyId: fill(16, 14) },
  artifact: { kind: 'artifact' as const, namespace, subject: artifact, keyId: fill(16, 15) },
  link: { kind: 'link' as const, namespace, subject: concatBytes(artifact, fill(16, 16)), keyId: fill(16, 15) },
}

function made(): Record<string, string> {
  const key = new ArtifactKey(secret, namespace, artifact)
  const pair = groupKeyOf(group, secret)
  const sealer = new Sealer(ephemeralSeed)
  const recipient = new AgentKey(recipientSeed).publicKey
  const bytes: Record<string, Uint8Array> = {
    'artifact-id': artifact,
    'key-id': keyIdOf(secret),
    'content/enc': key.content.encryption,
    'content/nonce': key.content.nonce,
    'content/chunk': key.content.chunking,
    'leaf-rows': key.leafRowsKey(),
    'group-key': pair.publicKey,
    'body-of-put': key.sealBody(plaintext, place, nonce),
    'body-of-share': sealShareBody({ secret, namespace, artifact }, plaintext, place, nonce),
    ephemeral: sealer.ephemeral,
  }
  for (const [name, context] of Object.entries(contexts)) {
    const { tag, box } = sealer.seal(secret, recipient, context)
    bytes[`box-of-${name}`] = box
    bytes[`tag-of-${name}`] = tag
    if (name !== 'link') bytes[`wrap-of-${name}`] = wrapKey(secret, wrappingKey(under), context)
  }
  return Object.fromEntries(Object.entries(bytes).map(([name, one]) => [name, toHex(one)]))
}

/** The same by other implementations of every primitive, from what the READMEs say. */
function again(): Record<string, string> {
  const utf8 = (text: string) => new TextEncoder().encode(text)
  const derive = (info: unknown[], length = 32) =>
    hkdf(sha256, secret, utf8('artifact-hub/secret/v1'), encodeCanonical(info), length)
  const sealed = (label: string) => {
    const { author, grant, incarnation, seq } = place
    const aad = encodeCanonical(['artifact-hub/body/v1', namespace, author, grant, incarnation, seq])
    return concatBytes(nonce, gcm(derive([label, namespace, artifact]), nonce, aad).encrypt(plaintext))
  }
  const recipient = ed25519.getPublicKey(recipientSeed)
  const agreement = ed25519.utils.toMontgomery(recipient)
  const ephemeral = x25519.getPublicKey(ephemeralSeed)
  const box = (key: Uint8Array) => xsalsa20poly1305(key, fill(24, 0)).encrypt(secret)
  const bytes: Record<string, Uint8Array> = {
    'artifact-id': sha256(concatBytes(utf8('artifact-hub/artifact-id/v1\0'), namespace, artifactSalt)).slice(0, 20),
    'key-id': derive(['key-id'], 16),
    'content/enc': derive(['content/enc', namespace, artifact]),
    'content/nonce': derive(['content/nonce', namespace, artifact]),
    'content/chunk': derive(['content/chunk', namespace, artifact]),
    'leaf-rows': derive(['leaf-rows', namespace, artifact]),
    'group-key': ed25519.getPublicKey(derive(['group-key', group])),
    'body-of-put': sealed('body'),
    'body-of-share': sealed('share-body'),
    ephemeral,
  }
  for (const [name, { kind, subject, keyId }] of Object.entries(contexts)) {
    const info = (purpose: string, to: Uint8Array | null) =>
      encodeCanonical([`artifact-hub/key-${purpose}/v1`, kind, namespace, subject, keyId, to])
    const shared = x25519.getSharedSecret(ephemeralSeed, agreement)
    const derived = hkdf(sha256, shared, concatBytes(ephemeral, agreement), info('box', recipient), 40)
    bytes[`box-of-${name}`] = box(derived.slice(0, 32))
    bytes[`tag-of-${name}`] = derived.slice(32)
    if (name !== 'link') bytes[`wrap-of-${name}`] = box(hkdf(sha256, under, undefined, info('wrap', null), 32))
  }
  return Object.fromEntries(Object.entries(bytes).map(([name, one]) => [name, toHex(one)]))
}

async function frozen(): Promise<Record<string, string>> {
  const path = new URL('../../test/fixtures/keys-v1.json', import.meta.url)
  return (JSON.parse(await readFile(path, 'utf8')) as { bytes: Record<string, string> }).bytes
}

// v1, frozen: bytes that change here are another version, with a fixture of its own.
describe('derived keys, boxes, wraps and encrypted bodies', () => {
  it('are the bytes of the frozen fixture', async () => {
    expect(made()).toEqual(await frozen())
  })

  it('are so by a second implementation of every primitive too', async () => {
    expect(again()).toEqual(await frozen())
  })
})
