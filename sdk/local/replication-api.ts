import type { VersionRecord } from '../../src/catalog/index.ts'
import { parseArtifactId, toHex } from '../../src/encoding/index.ts'
import type { Holds } from '../../src/exchange/index.ts'
import { formatDid } from '../../src/identity/index.ts'
import { maxHoldersAsked } from '../../src/limits.ts'
import type { ArtifactStatus, ReplicationApi } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { type Found, findById } from './lookup.ts'
import type { OpenCalls } from './open-calls.ts'
import { membersByReach } from './replication/members-by-reach.ts'
import type { Replication } from './replication/replication.ts'
import { parseCursor, placesNow, watchArtifacts } from './replication/watch.ts'

/** Versions that `status` asks about, the newest: each costs every member a look. */
const maxVersions = 100

/** The replication calls about artifacts of this process's own namespaces. */
export function createReplicationApi(replication: Replication, calls: OpenCalls): ReplicationApi {
  const { namespaces } = replication
  return {
    watch(options) {
      const call = checked('watch', shapes.watch, options)
      const artifact = call.artifactId === undefined ? undefined : parseArtifactId(call.artifactId)
      const only = call.namespace === undefined ? undefined : namespaces.find(call.namespace)
      // From the call on, not from when the first event is asked for.
      const { follows } = replication
      const places =
        call.cursor === undefined
          ? placesNow(namespaces.readable, follows.lastEndMs)
          : Promise.resolve(parseCursor(call.cursor))
      // Whoever takes the events is told.
      places.catch(() => {})
      const target = { namespace: only, artifact, places }
      const events = calls.stream(call, (bounded) =>
        watchArtifacts(namespaces, follows, target, bounded.signal ?? new AbortController().signal),
      )
      return { [Symbol.asyncIterator]: () => events }
    },
    status: async (options) =>
      await calls.run(checked('status', shapes.artifact, options), async (call) => {
        const found = await findById(namespaces, call)
        return await statusOf(replication, found, call.artifactId, call.signal ?? new AbortController().signal)
      }),
  }
}

async function statusOf(
  replication: Replication,
  { namespace, record }: Found,
  artifactId: string,
  signal: AbortSignal,
): Promise<ArtifactStatus> {
  const { env } = replication
  const { log } = namespace
  const self = env.agent.publicKey
  const { network } = env
  const { items } = await log.catalog.listVersions(record.artifact, { limit: maxVersions, signal })
  // Several versions may have one content.
  const roots = new Map(items.map(({ root }) => [toHex(root.digest), root.digest]))
  const answers = new Map<string, Map<string, Holds>>()
  const unreachable: string[] = []
  const own = new Map<string, Holds>()
  for (const [key, digest] of roots) own.set(key, await replication.holds(namespace, record.artifact, digest))
  answers.set(env.agent.did, own)
  const members = membersByReach(log, { network, self })
  const askNext = async (): Promise<void> => {
    for (let agent = members.shift(); agent !== undefined; agent = members.shift()) {
      const did = formatDid(agent)
      const said = new Map<string, Holds>()
      try {
        // Of an agent that is no member, its right to ask.
        const [presentation] =
          log.partial === undefined ? [] : replication.follows.present(log.id, record.artifact, agent)
        for (const [key, root] of roots) {
          const question = { namespace: log.id, artifact: record.artifact, root, waitMs: 0, presentation }
          said.set(key, await replication.holdings.ask(agent, question, signal))
        }
        answers.set(did, said)
      } catch {
        signal.throwIfAborted()
        unreachable.push(did)
      }
    }
  }
  await Promise.all(Array.from({ length: maxHoldersAsked }, askNext))
  const versions = items.map(({ number, versionId, root }: VersionRecord) => ({
    version: number,
    versionId,
    nodes: [...answers].map(([did, said]) => ({ did, holds: said.get(toHex(root.digest)) ?? 'none' })),
  }))
  return { artifactId, versions, unreachable: unreachable.sort() }
}
