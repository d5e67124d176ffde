import { readFile } from 'node:fs/promises'
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { scrypt } from '@noble/hashes/scrypt.js'
import { concatBytes } from '@noble/hashes/utils.js'
import { describe, expect, it } from 'vitest'
import { decodeCanonical, encodeCanonical, toHex } from '../encoding/index.ts'
import { signingDomains } from './domains.ts'
import { AgentKey, decodeIdentityFile, encodeIdentityFile, formatTicket, parseTicket, type Ticket } from './index.ts'

// Everything here is fixed, so every byte is.
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const seed = fill(32, 1)
const salt = fill(32, 2)
const passphrase = 'correct horse'
const statement = fill(20, 3)
const agent = new AgentKey(seed)
const tickets: Record<string, Ticket> = {
  'ticket-of-agent': { kind: 'agent', id: agent.publicKey, peers: [], name: undefined },
  'ticket-of-group': { kind: 'group', id: fill(32, 4), peers: [{ agent: agent.publicKey, addresses: [] }], name: 'g' },
  'ticket-of-namespace': {
    kind: 'namespace',
    id: fill(32, 5),
    peers: [{ agent: agent.publicKey, addresses: ['/ip4/192.0.2.1/tcp/4001', '/dns4/example.org/tcp/443/tls/ws'] }],
    name: 'Entwürfe',
  },
}

async function made(): Promise<Record<string, string>> {
  const signatures = signingDomains.map((kind) => [`signature-of-${kind}`, toHex(agent.sign(kind, statement))])
  return {
    did: agent.did,
    ...Object.fromEntries(signatures),
    'identity-file': toHex(await encodeIdentityFile(seed, undefined, salt)),
    'identity-file-with-passphrase': toHex(await encodeIdentityFile(seed, passphrase, salt)),
    ...Object.fromEntries(Object.entries(tickets).map(([name, ticket]) => [name, formatTicket(ticket)])),
  }
}

async function frozen(): Promise<Record<string, string>> {
  const path = new URL('../../test/fixtures/identity-v1.json', import.meta.url)
  return (JSON.parse(await readFile(path, 'utf8')) as { bytes: Record<string, string> }).bytes
}

const fromHex = (text = '') => new Uint8Array(Buffer.from(text, 'hex'))

// v1, frozen: bytes that change here are another version, with a fixture of its own.
describe('the formats of identities and tickets', () => {
  it('are the bytes of the frozen fixture', async () => {
    expect(await made()).toEqual(await frozen())
  })

  it('are read from what was frozen', async () => {
    const bytes = await frozen()
    expect(await decodeIdentityFile(fromHex(bytes['identity-file']), undefined)).toEqual(seed)
    expect(await decodeIdentityFile(fromHex(bytes['identity-file-with-passphrase']), passphrase)).toEqual(seed)
    for (const [name, ticket] of Object.entries(tickets)) expect(parseTicket(bytes[name] ?? '')).toEqual(ticket)
  })

  it('have the signatures and the box of a second implementation', async () => {
    const bytes = await frozen()
    for (const kind of signingDomains) {
      const signed = concatBytes(new TextEncoder().encode(`artifact-hub/${kind}/v1\0`), statement)
      expect(fromHex(bytes[`signature-of-${kind}`])).toEqual(ed25519.sign(signed, seed))
    }
    const key = scrypt(passphrase, salt, { N: 2 ** 17, r: 8, p: 1, dkLen: 32, maxmem: 2 ** 28 })
    const file = { v: 1, kdf: 'scrypt', log2N: 17, r: 8, p: 1, salt }
    const box = xsalsa20poly1305(key, fill(24, 0)).encrypt(seed)
    expect(fromHex(bytes['identity-file-with-passphrase'])).toEqual(encodeCanonical({ ...file, box }))
  })

  it.each([0, 2])('of version %s are refused', async (v) => {
    const bytes = await frozen()
    for (const name of ['identity-file', 'identity-file-with-passphrase']) {
      const file = decodeCanonical(fromHex(bytes[name]), { maxBytes: 1_024, what: 'it' }) as object
      const reading = decodeIdentityFile(encodeCanonical({ ...file, v }), passphrase)
      await expect(reading).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    }
  })
})
