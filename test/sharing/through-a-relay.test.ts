/**
 * DESIGN.md’s row "relay": two nodes that nobody can dial share by way of a relay that keeps every byte of every stream it has, passes connections on
 * to somebody else, or changes what goes through.
 */
import type { PeerId, Stream } from '@libp2p/interface'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { agentOf } from '../../node/network/agent-peer.ts'
import type { Libp2pNetwork } from '../../node/network/libp2p-network.ts'
import { artifactIdOf, equalBytes } from '../../src/encoding/index.ts'
import { joinNamespace } from '../../src/exchange/index.ts'
import { decodeEntry } from '../../src/log/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { scheduler } from '../hostile/hostile-peer.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

/** What of libp2p a relay that keeps no rules reaches into. */
interface Inside {
  readonly components: {
    readonly registrar: { getMiddleware(protocol: string): readonly Middleware[] }
    readonly connectionManager: { getConnections(peer?: PeerId): { readonly remotePeer: PeerId }[] }
  }
}
type Middleware = (stream: Watched, connection: object, next: (stream: Watched, connection: object) => void) => void
type Piece = Uint8Array | { subarray(): Uint8Array }
/** A stream, and how libp2p gives it what came. */
type Watched = Stream & { onData(piece: Piece): void; send(piece: Piece): boolean }

const bytesOf = (piece: Piece): Uint8Array => (piece instanceof Uint8Array ? piece : piece.subarray())

/** A relay of ours in other hands. */
class HostileRelay {
  readonly agent: LocalAgent
  readonly seen: Buffer[] = []
  /** Bytes of what passed through, each stream its own. */
  passed = 0
  isChanging = false
  /** Who is given the connections that are for another. */
  diverted: { readonly from: Uint8Array; readonly to: Uint8Array } | undefined

  constructor(agent: LocalAgent) {
    this.agent = agent
    const { registrar, connectionManager } = ((agent.network as Libp2pNetwork).libp2p as unknown as Inside).components
    registrar.getMiddleware = (protocol) => [
      (stream, connection, next) => {
        this.#watch(stream, protocol.startsWith('/libp2p/circuit/relay/'))
        next(stream, connection)
      },
    ]
    const connectionsOf = connectionManager.getConnections.bind(connectionManager)
    connectionManager.getConnections = (peer) => {
      const { from, to } = this.diverted ?? {}
      const isFor = (agentId: Uint8Array | undefined, one: PeerId | undefined) =>
        agentId !== undefined && one !== undefined && equalBytes(agentOf(one) ?? new Uint8Array(0), agentId)
      if (!isFor(from, peer)) return connectionsOf(peer)
      return connectionsOf().filter(({ remotePeer }) => isFor(to, remotePeer))
    }
  }

  get text(): string {
    return Buffer.concat(this.seen).toString('latin1')
  }

  #watch(stream: Watched, isPassedOn: boolean): void {
    const [take, send] = [stream.onData.bind(stream), stream.send.bind(stream)]
    stream.onData = (piece) => {
      const bytes = bytesOf(piece)
      this.seen.push(Buffer.from(bytes))
      if (isPassedOn) this.passed += bytes.length
      // What is longer than a greeting is of the two, and not to the relay.
      const isChanged = isPassedOn && this.isChanging && bytes.length > 200
      take(isChanged ? bytes.map((byte, at) => (at === bytes.length - 50 ? byte ^ 1 : byte)) : piece)
    }
    stream.send = (piece) => {
      this.seen.push(Buffer.from(bytesOf(piece)))
      return send(piece)
    }
  }
}

const agents = new LocalAgents()
let relay: HostileRelay
let alice: LocalAgent
let bob: LocalAgent
let mallory: LocalAgent

const raw = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const placeOf = async ({ network }: LocalAgent) =>
  await eventually(() => expect(network.addresses().some((one) => one.includes('/p2p-circuit'))).toBe(true))
const reachOf = (one: LocalAgent, other: LocalAgent) => one.network.reachability(other.id).state

beforeAll(async () => {
  relay = new HostileRelay(await agents.start({ relay: true }))
  const hidden = { listen: [], relays: relay.agent.network.addresses() }
  ;[alice, bob, mallory] = [await agents.start(hidden), await agents.start(hidden), await agents.start(hidden)]
  for (const one of [alice, bob, mallory]) await placeOf(one)
  await alice.client.agent.add({ name: 'what-alice-calls-bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'what-bob-calls-alice', ticket: await alice.client.agent.ticket() })
})

afterAll(async () => {
  await agents[Symbol.asyncDispose]()
})

/** Every key that an agent’s logs open, and what names what is in them. */
async function insideOf({ replication }: LocalAgent): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>()
  for (const { log } of replication.namespaces.everything) {
    found.set(`log ${found.size}`, log.id)
    for (const { id } of log.membership.epochs)
      found.set(`epoch ${found.size}`, log.keyring.epoch(id)?.secret ?? expect.fail('she has it'))
    for await (const { bytes } of log.held.all()) {
      const { header, hash } = decodeEntry(bytes)
      found.set(`entry ${found.size}`, hash)
      if (header.data === undefined) continue
      found.set(`salt ${found.size}`, header.data.artifactSalt)
      const artifact = artifactIdOf(log.id, header.data.artifactSalt)
      found.set(`artifact ${found.size}`, artifact)
      if (header.kind !== 'put' || header.keyId === undefined) continue
      found.set(`key ${found.size}`, (await log.artifactKeys.open(artifact, header.keyId)).secret)
    }
  }
  return found
}

test('who relays all that two agents share learns that they talk, and neither what nor by what keys', async () => {
  const data = Buffer.from('what only bob is to read, a good deal of it. '.repeat(3_000))
  const secret = { name: 'the-name-of-it.txt', contentType: 'text/x-very-special', metadata: { colour: 'ultramarine' } }
  const { id: artifactId } = await alice.client.artifact.create({ ...secret, data })
  const share = { artifactId, withAgents: ['what-alice-calls-bob'], message: 'between the two of us' }
  await alice.client.artifact.share(share)
  await eventually(async () => expect(await bob.client.artifact.listShared()).toMatchObject({ items: [secret] }))
  expect(Buffer.from(await bob.client.artifact.download({ artifactId }))).toEqual(data)
  const token = bob.replication.follows.followed()[0]?.capability.token ?? expect.fail('he follows it')
  const { id: group } = await alice.client.group.create({ name: 'the-name-of-the-group' })
  await alice.client.group.add({ group, agents: ['what-alice-calls-bob'] })
  await eventually(async () => expect(await bob.client.group.list()).toHaveLength(1))
  await alice.client.namespace.create({ name: 'the-name-of-the-namespace' })
  await alice.client.namespace.grant({ namespace: 'the-name-of-the-namespace', group, role: 'writer' })
  const note = { namespace: 'the-name-of-the-namespace', name: 'the-name-of-the-note', content: 'a-snippet-for-all' }
  const { id: noteId } = await alice.client.artifact.createSnippet(note)
  const noted = async () => Buffer.from(await bob.client.artifact.download({ artifactId: noteId })).toString()
  await eventually(async () => expect(await noted()).toBe(note.content))
  await alice.client.artifact.unshare({ artifactId, agents: ['what-alice-calls-bob'] })
  await eventually(() => failureOf(bob.client.artifact.get({ artifactId }), 'ACCESS_DENIED'))

  expect([reachOf(alice, bob), reachOf(bob, alice)]).toEqual(['relayed', 'relayed'])
  expect(relay.passed).toBeGreaterThan(data.length)
  // They say to the relay itself who they are and whom they want: the search finds what is there.
  const seen = relay.text
  for (const { id } of [alice, bob]) expect(seen.includes(raw(id))).toBe(true)
  const inside = await insideOf(alice)
  expect([...inside.keys()].filter((what) => /key|epoch/.test(what)).length).toBeGreaterThan(5)
  const words = new Map<string, string | Uint8Array>([
    ...inside,
    ...Object.entries({ name: secret.name, type: secret.contentType, metadata: 'ultramarine', token }),
    ...Object.entries({ content: data.subarray(0, 24), message: share.message, snippet: note.content }),
    ...Object.entries({ contacts: '-calls-', names: 'the-name-of-the-', artifactId, noteId, group }),
  ])
  expect(foundIn(seen, words)).toEqual([])

  // Nor is anything of it on its disk, nor is it given anything when it asks.
  const rows = await Array.fromAsync(relay.agent.env.store.entries({}))
  expect(foundIn(Buffer.concat(rows.flat()).toString('latin1'), words)).toEqual([])
  const { network } = relay.agent
  const asked = joinNamespace({
    ...{ network, scheduler, signal: new AbortController().signal },
    ...{ self: relay.agent.id, id: alice.namespace('personal').log.id, providers: [alice.peer] },
    create: () => expect.fail('it was given the beginning'),
  })
  await failureOf(asked, 'ACCESS_DENIED')
})

test('who changes what it relays breaks connections, and changes nothing for anybody', async () => {
  const data = Buffer.from('as it was written. '.repeat(20_000))
  const { id: artifactId } = await alice.client.artifact.create({ name: 'unchanged', data })
  await alice.client.artifact.share({ artifactId, withAgents: ['what-alice-calls-bob'] })
  await eventually(async () =>
    expect(await bob.client.artifact.listShared()).toMatchObject({ items: [{ id: artifactId }] }),
  )
  relay.isChanging = true
  const { details } = await failureOf(bob.client.artifact.download({ artifactId }), 'UNAVAILABLE')
  expect(details).toBeDefined()
  relay.isChanging = false
  await eventually(async () => expect(Buffer.from(await bob.client.artifact.download({ artifactId }))).toEqual(data))
})

test('who is given a connection that is for another cannot take it', async () => {
  relay.diverted = { from: bob.id, to: mallory.id }
  const carol = await agents.start({ listen: [], relays: relay.agent.network.addresses() })
  carol.network.addAddresses(bob.id, bob.network.addresses())
  const before = relay.passed
  await expect(carol.network.ping(bob.id)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(relay.passed).toBeGreaterThan(before)
  expect(reachOf(mallory, carol)).not.toBe('relayed')
  relay.diverted = undefined
  await eventually(() => carol.network.ping(bob.id))
})

function foundIn(text: string, words: ReadonlyMap<string, string | Uint8Array>): string[] {
  const isThere = (word: string | Uint8Array) => text.includes(typeof word === 'string' ? word : raw(word))
  return [...words].filter(([, word]) => isThere(word)).map(([what]) => what)
}
