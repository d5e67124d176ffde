import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { gcm } from '@noble/ciphers/aes.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { describe, expect, it } from 'vitest'
import { encodeCanonical } from '../encoding/index.ts'
import { AgentKey, Sealer } from '../identity/index.ts'
import type { KeySection } from '../log/index.ts'
import { ArtifactKey, type EpochSecret, Keyring, keyIdOf, openShareBody, sealShareBody } from './index.ts'

const namespace = new Uint8Array(32).fill(1)
const artifact = new Uint8Array(20).fill(2)
const stranger = new AgentKey(new Uint8Array(32).fill(7))
const place = {
  namespace,
  author: new Uint8Array(32).fill(3),
  grant: namespace,
  incarnation: new Uint8Array(16).fill(4),
  seq: 5,
}

describe('artifact keys', () => {
  it('derives what a second implementation derives', () => {
    const secret = randomBytes(32)
    const key = new ArtifactKey(secret, namespace, artifact)
    const salt = new TextEncoder().encode('artifact-hub/secret/v1')
    const derive = (info: unknown[], length = 32) => hkdf(sha256, secret, salt, encodeCanonical(info), length)
    expect(key.id).toEqual(derive(['key-id'], 16))
    expect(key.content.encryption).toEqual(derive(['content/enc', namespace, artifact]))
    expect(key.content.nonce).toEqual(derive(['content/nonce', namespace, artifact]))
    expect(key.content.chunking).toEqual(derive(['content/chunk', namespace, artifact]))
    const nonce = randomBytes(12)
    const body = key.sealBody(Uint8Array.of(1, 2, 3), place, nonce)
    const aad = encodeCanonical(['artifact-hub/body/v1', namespace, place.author, namespace, place.incarnation, 5])
    expect(gcm(derive(['body', namespace, artifact]), nonce, aad).decrypt(body.subarray(12))).toEqual(
      Uint8Array.of(1, 2, 3),
    )
  })

  it('derives other keys for another namespace or artifact', () => {
    const secret = randomBytes(32)
    const keys = [
      new ArtifactKey(secret, namespace, artifact),
      new ArtifactKey(secret, new Uint8Array(32), artifact),
      new ArtifactKey(secret, namespace, new Uint8Array(20)),
    ]
    expect(new Set(keys.map((key) => Buffer.from(key.content.encryption).toString('hex'))).size).toBe(3)
  })

  it('opens a body only where it belongs, and only unchanged', () => {
    const key = new ArtifactKey(randomBytes(32), namespace, artifact)
    const body = key.sealBody(Uint8Array.of(1, 2, 3), place, randomBytes(12))
    expect(key.openBody(body, place)).toEqual(Uint8Array.of(1, 2, 3))
    const elsewhere = [
      { ...place, namespace: new Uint8Array(32) },
      { ...place, author: new Uint8Array(32) },
      { ...place, grant: new Uint8Array(32) },
      { ...place, incarnation: new Uint8Array(16) },
      { ...place, seq: 6 },
    ]
    for (const other of elsewhere)
      expect(() => key.openBody(body, other)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    for (let at = 0; at < body.length; at++) {
      const bad = body.slice()
      bad[at] = (bad[at] as number) ^ 1
      expect(() => key.openBody(bad, place)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    }
    for (let length = 0; length < body.length; length++) {
      expect(() => key.openBody(body.subarray(0, length), place)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    }
  })

  it('does not print its secret', () => {
    const key = new ArtifactKey(new Uint8Array(32).fill(0xab), namespace, artifact)
    expect(inspect({ key }, { depth: 9 }) + JSON.stringify(key)).not.toMatch(/171|abab/)
  })
})

describe('keyrings', () => {
  const owner = new AgentKey(new Uint8Array(32).fill(6))
  const rotate = (secret: Uint8Array, recipient: AgentKey, keyId = keyIdOf(secret)) => {
    const sealer = new Sealer(randomBytes(32))
    const box = sealer.seal(secret, recipient.publicKey, {
      kind: 'epoch',
      namespace,
      subject: new Uint8Array(0),
      keyId,
    })
    return { keyId, keys: { wraps: [], ephemeral: sealer.ephemeral, boxes: [{ keyId, ...box }] } }
  }

  it('opens an artifact key that was wrapped under an epoch sealed to its agent', () => {
    const { keyId, keys } = rotate(randomBytes(32), owner)
    const writer = new Keyring(namespace, owner)
    expect(writer.admit(keyId, keys, true)).toBe(true)
    expect(writer.admit(keyId, keys, true)).toBe(false)
    const key = new ArtifactKey(randomBytes(32), namespace, artifact)
    const wrap = writer.wrap(key, artifact, writer.epoch(keyId) as EpochSecret)
    const reader = new Keyring(namespace, owner)
    reader.admit(keyId, keys, true)
    expect(reader.open(artifact, key.id, [wrap])?.secret).toEqual(new Uint8Array(key.secret))
    expect(new Keyring(namespace, owner).open(artifact, key.id, [wrap])).toBeUndefined()
    const elsewhere = new Keyring(namespace, owner)
    elsewhere.admit(keyId, keys, true)
    expect(elsewhere.open(new Uint8Array(20), key.id, [wrap])).toBeUndefined()
  })

  it('keeps artifact keys at hand that it was told to, however many are opened out of a log meanwhile', () => {
    const { keyId, keys } = rotate(randomBytes(32), owner)
    const keyring = new Keyring(namespace, owner)
    keyring.admit(keyId, keys, true)
    const epoch = keyring.epoch(keyId) as EpochSecret
    const kept = new ArtifactKey(randomBytes(32), namespace, artifact)
    keyring.remember(artifact, kept)
    for (let received = 0; received < 4_200; received++) {
      const key = new ArtifactKey(randomBytes(32), namespace, artifact)
      keyring.open(artifact, key.id, [keyring.wrap(key, artifact, epoch)])
    }
    expect(keyring.open(artifact, kept.id, [])?.secret).toEqual(kept.secret)
  })

  it('does not admit an epoch that is sealed to another, or whose id is not its key’s', () => {
    const { keyId, keys } = rotate(randomBytes(32), owner)
    expect(new Keyring(namespace, stranger).admit(keyId, keys, true)).toBe(false)
    const lie = rotate(randomBytes(32), owner, keyIdOf(randomBytes(32)))
    const keyring = new Keyring(namespace, owner)
    expect(keyring.admit(lie.keyId, lie.keys, true)).toBe(false)
    expect(keyring.epoch(lie.keyId)).toBeUndefined()
  })

  it('opens every epoch that the newest wraps, in whatever order the rotates come, and names the newest alone as head', () => {
    const first = new Keyring(namespace, owner)
    const sections: { id: Uint8Array; keys: KeySection }[] = []
    for (let at = 0; at < 50; at++) {
      const [older] = first.epochHeads()
      const epoch = first.admitEpoch(randomBytes(32))
      const wraps = older === undefined ? [] : [first.wrapEpoch(older, epoch)]
      const keys = { wraps, ephemeral: undefined, boxes: [] }
      first.admit(epoch.id, keys, false)
      sections.push({ id: epoch.id, keys })
    }
    expect(first.epochHeads().map(({ id }) => id)).toEqual([sections.at(-1)?.id])
    const newest = first.epoch(sections.at(-1)?.id as Uint8Array) as EpochSecret
    const sealed = first.sealEpoch(newest, [stranger.publicKey], randomBytes(32))
    for (const order of [sections, [...sections].reverse()]) {
      const newcomer = new Keyring(namespace, stranger)
      for (const { id, keys } of order) expect(newcomer.admit(id, keys, true)).toBe(false)
      expect(newcomer.admit(newest.id, sealed, true)).toBe(true)
      expect(newcomer.size).toBe(50)
    }
  })

  it('opens an artifact key that is sealed to its agent by name', () => {
    const key = new ArtifactKey(randomBytes(32), namespace, artifact)
    const items = [owner, stranger].map(({ publicKey: recipient }) => ({ key, recipient }))
    const section = new Keyring(namespace, owner).sealKeys(artifact, items, randomBytes(32))
    expect(new Keyring(namespace, stranger).openSealed(artifact, key.id, section)?.secret).toEqual(
      new Uint8Array(key.secret),
    )
    const third = new AgentKey(new Uint8Array(32).fill(8))
    expect(new Keyring(namespace, third).openSealed(artifact, key.id, section)).toBeUndefined()
  })

  it('opens keys that are sealed to a group with the key of that epoch alone', () => {
    const keys = [1, 2].map(() => new ArtifactKey(randomBytes(32), namespace, artifact))
    const groupKey = new AgentKey(randomBytes(32))
    const label = { jti: randomBytes(16), epoch: randomBytes(16) }
    const items = keys.map((key) => ({ key, recipient: groupKey.publicKey, label }))
    const section = new Keyring(namespace, owner).sealKeys(artifact, items, randomBytes(32))
    expect(section.boxes.map((box) => box.label)).toEqual([label, label])
    for (const { id, secret } of keys) {
      const member = new Keyring(namespace, stranger)
      expect(member.openSealed(artifact, id, section)).toBeUndefined()
      expect(member.openSealed(artifact, id, section, new AgentKey(randomBytes(32)))).toBeUndefined()
      expect(member.openSealed(artifact, id, section, groupKey)?.secret).toEqual(new Uint8Array(secret))
    }
  })

  it('says with what labels boxes may be its agent’s', () => {
    const { capabilities } = new Keyring(namespace, stranger)
    const [jti, group, other, epoch, key] = [
      randomBytes(16),
      randomBytes(32),
      randomBytes(32),
      randomBytes(16),
      stranger,
    ]
    expect(capabilities.hold({ artifact, jti, groups: [group] })).toBe(true)
    expect(capabilities.hold({ artifact, jti, groups: [group] })).toBe(false)
    // What somebody else signed of that name does not stand in its way.
    const { capabilities: others } = new Keyring(namespace, stranger)
    for (const groups of [[], [other], [group]]) expect(others.hold({ artifact, jti, groups })).toBe(true)
    others.admitGroupKey(group, epoch, key)
    expect([...others.labelsOf(artifact)]).toContainEqual({ label: { jti, epoch }, key })
    expect(capabilities.admitGroupKey(group, epoch, key)).toBe(true)
    expect(capabilities.admitGroupKey(group, epoch, key)).toBe(false)
    expect(capabilities.admitGroupKey(other, randomBytes(16), key)).toBe(true)
    expect([...capabilities.labelsOf(artifact)]).toEqual([
      { label: { jti, epoch: undefined }, key: undefined },
      { label: { jti, epoch }, key },
    ])
    expect([...capabilities.labelsOf(new Uint8Array(20))]).toEqual([])
  })
})

describe('the body of a share', () => {
  const place = { namespace, author: stranger.publicKey, grant: namespace, incarnation: new Uint8Array(16), seq: 4 }
  const key = { secret: randomBytes(32), namespace, artifact }
  const sealed = sealShareBody(key, Buffer.from('who may read'), place, randomBytes(12))

  it('opens with the secret that it was sealed under, in its place, by a second implementation too', () => {
    expect(Buffer.from(openShareBody(key, sealed, place)).toString()).toBe('who may read')
    const salt = new TextEncoder().encode('artifact-hub/secret/v1')
    const derived = hkdf(sha256, key.secret, salt, encodeCanonical(['share-body', namespace, artifact]), 32)
    const { author, grant, incarnation, seq } = place
    const aad = encodeCanonical(['artifact-hub/body/v1', namespace, author, grant, incarnation, seq])
    const opened = gcm(derived, sealed.subarray(0, 12), aad).decrypt(sealed.subarray(12))
    expect(Buffer.from(opened).toString()).toBe('who may read')
  })

  it.each([
    ['another secret', { ...key, secret: randomBytes(32) }, place],
    ['another artifact', { ...key, artifact: new Uint8Array(20) }, place],
    ['another namespace', { ...key, namespace: randomBytes(32) }, place],
    ['another place', key, { ...place, seq: 5 }],
    ['another author', key, { ...place, author: randomBytes(32) }],
  ])('does not open with %s', (_, otherKey, otherPlace) => {
    expect(() => openShareBody(otherKey, sealed, otherPlace)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })
})
