import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { type Capability, decodeEnvelope, encodePresentation } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { FollowedArtifacts, Namespace } from '../namespace/index.ts'
import { type FollowBatchOutcome, runFollowBatch } from './follow-batch.ts'
import { runFollowRound } from './follow-round.ts'
import type { SyncServiceOptions } from './served-stream.ts'
import type { SyncScope } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { onStream } from './sync-run.ts'
import { SyncService } from './sync-serve.ts'
import type { SyncStream } from './sync-stream.ts'

/** An owner and a writer who serve their namespace, and agents who are no members of it. */
export class World {
  readonly time = new TestTime()
  readonly scheduler = new ManualScheduler()
  readonly network = new MemoryNetwork()
  readonly owner = new NamespaceNode(1, this.time)
  readonly writer = new NamespaceNode(2, this.time)
  readonly outside = new NamespaceNode(3, this.time)
  readonly other = new NamespaceNode(4, this.time)
  readonly #peers = new Map<NamespaceNode, MemoryPeer>()

  static async make(): Promise<World> {
    const world = new World()
    await world.owner.create()
    await world.writer.join(world.owner)
    await world.owner.ns.members.grant({ agent: world.writer.id, role: 'writer' })
    await world.writer.pull(world.owner)
    for (const node of [world.owner, world.writer, world.outside, world.other]) world.peerOf(node)
    world.scheduler.advance(world.time.nowMs - world.scheduler.now())
    return world
  }

  peerOf(node: NamespaceNode): MemoryPeer {
    const found = this.#peers.get(node)
    if (found !== undefined) return found
    const peer = this.network.join(node.id)
    for (const one of this.#peers.values()) this.network.connect(peer, one)
    this.#peers.set(node, peer)
    return peer
  }

  serve(
    node: NamespaceNode,
    log: ReplicatedLog = node.ns,
    told: Pick<SyncServiceOptions, 'onFollowed' | 'onAnswered'> = {},
  ): SyncService {
    const lookup = (id: Uint8Array) => (equalBytes(id, log.id) ? log : undefined)
    const network = this.peerOf(node)
    return new SyncService({ network, scheduler: this.scheduler, self: node.id, lookup, ...told })
  }

  async share(
    artifact: Uint8Array,
    {
      by = this.owner,
      to = this.outside,
      ...terms
    }: { by?: NamespaceNode; to?: NamespaceNode; expiresIn?: number; fromNow?: boolean } = {},
  ): Promise<Capability> {
    const [share] = await by.ns.sharing.share({ artifact, audience: [{ kind: 'agent', id: to.id }], ...terms })
    const envelope = share && (await by.ns.sharing.envelopeOf(share))
    if (envelope === undefined) throw new Error('it was shared already')
    return decodeEnvelope(envelope).capability
  }

  async partial(node: NamespaceNode, ...followed: readonly Uint8Array[]): Promise<Namespace> {
    const artifacts = new FollowedArtifacts()
    for (const artifact of followed) artifacts.set(artifact, 0)
    const { ns } = this.owner
    return await Namespace.join(node.env, ns.id, (await ns.held.bytes(ns.id)) as Uint8Array, () => [], artifacts)
  }

  /** A round of an agent that shows a capability: by default about its artifact, with the owner. */
  async ask(
    log: ReplicatedLog,
    capability: Capability,
    more: { as?: NamespaceNode; to?: NamespaceNode; scope?: SyncScope } = {},
  ) {
    const { as = this.outside, to = this.owner } = more
    const { claims, token } = capability
    const scope = more.scope ?? { kind: 'artifact' as const, artifact: claims.artifact }
    const presentation = encodePresentation(token, undefined)
    const round = onStream({ network: this.peerOf(as), scheduler: this.scheduler, agent: to.id }, (stream) =>
      runFollowRound(stream, { log, scope, claims, presentation }),
    )
    return await this.scheduler.until(round)
  }

  /** A round of an agent that shows capabilities, about the artifact of each; gives the bytes of its frames too. */
  async askAll(
    log: ReplicatedLog,
    capabilities: readonly Capability[],
    { as = this.outside, to = this.owner, about }: { as?: NamespaceNode; to?: NamespaceNode; about?: Uint8Array } = {},
  ): Promise<FollowBatchOutcome & SyncStream['traffic']> {
    const items = capabilities.map(({ claims, token }) => ({
      scope: { kind: 'artifact' as const, artifact: about ?? claims.artifact },
      claims,
      presentation: encodePresentation(token, undefined),
    }))
    const round = onStream({ network: this.peerOf(as), scheduler: this.scheduler, agent: to.id }, async (stream) => ({
      ...(await runFollowBatch(stream, log, items)),
      ...stream.traffic,
    }))
    return await this.scheduler.until(round)
  }
}
