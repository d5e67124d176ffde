import { sha256 } from '../../../src/encoding/index.ts'
import type { PeerNetwork, Scheduler } from '../../../src/exchange/index.ts'
import { retryBackoffMs } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'

const domain = new TextEncoder().encode('artifact-hub/provide/v1\0')

/** Records of who has something to do with a key: hints, which whoever keeps them may drop or make up. */
export interface Discovery {
  /** Says, and goes on saying, that this node has to do with a key. @throws UNAVAILABLE when nobody took it; the signal's reason */
  provide(key: Uint8Array, options: { signal: AbortSignal }): Promise<void>
  /** Agents that are said to have to do with it; their addresses are remembered. */
  findProviders(key: Uint8Array, options: { signal?: AbortSignal | undefined }): AsyncIterable<Uint8Array>
}

/** What stands for a namespace in such records: SHA-256 of a domain and its id. Who does not know the id learns nothing by it. */
export function discoveryKey(namespace: Uint8Array): Uint8Array {
  return sha256(domain, namespace)
}

interface AnnouncementOptions {
  readonly log: Namespace
  readonly discovery: Discovery
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
}

/** Has it said once that this node has a namespace, so that who joins finds it: as soon as there are others in it, and somebody to tell. */
export class Announcement {
  readonly #options: AnnouncementOptions
  readonly #stop = new AbortController()
  readonly #unlisten: readonly (() => void)[]
  #cancel: (() => void) | undefined
  #running: Promise<void> = Promise.resolve()
  #isSaid = false
  #failures = 0

  constructor(options: AnnouncementOptions) {
    this.#options = options
    this.#unlisten = [
      options.network.onPeer((_, isConnected) => isConnected && this.#soon(retryBackoffMs.from)),
      options.log.subscribe(({ authChanged }) => authChanged && this.#soon(retryBackoffMs.from)),
    ]
    this.#soon(retryBackoffMs.from)
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new DOMException('the namespace is closing', 'AbortError'))
    this.#cancel?.()
    for (const unlisten of this.#unlisten) unlisten()
    await this.#running
  }

  #soon(delayMs: number): void {
    if (this.#isSaid || this.#cancel !== undefined || this.#stop.signal.aborted) return
    this.#cancel = this.#options.scheduler.setTimer(delayMs, () => {
      this.#running = this.#say()
    })
  }

  async #say(): Promise<void> {
    const { log, discovery, network } = this.#options
    const isShared = log.membership.members.length > 1
    try {
      if (isShared && network.connected().length > 0) {
        await discovery.provide(discoveryKey(log.id), { signal: this.#stop.signal })
        this.#isSaid = true
      }
      this.#cancel = undefined
    } catch {
      // A hint: nobody took it, or not now.
      this.#cancel = undefined
      this.#failures += 1
      this.#soon(Math.min(retryBackoffMs.to, retryBackoffMs.from * 2 ** Math.min(this.#failures, 20)))
    }
  }
}
