import { randomBytes } from 'node:crypto'
import { LevelStore } from '../../node/disk/index.ts'
import { sealInline } from '../../src/content/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import {
  Namespace,
  type NamespaceEnvironment,
  Quota,
  writeFirstVersion,
  writeNextVersion,
} from '../../src/namespace/index.ts'
import type { ArtifactKey } from '../../src/sharing/index.ts'
import type { NamespaceBlocks } from '../../src/storage/index.ts'
import { alone, atMost, type Figure, type Target, type Unit } from './figures.ts'
import type { Section } from './section.ts'

const samples = 100
/** Shares in the namespace, of as many artifacts. */
const manyShares = 10_000
/** Agents that one artifact is shared with. */
const manyAgents = 1_000

/** What shares cost at a namespace on a disk, every write synced; nothing is sent. */
export const shares: Section = {
  name: 'shares',
  run: async ({ workspace, say }) => {
    const found = new Map<string, { unit: Unit; target: Target | undefined; runs: number[] }>()
    const timed = async <T>(what: string, target: Target | undefined, work: () => Promise<T>): Promise<T> => {
      const figure = found.get(what) ?? { unit: 'ms' as const, target, runs: [] }
      found.set(what, figure)
      const startedMs = performance.now()
      const result = await work()
      figure.runs.push(performance.now() - startedMs)
      return result
    }
    const store = await LevelStore.open({ path: workspace.newPath('shares') })
    const env = environment(store)
    const ns = await Namespace.create(env, () => [])
    const artifact = await write(ns, 'report')
    for (let at = 0; at < samples; at++) {
      const audience = [agent(`one at a time ${at}`)]
      await timed('share with 1 agent', atMost(15, 'ms'), () => ns.share({ artifact, audience }))
      await timed('update under the key in force', undefined, () => update(ns, artifact))
      await timed('unshare', atMost(15, 'ms'), () => ns.unshare({ artifact, audience }))
      await timed('update under a fresh key', undefined, () => update(ns, artifact))
    }
    say(`shares: ${samples} of one artifact`)
    const audience = Array.from({ length: manyAgents }, (_, at) => agent(`many ${at}`))
    await timed(`share with ${manyAgents} agents`, undefined, () => ns.share({ artifact, audience }))
    await timed('update of what is shared with them', undefined, () => update(ns, artifact))
    await ns.unshare({ artifact, audience: audience.slice(0, 1) })
    await timed('update of what is shared with them, a fresh key', undefined, () => update(ns, artifact))
    for (let at = 0; at < manyShares; at += 100) {
      const some = await Promise.all(Array.from({ length: 100 }, (_, of) => write(ns, `artifact ${at + of}`)))
      await Promise.all(some.map((one) => ns.share({ artifact: one, audience: [agent('of many')] })))
    }
    say(`shares: ${manyShares} artifacts shared`)
    await ns.close()
    const again = await timed('open the namespace again', undefined, () => Namespace.open(env, ns.id))
    const all = `open ${manyShares.toLocaleString('en-US')} shares`
    await timed(all, atMost(1_500, 'ms'), () => Array.fromAsync(again.allShares()))
    await timed(`${all}, again`, undefined, () => Array.fromAsync(again.allShares()))
    for (let at = 0; at < samples; at++) {
      await timed('who has an artifact, of 1,000 agents', undefined, () => again.sharesOf(artifact))
      await timed(
        'update of what nobody else has',
        undefined,
        async () => await update(again, await write(again, `${at}`)),
      )
    }
    await again.close()
    await store.close()
    const figures = [...found].map(
      ([what, { unit, runs }]): Figure => ({ contender: 'artifact-hub', what, unit, runs }),
    )
    return {
      title: 'Shares',
      rows: figures.map((figure) => alone(figure, found.get(figure.what)?.target)),
      figures,
      notes: ['One process, LevelDB, synced; the update of what nobody else has includes making it'],
    }
  },
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

function agent(name: string) {
  const seed = new Uint8Array(32)
  seed.set(new TextEncoder().encode(name))
  return { kind: 'agent' as const, id: new AgentKey(seed).publicKey }
}

function snippet(key: ArtifactKey) {
  const { leaf, sha256, ...root } = sealInline(randomBytes(200), key.content)
  return { root: { ...root, inline: true, keyId: key.id }, sha256, leaf }
}

async function write(ns: Namespace, name: string): Promise<Uint8Array> {
  const salt = ns.env.random(16)
  const artifact = ns.artifactOf(salt)
  const key = ns.newArtifactKey(artifact)
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
  const handle = await ns.handleOf(current)
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
