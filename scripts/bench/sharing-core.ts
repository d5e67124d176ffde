import { randomBytes } from 'node:crypto'
import { LevelStore } from '../../node/disk/index.ts'
import { sealInline } from '../../src/content/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import {
  FollowedArtifacts,
  Namespace,
  type NamespaceEnvironment,
  Quota,
  writeFirstVersion,
  writeNextVersion,
} from '../../src/namespace/index.ts'
import type { NamespaceBlocks } from '../../src/storage/index.ts'
import type { Bench } from './section.ts'

/** Members that one batch adds to a group. */
const batchMembers = 1_000
/** Artifacts that one batch shares, or brings to whom they are shared with. */
const batchArtifacts = 100

/** Milliseconds to remove one member of a group of that size, with the epoch that follows for all others, durable. */
export async function rotateGroup({ workspace }: Bench, members: number): Promise<number> {
  const store = await LevelStore.open({ path: workspace.newPath('group') })
  const group = await Namespace.create(environment(store), () => [], { isGroup: true })
  const agents = Array.from({ length: members }, (_, at) => agentOf(`member ${at}`).publicKey)
  for (let at = 0; at < members; at += batchMembers)
    await group.members.grantAll({ agents: agents.slice(at, at + batchMembers), role: 'writer' })
  const startedMs = performance.now()
  await group.members.revokeAll({ agents: agents.slice(-1) })
  const ms = performance.now() - startedMs
  await group.close()
  await store.close()
  return ms
}

/** What opening the keys of shares takes. */
export interface OpeningTimes {
  /** Milliseconds to open the log and take in the capabilities, as at a start. */
  readonly openMs: number
  /** Milliseconds to open the key of each artifact, sealed to this agent. */
  readonly keysMs: number
}

/** Shares so many artifacts with one agent, brings them to a store of its own, and opens that anew. */
export async function openSealedKeys({ workspace }: Bench, artifacts: number): Promise<OpeningTimes> {
  const [store, theirStore] = [
    await LevelStore.open({ path: workspace.newPath('sharer') }),
    await LevelStore.open({ path: workspace.newPath('recipient') }),
  ]
  const ns = await Namespace.create(environment(store), () => [])
  const theirs = environment(theirStore)
  const audience = [{ kind: 'agent' as const, id: theirs.agent.publicKey }]
  const followed = new FollowedArtifacts()
  const genesis = (await ns.held.bytes(ns.id)) as Uint8Array
  const partial = await Namespace.join(theirs, ns.id, genesis, () => [], followed)
  const held: { artifact: Uint8Array; jti: Uint8Array; groups: Uint8Array[] }[] = []
  const keyIds: Uint8Array[] = []
  await partial.receive((await Array.fromAsync(ns.held.authEntries())).map(({ bytes }) => bytes))
  for (let at = 0; at < artifacts; at += batchArtifacts) {
    const ids = await Promise.all(Array.from({ length: batchArtifacts }, (_, of) => write(ns, `small ${at + of}`)))
    const shares = await Promise.all(ids.map((artifact) => ns.sharing.share({ artifact, audience })))
    const entries: Uint8Array[] = []
    for (const { claims } of shares.flat()) {
      followed.set(claims.artifact, 0)
      held.push({ artifact: claims.artifact, jti: claims.jti, groups: [] })
      const version = await ns.catalog.get(claims.artifact)
      if (version === undefined) throw new Error('it was just written')
      keyIds.push(version.root.keyId)
      for await (const { bytes } of ns.held.artifactEntries(claims.artifact, { share: claims.jti })) entries.push(bytes)
    }
    await partial.receive(entries)
  }
  await partial.holdCapabilities(held)
  await Promise.all([ns.close(), partial.close()])
  await store.close()
  const openMs = performance.now()
  const again = await Namespace.open(theirs, ns.id, followed)
  await again.holdCapabilities(held)
  const keysMs = performance.now()
  for (const [at, { artifact }] of held.entries()) await again.artifactKeys.open(artifact, keyIds[at] as Uint8Array)
  const endMs = performance.now()
  await again.close()
  await theirStore.close()
  return { openMs: keysMs - openMs, keysMs: endMs - keysMs }
}

/**
 * Milliseconds to share an artifact with so many agents at once, then with one more; to write its next version under the key in force; to take it back
 * from one; and to write the version after that, under a fresh key that is sealed to all others.
 */
export async function shareWithMany({ workspace }: Bench, agents: number) {
  const store = await LevelStore.open({ path: workspace.newPath('many') })
  const ns = await Namespace.create(environment(store), () => [])
  const artifact = await write(ns, 'report')
  const audience = Array.from({ length: agents + 1 }, (_, at) => ({
    kind: 'agent' as const,
    id: agentOf(`one of many ${at}`).publicKey,
  }))
  const times: number[] = []
  for (const work of [
    () => ns.sharing.share({ artifact, audience: audience.slice(1) }),
    () => ns.sharing.share({ artifact, audience: audience.slice(0, 1) }),
    () => update(ns, artifact),
    () => ns.sharing.unshare({ artifact, audience: audience.slice(0, 1) }),
    () => update(ns, artifact),
  ]) {
    const startedMs = performance.now()
    await work()
    times.push(performance.now() - startedMs)
  }
  await ns.close()
  await store.close()
  const [shareMs = 0, oneMoreMs = 0, updateMs = 0, unshareMs = 0, freshKeyMs = 0] = times
  return { shareMs, oneMoreMs, updateMs, unshareMs, freshKeyMs }
}

const noBlocks: NamespaceBlocks = {
  read: async () => undefined,
  readInto: async () => undefined,
  has: async (digests) => digests.map(() => false),
  openWriter: () => {
    throw new Error('nothing here is larger than an entry')
  },
}

function environment(store: LevelStore): NamespaceEnvironment {
  return {
    store,
    packs: async () => noBlocks,
    agent: new AgentKey(new Uint8Array(randomBytes(32))),
    incarnation: new Uint8Array(randomBytes(16)),
    clock: new HybridClock(Date.now),
    random: (length) => new Uint8Array(randomBytes(length)),
  }
}

function agentOf(name: string): AgentKey {
  const seed = new Uint8Array(32)
  seed.set(new TextEncoder().encode(name))
  return new AgentKey(seed)
}

function snippet(key: ReturnType<Namespace['artifactKeys']['fresh']>) {
  const { leaf, sha256, ...root } = sealInline(randomBytes(200), key.content)
  return { root: { ...root, inline: true, keyId: key.id }, sha256, leaf }
}

async function write(ns: Namespace, name: string): Promise<Uint8Array> {
  const salt = ns.env.random(16)
  const artifact = ns.artifactOf(salt)
  const key = ns.artifactKeys.fresh(artifact)
  await writeFirstVersion(ns, {
    handle: { artifact, salt, key },
    wrap: undefined,
    isNew: true,
    state: { name, contentType: 'text/plain', metadata: {} },
    content: snippet(key),
    quota: new Quota('enterprise', () => ns.totals.leafBytes),
    reservation: undefined,
    also: [],
  })
  return artifact
}

async function update(ns: Namespace, artifact: Uint8Array): Promise<void> {
  const current = await ns.catalog.get(artifact)
  if (current === undefined) throw new Error('it was just written')
  const handle = await ns.artifactKeys.handleOf(current)
  await writeNextVersion(ns, {
    handle,
    expectedVersion: undefined,
    restore: undefined,
    next: ({ state }) => ({ state, content: snippet(handle.key) }),
    quota: new Quota('enterprise', () => ns.totals.leafBytes),
    reservation: undefined,
    also: [],
  })
}
