import type { Connection, PeerId, PeerStore } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { dialNextMs, handshakeMs, maxAddressesPerAgent, openTimeoutMs } from '../../src/limits.ts'
import { afterWhatCame } from './connect-limit.ts'

/** One dial, which whoever wants the same joins. */
interface Job {
  readonly peerId?: PeerId
  /** Addresses to try; those who join add theirs. None at the beginning: those that libp2p knows of. */
  readonly multiaddrs: Set<string>
}

/** What is used of libp2p's dial queue, which has no interface of its own. */
interface DialQueue {
  dialPeer(job: Job, signal: AbortSignal): Promise<Connection>
  /** Of those names, what can be dialled, in the order in which it should be. */
  calculateMultiaddrs(
    peer: PeerId | undefined,
    named: Set<string>,
    options: Job & { readonly signal: AbortSignal },
  ): Promise<{ readonly multiaddr: Multiaddr }[]>
}

/** What is used of libp2p. */
interface Components {
  readonly connectionManager: object
  readonly peerStore: Pick<PeerStore, 'get'>
}

/**
 * Has libp2p try a peer's addresses with overlap: one after the other, those that take the connection and say nothing would use up the time of one that answers. The
 * next is tried once one has failed, or `dialNextMs` after the one before it, and each in time for a whole handshake; the first connection ends the others. A
 * name that cannot be looked up keeps no other address from being tried.
 */
export class OverlappingDials {
  readonly #queue: DialQueue
  /** As libp2p dials, one address after the other. */
  readonly #dialInTurn: DialQueue['dialPeer']
  readonly #peerStore: Pick<PeerStore, 'get'>

  constructor({ connectionManager, peerStore }: Components) {
    const { dialQueue } = connectionManager as { dialQueue: DialQueue }
    this.#queue = dialQueue
    this.#peerStore = peerStore
    this.#dialInTurn = dialQueue.dialPeer.bind(dialQueue)
    dialQueue.dialPeer = (job, signal) => this.#dial(job, signal)
  }

  async #dial(job: Job, signal: AbortSignal): Promise<Connection> {
    const tried = new Set<string>()
    const errors: unknown[] = []
    do {
      const named = [...job.multiaddrs]
      job.multiaddrs.clear()
      const addresses = await this.#addresses(job, named, errors, signal)
      const fresh = addresses.filter((address) => !tried.has(address)).slice(0, maxAddressesPerAgent - tried.size)
      for (const address of fresh) tried.add(address)
      const connection = await this.#firstOf(job, fresh, errors, signal)
      if (connection !== undefined) return connection
    } while (job.multiaddrs.size > 0 && !signal.aborted)
    throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'no address could be dialled')
  }

  async #addresses(
    job: Job,
    named: readonly string[],
    errors: unknown[],
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const all = named.length > 0 ? named : await this.#knownWithNames(job)
    const names = all.filter(isName)
    const plain = all.filter((address) => !isName(address))
    if (names.length > 0 && plain.length === 0) return names
    try {
      const found = await this.#queue.calculateMultiaddrs(job.peerId, new Set(plain), { ...job, signal })
      // What each name stands for is looked up where it is dialled.
      return [...found.map(({ multiaddr }) => multiaddr.toString()), ...names]
    } catch (error) {
      errors.push(error)
      return names
    }
  }

  /** What libp2p knows of a peer, if there are names among it: of itself it looks all of them up before it dials. */
  async #knownWithNames({ peerId }: Job): Promise<readonly string[]> {
    const peer = peerId && (await this.#peerStore.get(peerId).catch(() => undefined))
    const known = peer?.addresses.map(({ multiaddr }) => multiaddr.toString()) ?? []
    return known.some(isName) ? known : []
  }

  /** The first connection; `undefined` when there is none, with what each address answered among the errors. */
  async #firstOf(
    job: Job,
    addresses: readonly string[],
    errors: unknown[],
    signal: AbortSignal,
  ): Promise<Connection | undefined> {
    const { promise, resolve } = Promise.withResolvers<Connection | undefined>()
    const done = new AbortController()
    const ended = AbortSignal.any([signal, done.signal])
    const apartMs = Math.min(dialNextMs, (openTimeoutMs - handshakeMs) / addresses.length)
    const waiting = [...addresses]
    let underWay = 0
    let stop = (): void => {}
    const succeeded = (connection: Connection): void => {
      stop()
      // Another was first in the same moment.
      if (done.signal.aborted) connection.abort(new Error('there is another connection'))
      done.abort()
      resolve(connection)
    }
    const dialNext = (): void => {
      stop()
      const address = ended.aborted ? undefined : waiting.shift()
      if (address === undefined) {
        if (underWay === 0) resolve(undefined)
        return
      }
      underWay += 1
      stop = afterWhatCame(apartMs, dialNext)
      this.#dialInTurn({ ...job, multiaddrs: new Set([address]) }, ended).then(succeeded, (error: unknown) => {
        underWay -= 1
        errors.push(error)
        dialNext()
      })
    }
    dialNext()
    return await promise
  }
}

function isName(address: string): boolean {
  return address.includes('/dnsaddr/')
}
