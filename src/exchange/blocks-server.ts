import type { ContentEngine } from '../content/index.ts'
import { toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { maxBlockStreams, maxBlockStreamsOfAgent } from '../limits.ts'
import { type BlockServerCounters, Flood, Idle, type ServedNamespace, serveStream } from './blocks-session.ts'
import { blocksProtocol } from './frames.ts'
import { Newcomers } from './newcomers.ts'
import { OpenCount } from './open-count.ts'
import type { PeerNetwork, PeerStream } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import { UnderWay } from './under-way.ts'

/** What blocks are served from. */
export interface ServeBlocksOptions {
  readonly network: PeerNetwork
  /** A namespace of this node by its id (32 bytes). */
  readonly lookup: (namespace: Uint8Array) => ServedNamespace | undefined
  readonly scheduler: Scheduler
  /** Hashes what goes out. */
  readonly engine: Pick<ContentEngine, 'digest' | 'digestInPlace'>
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
}

/** Serves until it is closed. */
export interface BlockServer extends AsyncDisposable {
  readonly counters: Readonly<BlockServerCounters>
  /** Cuts what is being served; resolves when nothing of it runs any more. Idempotent. */
  close(): Promise<void>
}

/**
 * Serves the blocks of this node's namespaces to agents that may read them, and tells nobody else anything: an unknown namespace,
 * an unknown root and a stranger get one refusal, after one time. Memory, requests and streams are bounded, and a stream on
 * which nothing moves is ended.
 */
export function serveBlocks({ network, lookup, scheduler, engine, self }: ServeBlocksOptions): BlockServer {
  const counters: BlockServerCounters = {
    requests: 0,
    refused: 0,
    sentBlocks: 0,
    sentBytes: 0,
    missing: 0,
    unreadable: 0,
    idle: 0,
    badFrames: 0,
    floods: 0,
  }
  const stop = new AbortController()
  const open = new OpenCount()
  const newcomers = new Newcomers()
  const running = new UnderWay()

  const count = (error: unknown, stream: PeerStream): void => {
    if (error instanceof Idle) counters.idle++
    else if (error instanceof Flood) {
      counters.floods++
      network.penalise(stream.agent, 'flood')
    } else if (isHubError(error, 'CORRUPT') || isHubError(error, 'TOO_LARGE')) {
      counters.badFrames++
      network.penalise(stream.agent, 'bad-frame')
    }
  }

  const serve = async (stream: PeerStream, signal: AbortSignal): Promise<void> => {
    const agent = toHex(stream.agent)
    try {
      if (open.of(agent) >= maxBlockStreamsOfAgent) throw new Flood('more streams than one agent may have')
      const full = new ArtifactHubError('UNAVAILABLE', 'Too many streams are open here')
      if (running.size >= maxBlockStreams && !newcomers.makeRoom(full)) throw full
      const done = open.add(agent)
      const own = newcomers.add()
      try {
        await serveStream({
          stream,
          lookup,
          scheduler,
          engine,
          self,
          counters,
          onPermitted: () => own.settle(),
          signal: AbortSignal.any([signal, stop.signal, own.signal]),
        })
      } finally {
        own.settle()
        done()
      }
    } catch (error) {
      count(error, stream)
      throw error
    }
  }

  const unhandle = network.handle(blocksProtocol, (stream, signal) => running.add(serve(stream, signal)), {
    bulk: true,
  })

  const close = async (): Promise<void> => {
    unhandle()
    stop.abort(new ArtifactHubError('CLOSED', 'Blocks are no longer served here'))
    await running.ended()
  }
  return { counters, close, [Symbol.asyncDispose]: close }
}
