import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { decodeEntry } from '../log/index.ts'
import { Namespace } from '../namespace/index.ts'
import { Replicator } from './replicator.ts'
import { joinNamespace } from './replicator-join.ts'
import { runSync, type SyncRunOptions, syncProtocol } from './sync-run.ts'
import { SyncService } from './sync-serve.ts'
import { RawStream } from './sync-world.test-helper.ts'

/** Real namespaces of several agents, whose nodes are connected. */
class Members {
  readonly scheduler = new ManualScheduler()
  readonly network: MemoryNetwork
  readonly peers = new Map<NamespaceNode, MemoryPeer>()

  constructor(pieceBytes: () => number = () => 64 * 1024) {
    this.network = new MemoryNetwork({ pieceBytes, windowBytes: 64 * 1024 })
  }

  peerOf(node: NamespaceNode): MemoryPeer {
    const found = this.peers.get(node)
    if (found !== undefined) return found
    const peer = this.network.join(node.id)
    for (const other of this.peers.values()) this.network.connect(peer, other)
    this.peers.set(node, peer)
    return peer
  }

  serve(node: NamespaceNode): SyncService {
    const network = this.peerOf(node)
    const lookup = (id: Uint8Array): Namespace | undefined => (equalBytes(id, node.ns.id) ? node.ns : undefined)
    return new SyncService({ network, scheduler: this.scheduler, self: node.id, lookup })
  }

  sync(from: NamespaceNode, to: NamespaceNode, more: Partial<SyncRunOptions> = {}) {
    const { scheduler } = this
    return scheduler.until(runSync({ network: this.peerOf(from), scheduler, log: from.ns, agent: to.id, ...more }))
  }

  join(
    node: NamespaceNode,
    id: Uint8Array,
    provider: Uint8Array | readonly Uint8Array[],
    onOpen: (ns: Namespace) => void = () => {},
  ) {
    const joining = joinNamespace({
      network: this.peerOf(node),
      scheduler: this.scheduler,
      self: node.id,
      id,
      providers: [provider].flat().map((agent) => ({ agent, addresses: [] })),
      create: async (genesis) => {
        await (await Namespace.join(node.env, id, genesis, () => [])).close()
        const { ns } = await node.open(id)
        onOpen(ns)
        return ns
      },
    })
    return this.scheduler.until(joining)
  }

  async pass(ms: number, stepMs: number): Promise<void> {
    for (let passed = 0; passed <= ms; passed += stepMs) {
      this.scheduler.advance(passed === 0 ? 0 : stepMs)
      for (let turn = 0; turn < 60; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    }
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** An owner and a reader, kept in step by replicators that hear no hints. */
async function replicatedWithoutHints(members: Members) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const reader = new NamespaceNode(2, time)
  await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
  const [one, two] = [owner, reader].map((node) => {
    const network = members.peerOf(node)
    network.hint = () => {}
    return new Replicator({ network, scheduler: members.scheduler, random: () => 0.5, self: node.id })
  }) as [Replicator, Replicator]
  one.follow(owner.ns)
  const { log } = await members.join(reader, owner.ns.id, owner.id)
  two.follow(log)
  await members.pass(100, 5)
  return {
    owner,
    reader,
    close: async () => {
      await Promise.all([one.close(), two.close()])
    },
  }
}

/** An owner, a writer, and an admin whose machine was copied: it removed the writer, who heard only what the copy wrote beside that. */
async function removedBesideBranch() {
  const members = new Members()
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const [admin, former] = [await new NamespaceNode(2, time).join(owner), await new NamespaceNode(3, time).join(owner)]
  await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
  await owner.ns.members.grant({ agent: former.id, role: 'writer' })
  await converge(owner, admin, former)
  const copy = await new NamespaceNode(2, time, { copyOf: admin }).open(owner.ns.id)
  await copy.write('beside')
  await converge(copy, former)
  await admin.ns.members.revoke({ agent: former.id })
  members.serve(former)
  const tipOf = ({ id }: NamespaceNode) =>
    owner.ns.held.vector().findLast(({ author }) => equalBytes(author, id))?.hash as Uint8Array
  return { members, owner, admin, former, tipOf }
}

describe('namespaces', () => {
  it('are joined by whoever was granted a role, who reads what is there; then nothing more moves', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const reader = new NamespaceNode(2, time)
    members.serve(owner)
    const first = await owner.write('written before')
    await expect(members.join(reader, owner.ns.id, owner.id)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const { outcome } = await members.join(reader, owner.ns.id, owner.id)
    expect(outcome).toMatchObject({ result: 'exchanged', sent: 0, unlinked: 0, lacking: 0 })
    expect(await reader.read(first)).toBe('written before')
    expect(await reader.names()).toEqual(['written before'])
    const round = await members.sync(reader, owner)
    expect(round.result).toBe('same')
    expect(round.sentBytes + round.receivedBytes).toBeLessThan(150)
    await until(() => members.network.openStreams === 0)
  })

  it('are joined in spite of one who has no role there any more and gives the beginning alone', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const [former, reader] = [new NamespaceNode(2, time), new NamespaceNode(3, time)]
    members.serve(owner)
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const genesis = (await owner.ns.held.bytes(owner.ns.id)) as Uint8Array
    const rounds: string[] = []
    members.peerOf(former).handle(syncProtocol, async (stream) => {
      const raw = new RawStream(stream)
      const hello = await raw.receive()
      rounds.push(hello?.type === 'hello' && hello.hash === undefined ? 'beginning' : 'round')
      if (rounds.at(-1) === 'beginning') return await raw.send({ type: 'entries', entries: [genesis] })
      await raw.send({ type: 'vector', same: false, rows: [], ids: [], wants: [], more: false })
      await raw.receive()
      await raw.send({ type: 'end', hash: new Uint8Array(32) })
      while ((await raw.receive())?.type !== 'end') {}
      await raw.send({ type: 'done', hash: new Uint8Array(32), stored: 0, unlinked: 0 })
    })
    await members.join(reader, owner.ns.id, [former.id, owner.id])
    expect(rounds).toEqual(['beginning', 'round'])
    expect(reader.ns.roleOf(reader.id)).toBe('reader')
  })

  it('are readable while they come: a newcomer has the keys ahead of a long log', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const reader = new NamespaceNode(2, time)
    members.serve(owner)
    for (let number = 0; number < 600; number++) await owner.write(`number ${number} of ${'many '.repeat(100)}`)
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    const listed: number[] = []
    const { outcome } = await members.join(reader, owner.ns.id, owner.id, (ns) => {
      const receive = ns.receive.bind(ns)
      ns.receive = async (batch, options) => {
        const received = await receive(batch, options)
        listed.push((await ns.catalog.list({ limit: 1 })).items.length)
        return received
      }
    })
    expect(outcome).toMatchObject({ result: 'exchanged', unlinked: 0, lacking: 0 })
    expect(listed.length).toBeGreaterThan(2)
    expect(listed).toEqual(listed.map(() => 1))
    expect(await members.sync(reader, owner)).toMatchObject({ result: 'same' })
  })

  it('serve a removed member nothing, not even that they exist', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const writer = new NamespaceNode(2, time)
    const service = members.serve(owner)
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await members.join(writer, owner.ns.id, owner.id)
    await owner.ns.members.revoke({ agent: writer.id })
    await writer.write('too late')
    const { entries } = owner.ns.totals
    expect(await members.sync(writer, owner)).toMatchObject({ result: 'denied', sent: 0, stored: 0 })
    expect(owner.ns.totals.entries).toBe(entries)
    expect(service.counters.denied).toBe(1)
  })

  it('tell a removed member nothing of what came since, whatever it claims to have', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const former = new NamespaceNode(2, time)
    members.serve(owner)
    await owner.ns.members.grant({ agent: former.id, role: 'reader' })
    await members.join(former, owner.ns.id, owner.id)
    const known = [...former.ns.held.vector()]
    await owner.ns.members.revoke({ agent: former.id })
    const revoke = toHex(owner.ns.membership.endingsOf(former.id)[0]?.revoke as Uint8Array)
    await owner.write('not for it')
    const since = toHex((owner.ns.held.vector()[0] as { hash: Uint8Array }).hash)
    const told: string[] = []
    const sent: string[] = []
    members.peerOf(former).handle(syncProtocol, async (stream) => {
      const raw = new RawStream(stream)
      await raw.receive()
      const rows = known.map(({ chain }) => ({ chain, seq: 2 ** 40, hash: new Uint8Array(32).fill(7) }))
      await raw.send({ type: 'vector', same: false, rows, ids: [], wants: [], more: false })
      const answer = await raw.receive()
      if (answer?.type === 'vector') told.push(...answer.rows.map(({ hash }) => toHex(hash)))
      // What it has is not what it claimed to have.
      await raw.send({ type: 'entries', entries: await Array.fromAsync(former.ns.held.entriesBeyond([])) })
      await raw.send({ type: 'end', hash: new Uint8Array(32) })
      let more = await raw.receive()
      for (; more?.type === 'entries'; more = await raw.receive()) {
        sent.push(...more.entries.map((bytes) => toHex(decodeEntry(bytes).hash)))
      }
      await raw.send({ type: 'done', hash: new Uint8Array(32), stored: 0, unlinked: 0 })
      await stream.close()
    })
    const outcome = await members.sync(owner, former)
    expect(outcome).toMatchObject({ result: 'exchanged', stored: 0 })
    expect(told).toHaveLength(known.length)
    expect(told).not.toContain(since)
    // But that it was removed, and by whom.
    expect(sent.at(-1)).toBe(revoke)
    expect(sent).not.toContain(since)
  })

  it('tell a removed member so that holds another branch of the chain in which it was removed: by what names the one', async () => {
    const { members, owner, admin, former, tipOf } = await removedBesideBranch()
    await converge(owner, admin)
    await owner.write('between')
    const between = tipOf(owner)
    await owner.ns.members.revoke({ agent: admin.id })
    await owner.write('after')
    const after = tipOf(owner)
    expect([owner, former].map(({ ns }) => ns.roleOf(former.id))).toEqual([undefined, 'writer'])
    await members.sync(owner, former)
    expect(former.ns.roleOf(former.id)).toBeUndefined()
    expect(former.ns.membership.endingsOf(former.id)).toMatchObject([{ author: admin.id, role: 'writer' }])
    // What stands before that, of what came since, without what it says.
    expect((await owner.ns.held.entry(between))?.body).toBeDefined()
    expect(await former.ns.held.entry(between)).toMatchObject({ body: undefined, leaf: undefined })
    expect(await former.ns.held.has(after)).toBe(false)
  })

  it('tell a member so that is removed by an adopt, for that names the branch on which it was removed', async () => {
    const { members, owner, admin, former, tipOf } = await removedBesideBranch()
    await converge(owner, admin)
    const removal = tipOf(admin)
    await converge(owner, admin, former)
    expect(owner.ns.roleOf(former.id)).toBe('writer')
    await owner.ns.members.adopt({ hash: removal })
    expect(owner.ns.roleOf(former.id)).toBeUndefined()
    await members.sync(owner, former)
    expect(former.ns.roleOf(former.id)).toBeUndefined()
  })

  it('are sent on to nobody who is removed meanwhile, by who began the round either', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const reader = new NamespaceNode(2, time)
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    for (let at = 0; at < 200; at++) await owner.write(`number ${at} ${'x'.repeat(4_000)}`)
    const sent: string[] = []
    let since = ''
    members.peerOf(reader).handle(syncProtocol, async (stream) => {
      const raw = new RawStream(stream)
      await raw.receive()
      await raw.send({ type: 'vector', same: false, rows: [], ids: [], wants: [], more: false })
      await raw.receive()
      await raw.send({ type: 'end', hash: new Uint8Array(32) })
      for (let more = await raw.receive(); more?.type === 'entries'; more = await raw.receive()) {
        sent.push(...more.entries.map((bytes) => toHex(decodeEntry(bytes).hash)))
        if (since !== '') continue
        await owner.ns.members.revoke({ agent: reader.id })
        await owner.write('not for it')
        since = toHex((owner.ns.held.vector()[0] as { hash: Uint8Array }).hash)
      }
    })
    await expect(members.sync(owner, reader)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    expect(sent.length).toBeGreaterThan(10)
    expect(sent.length).toBeLessThan(100)
    expect(sent).not.toContain(since)
  })

  it('are served on to nobody who is removed meanwhile', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const reader = new NamespaceNode(2, time)
    members.serve(owner)
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    for (let at = 0; at < 200; at++) await owner.write(`number ${at} ${'x'.repeat(4_000)}`)
    const raw = new RawStream(await members.peerOf(reader).open(owner.id, syncProtocol))
    const scope = { kind: 'namespace' } as const
    await raw.send({ type: 'hello', namespace: owner.ns.id, scope, hash: new Uint8Array(32), presentation: undefined })
    expect(await raw.receive()).toMatchObject({ type: 'vector', same: false })
    await raw.send({ type: 'vector', same: false, rows: [], ids: [], wants: [], more: false })
    expect(await raw.receive()).toMatchObject({ type: 'entries' })
    await owner.ns.members.revoke({ agent: reader.id })
    await owner.write('not for it')
    let frames = 0
    const rest = (async () => {
      for (; (await raw.receive())?.type === 'entries'; frames++) {}
    })()
    await expect(rest).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    // Of 64 KiB each: what was on its way already.
    expect(frames).toBeLessThan(4)
  })

  it('are brought up by a member whom they do not know yet, from where they are', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const [behind, newcomer] = [new NamespaceNode(2, time), new NamespaceNode(3, time)]
    members.serve(owner)
    await owner.ns.members.grant({ agent: behind.id, role: 'reader' })
    for (let at = 0; at < 20; at++) await owner.write(`before ${at}`)
    await members.join(behind, owner.ns.id, owner.id)
    await owner.ns.members.grant({ agent: newcomer.id, role: 'reader' })
    await owner.write('after')
    await members.join(newcomer, owner.ns.id, owner.id)
    members.serve(newcomer)
    const outcome = await members.sync(behind, newcomer)
    expect(outcome).toMatchObject({ result: 'exchanged', stored: 2, known: 0, sent: 0 })
    expect(behind.ns.roleOf(newcomer.id)).toBe('reader')
    expect(toHex(behind.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
  })

  it('bring one artifact alone, and all that says who may do what', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const replica = new NamespaceNode(2, time)
    members.serve(owner)
    await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
    await members.join(replica, owner.ns.id, owner.id)
    const wanted = await owner.write('wanted')
    await owner.write('other')
    const scope = { kind: 'artifact', artifact: wanted } as const
    const outcome = await members.sync(replica, owner, { scope })
    expect(outcome).toMatchObject({ result: 'exchanged', stored: 1 })
    expect(await Array.fromAsync(replica.ns.held.artifactEntries(wanted))).toHaveLength(1)
    expect(await members.sync(replica, owner, { scope })).toMatchObject({ result: 'same' })
  })

  it('end alike whatever was written by whom and wherever rounds were cut, copies of one machine included', async () => {
    const steps = fc.array(
      fc.record({
        action: fc.constantFrom('write', 'write', 'update', 'delete', 'revoke', 'sync', 'sync', 'sync'),
        from: fc.nat(3),
        to: fc.nat(3),
        cutAfter: fc.option(fc.integer({ min: 1, max: 25 }), { nil: undefined }),
      }),
      { maxLength: 16 },
    )
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 50, max: 4_000 }), async (plan, pieceBytes) => {
        let readsLeft: number | undefined
        let cut = (): void => {}
        const members = new Members(() => {
          if (readsLeft !== undefined && --readsLeft === 0) cut()
          return pieceBytes
        })
        const time = new TestTime()
        const owner = await new NamespaceNode(1, time).create()
        const others = [new NamespaceNode(2, time), new NamespaceNode(3, time)]
        members.serve(owner)
        for (const node of others) {
          await owner.ns.members.grant({ agent: node.id, role: 'writer' })
          await members.join(node, owner.ns.id, owner.id)
          members.serve(node)
        }
        const nodes = [owner, ...others]
        // The last step of the first writer is made twice: on its machine, and on a restored copy of it that is heard by one node.
        const [forker] = others as [NamespaceNode]
        const copy = await new NamespaceNode(2, time, { copyOf: forker }).open(forker.ns.id)
        await copy.write('of the copy')
        await forker.write('of the machine')
        await others[1]?.pull(copy)
        for (const { action, from, to, cutAfter } of plan) {
          const [one, two] = [nodes[from % 3], nodes[to % 3]] as [NamespaceNode, NamespaceNode]
          const refused = (error: { code: string }): void => {
            expect(error.code).toMatch(/ACCESS_DENIED|NOT_FOUND/)
          }
          const { items } = await one.ns.catalog.list({ limit: 10 })
          const artifact = items[to % Math.max(1, items.length)]?.artifact
          if (action === 'write') await one.write(`${from}-${time.nowMs}`).catch(refused)
          if (action === 'update' && artifact) await one.update(artifact, `${time.nowMs}`).catch(refused)
          if (action === 'delete' && artifact) await one.delete(artifact).catch(refused)
          if (action === 'revoke' && cutAfter === 7) await owner.ns.members.revoke({ agent: two.id }).catch(() => {})
          if (action !== 'sync' || one === two) continue
          const [here, there] = [members.peerOf(one), members.peerOf(two)]
          readsLeft = cutAfter
          cut = () => members.network.disconnect(here, there)
          await members.sync(one, two).catch(({ code }) => expect(code).toMatch(/UNAVAILABLE|ACCESS_DENIED/))
          readsLeft = undefined
          members.network.connect(here, there)
        }
        const left = nodes.filter(({ id }) => owner.ns.roleOf(id) !== undefined)
        for (let turn = 0; turn < 4; turn++) {
          for (const one of left) for (const two of left) if (one !== two) await members.sync(one, two)
        }
        for (const node of left) {
          expect(toHex(node.ns.held.vectorHash)).toBe(toHex(owner.ns.held.vectorHash))
          expect(await node.names()).toEqual(await owner.names())
          expect(members.peerOf(node).penalties).toEqual([])
        }
      }),
      { numRuns: 15 },
    )
  })

  it('are kept in step by replicators: told of a grant, joined, written to from both sides, and closed to who was removed', async () => {
    const members = new Members()
    const time = new TestTime()
    const owner = await new NamespaceNode(1, time).create()
    const writer = new NamespaceNode(2, time)
    const reader = new NamespaceNode(3, time)
    const invited: Uint8Array[] = []
    const replicate = (node: NamespaceNode) =>
      new Replicator({
        network: members.peerOf(node),
        scheduler: members.scheduler,
        random: () => 0.5,
        self: node.id,
        onInvited: (namespace) => invited.push(namespace),
      })
    const [one, two, three] = [replicate(owner), replicate(writer), replicate(reader)] as const
    one.follow(owner.ns)
    await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
    await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
    await members.pass(20, 5)
    expect(invited.map(toHex)).toEqual([toHex(owner.ns.id), toHex(owner.ns.id)])
    for (const [node, replicator] of [
      [writer, two],
      [reader, three],
    ] as const) {
      const { log } = await members.join(node, owner.ns.id, owner.id)
      replicator.follow(log)
    }
    await members.pass(100, 5)
    const artifact = await writer.write('from the writer')
    await until(
      () =>
        owner.ns.totals.entries === writer.ns.totals.entries && reader.ns.totals.entries === writer.ns.totals.entries,
    )
    expect(await reader.read(artifact)).toBe('from the writer')
    await owner.update(artifact, 'from the owner')
    await until(() => writer.ns.totals.entries === owner.ns.totals.entries)
    expect(await writer.read(artifact)).toBe('from the owner')
    await owner.ns.members.revoke({ agent: reader.id })
    await owner.write('not for the reader')
    await members.pass(1_000, 10)
    // It is told so at once, and no more.
    expect(reader.ns.roleOf(reader.id)).toBeUndefined()
    expect(reader.ns.membership.endingsOf(reader.id)).toMatchObject([{ author: owner.id, role: 'reader' }])
    expect(reader.ns.totals.entries).toBe(writer.ns.totals.entries - 2)
    expect(await writer.names()).toHaveLength(2)
    expect(await reader.names()).toHaveLength(1)
    await Promise.all([one.close(), two.close(), three.close()])
    expect(members.network.openStreams).toBe(0)
    expect(members.scheduler.pending).toBe(0)
  })

  it('tell a member that is removed so at once, though it asks for nothing and hears no hint', async () => {
    const members = new Members()
    const { owner, reader, close } = await replicatedWithoutHints(members)
    await owner.ns.members.revoke({ agent: reader.id })
    await members.pass(100, 5)
    expect(reader.ns.roleOf(reader.id)).toBeUndefined()
    expect(reader.ns.membership.endingsOf(reader.id)).toMatchObject([{ author: owner.id, role: 'reader' }])
    await close()
  })

  it('tell a member so at once that is removed while a round with it is under way', async () => {
    const members = new Members()
    const { owner, reader, close } = await replicatedWithoutHints(members)
    const network = members.peerOf(owner)
    const open = network.open.bind(network)
    const answer = Promise.withResolvers<void>()
    let asked = 0
    network.open = async (...what) => {
      const stream = await open(...what)
      const read = stream.read.bind(stream)
      asked += 1
      stream.read = async (how) => {
        const bytes = await read(how)
        await answer.promise
        return bytes
      }
      return stream
    }
    // In its turn it is asked what is new, and what it answers is still on its way.
    for (let seconds = 0; asked === 0 && seconds < 60; seconds++) await members.pass(1_000, 100)
    await owner.ns.members.revoke({ agent: reader.id })
    await members.pass(100, 5)
    expect([asked, reader.ns.roleOf(reader.id)]).toEqual([1, 'reader'])
    answer.resolve()
    await members.pass(100, 5)
    expect(reader.ns.roleOf(reader.id)).toBeUndefined()
    await close()
  })
})
