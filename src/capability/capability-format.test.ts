import { readFile } from 'node:fs/promises'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { concatBytes } from '@noble/hashes/utils.js'
import { describe, expect, it } from 'vitest'
import { decodeCanonical, encodeCanonical, toHex } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'
import {
  gateways,
  group,
  issuer,
  latestClaims,
  leavesKey,
  pinnedClaims,
  provider,
  shareClaims,
} from './capability.test-helper.ts'
import {
  decodeCapability,
  decodePresentation,
  encodePresentation,
  formatLinkUrl,
  parseLinkUrl,
  proveGroupMember,
  sealEnvelope,
  signCapability,
} from './index.ts'

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const fromHex = (text: string | undefined) => new Uint8Array(Buffer.from(text ?? '', 'hex'))
const claimsOf = { share: shareClaims, link: pinnedClaims, 'link-latest': latestClaims }
const epochKey = new AgentKey(fill(32, 20))
const between = { group, epoch: fill(16, 21), requester: gateways[0].publicKey, provider: provider.publicKey }

const envelope = {
  capability: signCapability(issuer, shareClaims),
  name: 'report.pdf',
  contentType: 'application/pdf',
  sizeBytes: 1234,
  message: 'for you',
}

// Everything here is fixed, so every byte is.
function made(): Record<string, string> {
  const share = signCapability(issuer, shareClaims).token
  const link = signCapability(issuer, pinnedClaims).token
  const { artifact, name = '' } = pinnedClaims
  return {
    share: toHex(share),
    link: toHex(link),
    'link-latest': toHex(signCapability(issuer, latestClaims).token),
    'presentation-of-agent': toHex(encodePresentation(link, undefined)),
    'presentation-of-group': toHex(encodePresentation(share, proveGroupMember(epochKey, between))),
    envelope: toHex(sealEnvelope(issuer, envelope)),
    url: formatLinkUrl({ gateway: 'https://files.example.org/', artifact, name, token: link }),
  }
}

async function frozen(): Promise<Record<string, string>> {
  const path = new URL('../../test/fixtures/capability-v1.json', import.meta.url)
  return (JSON.parse(await readFile(path, 'utf8')) as { bytes: Record<string, string> }).bytes
}

/** What a signature of that kind covers, spelled out. */
const signed = (kind: string, statement: Uint8Array) =>
  concatBytes(new TextEncoder().encode(`artifact-hub/${kind}/v1\0`), statement)
const listIn = (bytes: Uint8Array) => decodeCanonical(bytes, { maxBytes: 8_192, what: 'it' }) as Uint8Array[]

// v1, frozen: bytes that change here are another version, with a fixture of its own.
describe('the format of capabilities', () => {
  it('is the bytes of the frozen fixture', async () => {
    expect(made()).toEqual(await frozen())
  })

  it('is read from what was frozen', async () => {
    const bytes = await frozen()
    for (const [kind, claims] of Object.entries(claimsOf)) {
      expect(decodeCapability(fromHex(bytes[kind])).claims).toEqual(claims)
    }
    expect(decodePresentation(fromHex(bytes['presentation-of-agent'])).proof).toBeUndefined()
    const ofGroup = decodePresentation(fromHex(bytes['presentation-of-group']))
    expect(ofGroup.capability.claims).toEqual(shareClaims)
    expect(ofGroup.proof).toEqual(proveGroupMember(epochKey, between))
    const { token, ...url } = parseLinkUrl(bytes.url ?? '')
    expect(decodeCapability(token).claims).toEqual(pinnedClaims)
    const { artifact, name } = pinnedClaims
    expect(url).toEqual({ gateway: 'https://files.example.org', artifact, name })
  })

  it('is signed as a second implementation of Ed25519 has it', async () => {
    const bytes = await frozen()
    for (const kind of Object.keys(claimsOf)) {
      const [claims = fill(0, 0), signature = fill(0, 0)] = listIn(fromHex(bytes[kind]))
      expect(signature).toEqual(ed25519.sign(signed('capability', claims), fill(32, 1)))
      expect(ed25519.verify(signature, signed('capability', claims), issuer.publicKey)).toBe(true)
    }
    const [, proof = []] = listIn(fromHex(bytes['presentation-of-group'])) as unknown as Uint8Array[][]
    const statement = encodeCanonical([group, fill(16, 21), gateways[0].publicKey, provider.publicKey])
    expect(proof[2]).toEqual(ed25519.sign(signed('group-member', statement), fill(32, 20)))
  })

  it('has boxes that a second implementation of X25519, HKDF and secretbox opens', () => {
    const { pinned, namespace, artifact, jti } = pinnedClaims
    if (pinned === undefined) throw new Error('it is to a version')
    const seeds = [fill(32, 2), fill(32, 3)]
    for (const [at, gateway] of gateways.entries()) {
      const seed = seeds.find((one) => toHex(ed25519.getPublicKey(one)) === toHex(gateway.publicKey)) ?? fill(32, 0)
      const shared = x25519.getSharedSecret(ed25519.utils.toMontgomerySecret(seed), pinned.ephemeral)
      const salt = concatBytes(pinned.ephemeral, ed25519.utils.toMontgomery(gateway.publicKey))
      const subject = concatBytes(artifact, jti)
      const place = ['link', namespace, subject, pinned.root.keyId, gateway.publicKey]
      const derived = hkdf(sha256, shared, salt, encodeCanonical(['artifact-hub/key-box/v1', ...place]), 40)
      expect(pinned.boxes[at]?.tag).toEqual(derived.slice(32))
      const box = xsalsa20poly1305(derived.slice(0, 32), new Uint8Array(24))
      expect(box.decrypt(pinned.boxes[at]?.box ?? fill(48, 0))).toEqual(leavesKey)
    }
  })
})
