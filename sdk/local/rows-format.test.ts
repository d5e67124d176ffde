import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { latestClaims as claims, issuer } from '../../src/capability/capability.test-helper.ts'
import { signCapability } from '../../src/capability/index.ts'
import { concatBytes, decodeCanonical, encodeCanonical, toHex } from '../../src/encoding/index.ts'
import { loadBeside, loadNamespaceRows, putBeside, putNamespaceRow } from '../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../src/storage/index.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { loadEnding, putEnded } from './ended.ts'
import { Vouched } from './groups/vouched.ts'
import { loadLink, loadOwnGateway, putLink, putOwnGateway } from './links/rows.ts'
import { loadFollowRows, putFollowRow } from './replication/follow-rows.ts'
import { loadContacts, loadSettings, putContact, putSettings } from './replication/rows.ts'
import { Requests } from './sharing/requests.ts'

// Everything here is fixed, so every byte is.
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const peers = [{ agent: fill(32, 1), addresses: ['/ip4/192.0.2.1/tcp/4001'] }]
const capability = { claims, token: signCapability(issuer, claims).token }
const contact = { name: 'agent-a', agent: fill(32, 2), addresses: ['/ip4/192.0.2.1/tcp/4001'] }
const groupContact = { name: 'data-team', group: fill(32, 3), peers }
const settings = { policy: { fetch: 'lazy' as const, maxBytes: 1_000 }, peers }
const follow = {
  token: fill(40, 4),
  peers,
  ended: { reason: 'REVOKED', atMs: 1_800_000_000_000 },
  message: 'for May',
  by: fill(32, 20),
}
const place = { namespace: fill(32, 5), issuer: fill(32, 13), jti: fill(16, 6) }
const link = { capability, gateway: 'https://files.example.org' }
const request = {
  name: fill(16, 7),
  sender: fill(32, 8),
  envelope: fill(50, 9),
  peers,
  receivedMs: 1_800_000_000_000,
  by: fill(32, 20),
}
const groupRequest = { ...request, name: fill(16, 14), envelope: undefined, by: undefined, group: fill(32, 14) }
const ending = { reason: 'REMOVED' as const, by: fill(32, 15), atMs: 1_800_000_000_000, learnedMs: 1_800_000_000_001 }
const voucher = { by: fill(32, 16), group: fill(32, 17) }
const namespace = {
  kind: 'namespace' as const,
  id: fill(32, 10),
  name: 'default',
  plan: 'free' as const,
  owner: fill(32, 11),
  createdMs: 1_800_000_000_000,
}

async function changeOf(write: (store: MemoryKeyValueStore) => Promise<unknown>): Promise<KeyValueChange> {
  const store = new MemoryKeyValueStore()
  await write(store)
  for await (const [key, value] of store.entries({})) return { type: 'put', key, value }
  return expect.fail('it writes a row')
}

interface Row {
  /** Of the format; 1 if it does not say. */
  readonly version?: number
  readonly change: () => KeyValueChange | Promise<KeyValueChange>
  readonly load: (store: KeyValueStore) => Promise<unknown>
  readonly loaded: unknown
}

const rows: Record<string, Row> = {
  contact: { change: () => putContact(contact), load: loadContacts, loaded: [contact] },
  'contact-group': { change: () => putContact(groupContact), load: loadContacts, loaded: [groupContact] },
  settings: {
    change: () => putSettings(fill(32, 12), settings),
    load: loadSettings,
    loaded: [{ id: fill(32, 12), row: settings }],
  },
  follow: { version: 3, change: () => putFollowRow(place, follow), load: loadFollowRows, loaded: [follow] },
  link: { change: () => putLink(link), load: (store) => loadLink(store, claims.jti), loaded: link },
  gateway: { change: () => putOwnGateway(link.gateway), load: loadOwnGateway, loaded: link.gateway },
  request: {
    version: 2,
    change: () => changeOf(async (store) => await (await Requests.open(store)).add(request)),
    load: async (store) => await (await Requests.open(store)).list(),
    loaded: [request],
  },
  'request-group': {
    change: () => changeOf(async (store) => await (await Requests.open(store)).add(groupRequest)),
    load: async (store) => await (await Requests.open(store)).list(),
    loaded: [groupRequest],
  },
  ended: {
    change: () => putEnded(fill(32, 18), ending),
    load: (store) => loadEnding(store, fill(32, 18)),
    loaded: ending,
  },
  vouched: {
    change: () => changeOf(async (store) => await (await Vouched.open(store)).add(fill(32, 19), voucher)),
    load: async (store) => (await Vouched.open(store)).of(fill(32, 19)),
    loaded: voucher,
  },
  beside: {
    change: () => putBeside({ id: fill(32, 20), isGone: true }),
    load: loadBeside,
    loaded: [{ id: fill(32, 20), isGone: true }],
  },
  namespace: { change: () => putNamespaceRow(namespace), load: loadNamespaceRows, loaded: [namespace] },
}

async function rowOf(name: string): Promise<{ key: Uint8Array; value: Uint8Array }> {
  const change = await rows[name]?.change()
  return change?.type === 'put' ? change : expect.fail('it is one of these')
}

async function storeWith(key: Uint8Array, value: Uint8Array): Promise<KeyValueStore> {
  const store = new MemoryKeyValueStore()
  await store.batch([{ type: 'put', key, value }], { sync: true })
  return store
}

async function frozen(version: 1 | 2 | 3): Promise<Record<string, string>> {
  const path = new URL(`../../test/fixtures/node-rows-v${version}.json`, import.meta.url)
  return (JSON.parse(await readFile(path, 'utf8')) as { bytes: Record<string, string> }).bytes
}

// Frozen: bytes that change here are another version, with a fixture of its own.
describe('what a node remembers', () => {
  test('is the bytes of the frozen fixture', async () => {
    const made: Record<string, string> = {}
    for (const name of Object.keys(rows)) {
      const { key, value } = await rowOf(name)
      made[name] = `${toHex(key)}=${toHex(value)}`
    }
    expect(made).toEqual({ ...(await frozen(1)), ...(await frozen(2)), ...(await frozen(3)) })
  })

  test.each([
    ['follow', 1, { ended: { reason: 'REVOKED', atMs: 0 }, message: undefined, by: undefined }],
    ['follow', 2, { by: undefined }],
    ['request', 1, { by: undefined }],
  ] as const)('is read in former versions, in which less was said: %s %d', async (name, version, less) => {
    const row = (await frozen(version))[name] ?? expect.fail('it was frozen')
    const [key, value] = row.split('=').map((hex) => new Uint8Array(Buffer.from(hex, 'hex')))
    const known = rows[name] ?? expect.fail('it is one of these')
    const [now] = known.loaded as object[]
    expect(await known.load(await storeWith(key as Uint8Array, value as Uint8Array))).toEqual([{ ...now, ...less }])
  })

  test.each(Object.entries(rows))('is read as it was written: %s', async (name, { load, loaded }) => {
    const { key, value } = await rowOf(name)
    expect(await load(await storeWith(key, value))).toEqual(loaded)
  })

  test.each(Object.entries(rows))('is refused in another version: %s', async (name, { version = 1, load }) => {
    const { key, value } = await rowOf(name)
    const row = decodeCanonical(value, { maxBytes: 10_000, what: 'it' }) as object
    for (const v of [0, version + 1]) {
      const store = await storeWith(key, encodeCanonical({ ...row, v }))
      await expect(load(store)).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    }
    const cut = await storeWith(key, concatBytes(value, fill(1, 0)))
    await expect(load(cut)).rejects.toMatchObject({ code: 'CORRUPT' })
  })

  test('a contact keeps its name, with a byte order mark at its start too', async () => {
    const named = { ...contact, name: '\ufeffagent-a' }
    expect(await loadContacts(await stored(putContact(named)))).toEqual([named])
  })
})

async function stored(change: KeyValueChange): Promise<MemoryKeyValueStore> {
  const store = new MemoryKeyValueStore()
  await store.batch([change], { sync: true })
  return store
}
