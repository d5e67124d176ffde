import type { VersionRecord } from '../../src/catalog/index.ts'
import { parseArtifactId, toHex } from '../../src/encoding/index.ts'
import type { Holds } from '../../src/exchange/index.ts'
import type { ArtifactStatus, ReplicationApi } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { type Found, findById } from './lookup.ts'
import type { OpenCalls } from './open-calls.ts'
import { askMembers } from './replication/ask-members.ts'
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
  const { network } = env
  const { items } = await log.catalog.listVersions(record.artifact, { limit: maxVersions, signal })
  // Several versions may have one content.
  const roots = new Map(items.map(({ root }) => [toHex(root.digest), root.digest]))
  const own = new Map<string, Holds>()
  for (const [key, digest] of roots) own.set(key, await replication.holds(namespace, record.artifact, digest))
  const { answers, unreachable, notAsked } = await askMembers({
    holdings: replication.holdings,
    scheduler: env.scheduler,
    members: membersByReach(log, { network, self: env.agent.publicKey }),
    questionsTo: (agent) => {
      // Of an agent that is no member, its right to ask.
      const [presentation] =
        log.partial === undefined ? [] : replication.follows.present(log.id, record.artifact, agent)
      const about = { namespace: log.id, artifact: record.artifact, waitMs: 0, presentation }
      return new Map([...roots].map(([key, root]) => [key, { ...about, root }]))
    },
    signal,
  })
  const held = [[env.agent.did, own] as const, ...answers]
  const versions = items.map(({ number, versionId, root }: VersionRecord) => ({
    version: number,
    versionId,
    nodes: held.map(([did, said]) => ({ did, holds: said.get(toHex(root.digest)) ?? 'none' })),
  }))
  return { artifactId, versions, unreachable, notAsked }
}
