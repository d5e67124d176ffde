import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { issuer, shareClaims } from '../capability/capability.test-helper.ts'
import { encodePresentation, signCapability } from '../capability/index.ts'
import { concatBytes, decodeCanonical, encodeCanonical, toHex } from '../encoding/index.ts'
import { type AskerFrame, decodeAskerFrame, encodeFrame, frameForm, type ServerFrame } from './frames.ts'
import { askDescriptor, serveGroups, tellDescriptor } from './group-protocol.ts'
import { askHolding, type HeldNamespace, serveHolding } from './holding.ts'
import { deliver, serveInbox } from './inbox.ts'
import type { PeerStream } from './peer-network.ts'
import type { AskOptions, QuestionServer } from './question.ts'
import { decodeSyncMessage, encodeSyncMessage, type SyncMessage } from './sync-codec.ts'
import { hintTopic, offerState, offerTag } from './sync-offer.ts'

// Everything here is fixed, so every byte is.
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const [namespace, artifact, root, group] = [fill(32, 1), fill(20, 2), fill(32, 3), fill(32, 4)]
const scheduler = new ManualScheduler()
const { signal } = new AbortController()

const syncMessages: Record<string, SyncMessage> = {
  hello: { type: 'hello', namespace, scope: { kind: 'namespace' }, hash: fill(32, 5), presentation: undefined },
  'hello-auth': { type: 'hello', namespace, scope: { kind: 'auth' }, hash: undefined, presentation: undefined },
  'hello-artifact': {
    type: 'hello',
    namespace,
    scope: { kind: 'artifact', artifact },
    hash: fill(32, 5),
    presentation: fill(9, 6),
  },
  denied: { type: 'denied', reason: undefined, evidence: [] },
  'denied-with-reason': { type: 'denied', reason: 'REVOKED', evidence: [fill(9, 7)] },
  vector: {
    type: 'vector',
    same: false,
    rows: [{ chain: fill(16, 8), seq: 300, hash: fill(32, 9) }],
    ids: [fill(16, 10)],
    wants: [fill(32, 11)],
    more: true,
  },
  entries: { type: 'entries', entries: [fill(9, 12), fill(3, 13)] },
  end: { type: 'end', hash: fill(32, 14) },
  done: { type: 'done', hash: fill(32, 15), stored: 7, unlinked: 1 },
  push: { type: 'push', namespace, entries: [fill(9, 12)] },
  offer: { type: 'offer', rows: [{ tag: fill(32, 16), state: fill(16, 17) }] },
  offered: { type: 'offered', same: [0, 2], unknown: [1] },
  names: { type: 'names', namespaces: [namespace] },
  claim: { type: 'claim', namespace, entries: [fill(9, 12)] },
  follow: {
    type: 'follow',
    namespace,
    authHash: fill(32, 18),
    rows: [
      { scope: { kind: 'artifact', artifact }, hash: fill(32, 19), presentation: fill(9, 6) },
      { scope: { kind: 'auth' }, hash: fill(32, 20), presentation: fill(3, 7) },
    ],
  },
  followed: { type: 'followed', same: true, differ: [0], denied: [1, 2] },
}

const content = { digest: root, codec: 0x70, sizeBytes: 5_000_000, storedBytes: 5_000_140 }
const request = { namespace, artifact, root: content, runs: [{ first: 3, count: 2 }], nodes: false }
const blockFrames: Record<string, AskerFrame | ServerFrame> = {
  request: { kind: 'request', request },
  'request-nodes': { kind: 'request', request: { ...request, runs: [{ first: 3, count: 0 }], nodes: true } },
  credit: { kind: 'credit', bytes: 0x20_0000 },
  present: { kind: 'present', presentation: fill(9, 6) },
  accept: { kind: 'accept' },
  refuse: { kind: 'refuse', code: 'ACCESS_DENIED', message: 'no' },
  node: { kind: 'node', bytes: fill(3, 7) },
  leaf: { kind: 'leaf', index: 258, bytes: fill(3, 8) },
  missing: { kind: 'missing', run: { first: 1, count: 64 } },
  end: { kind: 'end' },
}

const presentation = encodePresentation(signCapability(issuer, shareClaims).token, undefined)
const held: HeldNamespace = {
  roleOf: () => 'reader',
  rootOf: () => undefined,
  holds: async () => 'part',
  onMore: () => () => true,
}

/** Each question: its protocol, how it is asked, and who answers it. */
const questions: Record<
  string,
  {
    readonly protocol: string
    readonly ask: (options: AskOptions, agent: Uint8Array) => Promise<unknown>
    readonly serve: (network: MemoryPeer) => QuestionServer
  }
> = {
  holding: {
    protocol: '/artifact-hub/holding/1',
    ask: (options, agent) => askHolding(options, agent, { namespace, artifact, root, waitMs: 0 }),
    serve: (network) => serveHolding({ network, scheduler, self: network.agent, lookup: () => held }),
  },
  'holding-presented': {
    protocol: '/artifact-hub/holding/1',
    ask: (options, agent) => askHolding(options, agent, { namespace, artifact, root, waitMs: 0, presentation }),
    serve: (network) => serveHolding({ network, scheduler, self: network.agent, lookup: () => held }),
  },
  'group-ask': {
    protocol: '/artifact-hub/group/1',
    ask: (options, agent) => askDescriptor(options, agent, group),
    serve: (network) =>
      serveGroups({
        network,
        scheduler,
        shown: async () => ({ group, proof: [fill(9, 18), fill(3, 19)] }),
        told: async () => {},
      }),
  },
  'group-tell': {
    protocol: '/artifact-hub/group/1',
    ask: (options, agent) => tellDescriptor(options, agent, { group, proof: [fill(9, 18)] }),
    serve: (network) => serveGroups({ network, scheduler, shown: async () => undefined, told: async () => {} }),
  },
  'inbox-agent': {
    protocol: '/artifact-hub/inbox/1',
    ask: (options, agent) => deliver(options, agent, { envelopes: [fill(9, 20)], group: undefined, peers: [] }),
    serve: (network) => serveInbox({ network, scheduler, isKnown: () => true, receive: async () => ['taken'] }),
  },
  'inbox-group': {
    protocol: '/artifact-hub/inbox/1',
    ask: (options, agent) => {
      const peers = [{ agent: fill(32, 21), addresses: ['/ip4/192.0.2.1/tcp/4001'] }]
      return deliver(options, agent, { envelopes: [fill(9, 20), fill(3, 22)], group, peers })
    },
    serve: (network) =>
      serveInbox({ network, scheduler, isKnown: () => true, receive: async () => ['full', 'refused'] }),
  },
}

function pair(): { readonly asker: MemoryPeer; readonly server: MemoryPeer } {
  const network = new MemoryNetwork()
  const [asker, server] = [network.join(fill(32, 30)), network.join(fill(32, 31))]
  network.connect(asker, server)
  return { asker, server }
}

async function all(stream: PeerStream): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for (let piece = await stream.read(); piece !== undefined; piece = await stream.read()) pieces.push(piece)
  return concatBytes(...pieces)
}

/** What is sent for a question. */
async function sentFor(name: string): Promise<Uint8Array> {
  const { protocol, ask } = questions[name] ?? expect.fail('it is one of these')
  const { asker, server } = pair()
  const sent = Promise.withResolvers<Uint8Array>()
  server.handle(protocol, async (stream) => sent.resolve(await all(stream)))
  await expect(ask({ network: asker, scheduler, signal }, server.agent)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  return await sent.promise
}

/** What is answered to bytes, and what was held against who sent them. */
async function answerTo(name: string, bytes: Uint8Array): Promise<{ answer: Uint8Array; penalties: number }> {
  const { protocol, serve } = questions[name] ?? expect.fail('it is one of these')
  const { asker, server } = pair()
  await using _ = serve(server)
  const stream = await asker.open(server.agent, protocol)
  await stream.write(bytes)
  await stream.closeWrite()
  const answer = await all(stream).catch(() => new Uint8Array(0))
  stream.abort(new Error('done'))
  return { answer, penalties: server.penalties.length }
}

async function made(): Promise<Record<string, Record<string, string>>> {
  const framed = (frame: AskerFrame | ServerFrame) => toHex(concatBytes(...encodeFrame(frame)))
  const exchanged: Record<string, string> = {}
  for (const name of Object.keys(questions)) {
    const sent = await sentFor(name)
    exchanged[name] = toHex(sent)
    exchanged[`${name}-answer`] = toHex((await answerTo(name, sent)).answer)
  }
  const tag = offerTag(namespace, fill(32, 41), fill(32, 40))
  return {
    sync: Object.fromEntries(Object.entries(syncMessages).map(([name, one]) => [name, toHex(encodeSyncMessage(one))])),
    blocks: Object.fromEntries(Object.entries(blockFrames).map(([name, one]) => [name, framed(one)])),
    questions: exchanged,
    digests: {
      offerTag: toHex(tag),
      offerState: toHex(offerState(tag, fill(32, 42))),
      hintTopic: hintTopic(namespace),
    },
  }
}

async function frozen(): Promise<Record<string, Record<string, string>>> {
  const path = new URL('../../test/fixtures/protocol-v1.json', import.meta.url)
  return (JSON.parse(await readFile(path, 'utf8')) as { bytes: Record<string, Record<string, string>> }).bytes
}

const fromHex = (text = '') => new Uint8Array(Buffer.from(text, 'hex'))

/** A message in its frame (u32 length), with another version. */
function inVersion(frame: Uint8Array, v: number): Uint8Array {
  const message = decodeCanonical(frame.subarray(4), { maxBytes: 4_096, what: 'it' }) as object
  const payload = encodeCanonical({ ...message, v })
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, payload.length)
  return concatBytes(length, payload)
}

// v1, frozen: bytes that change here are another version, with a fixture of its own.
describe('what agents say to each other', () => {
  test('is the bytes of the frozen fixture', async () => {
    expect(await made()).toEqual(await frozen())
  })

  test('is read from what was frozen', async () => {
    const bytes = await frozen()
    for (const [name, message] of Object.entries(syncMessages)) {
      expect(decodeSyncMessage(fromHex(bytes.sync?.[name]))).toEqual(message)
    }
  })

  test.each([0, 2])('is refused in version %s', async (version) => {
    const unsupported = expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' })
    const bytes = await frozen()
    for (const name of ['hello', 'push', 'offer', 'claim', 'follow']) {
      const [type, , ...rest] = decodeCanonical(fromHex(bytes.sync?.[name]), { maxBytes: 999, what: 'it' }) as unknown[]
      expect(() => decodeSyncMessage(encodeCanonical([type, version, ...rest]))).toThrow(unsupported)
    }
    const body = fromHex(bytes.blocks?.request).slice(5)
    const { kind } = frameForm('asker', 1, 1 + body.length)
    const head = new DataView(new ArrayBuffer(0))
    expect(decodeAskerFrame({ kind, head, body })).toEqual(blockFrames.request)
    const fields = decodeCanonical(body, { maxBytes: 999, what: 'it' }) as object
    expect(() => decodeAskerFrame({ kind, head, body: encodeCanonical({ ...fields, v: version }) })).toThrow(
      unsupported,
    )
  })

  test.each(Object.keys(questions).flatMap((name) => [0, 2].map((version) => [name, version] as const)))(
    'as the question %s is refused in version %s, and so is the answer, and nobody is penalised',
    async (name, version) => {
      const sent = inVersion(await sentFor(name), version)
      expect(await answerTo(name, sent)).toEqual({ answer: new Uint8Array(0), penalties: 0 })
      const { protocol, ask } = questions[name] ?? expect.fail('it is one of these')
      const { asker, server } = pair()
      const { answer } = await answerTo(name, await sentFor(name))
      server.handle(protocol, async (stream) => {
        await stream.write(inVersion(answer, version))
        await stream.closeWrite()
      })
      const asking = ask({ network: asker, scheduler, signal }, server.agent)
      await expect(asking).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
    },
  )
})
