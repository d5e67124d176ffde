import { toHex } from '../encoding/index.ts'
import type { ErrorCode } from '../errors.ts'
import { maxSyncStrangers } from '../limits.ts'

/** How it stands between this node and another agent in one namespace. */
export interface PeerSyncStatus {
  /** 32 bytes. */
  readonly agent: Uint8Array
  /** When the last round that worked ended, milliseconds since 1970. */
  readonly lastSyncAt: number | undefined
  /** How the last round ended. */
  readonly outcome: 'same' | 'exchanged' | 'denied' | 'failed' | undefined
  /** Code of the failure, if it failed. */
  readonly error: ErrorCode | undefined
}

/** What the replicator keeps of another agent, in one namespace. */
export interface SyncPeer {
  readonly agent: Uint8Array
  lastSyncAt: PeerSyncStatus['lastSyncAt']
  outcome: PeerSyncStatus['outcome']
  error: PeerSyncStatus['error']
  /** Rounds that worked, whoever began them. */
  rounds: number
  /** It has shown, on this connection, that it has this log: what is new can be pushed to it. */
  inTouch: boolean
  /** The round under way. */
  running: Promise<void> | undefined
  /** Another round is due after the one under way, or when the wait is over. */
  again: boolean
  failures: number
  /** When the connection to it was lost, milliseconds since 1970, until there is one again. */
  lostAt: number | undefined
  /** Ends the wait after a failure. */
  cooling: (() => void) | undefined
}

/** The agents that one namespace is, or may be, kept in step with. Strangers are remembered in a bounded number. */
export class SyncPeers {
  readonly #isStranger: (agent: Uint8Array) => boolean
  readonly #peers = new Map<string, SyncPeer>()

  constructor(isStranger: (agent: Uint8Array) => boolean) {
    this.#isStranger = isStranger
  }

  /** What is known of an agent, if anything. */
  find(agent: Uint8Array): SyncPeer | undefined {
    return this.#peers.get(toHex(agent))
  }

  /** What is known of an agent, from now on; `undefined` when too many strangers are under way already. */
  get(agent: Uint8Array): SyncPeer | undefined {
    const found = this.find(agent)
    if (found !== undefined) return found
    if (this.#isStranger(agent) && !this.#makeRoom()) return undefined
    const peer: SyncPeer = {
      agent: Uint8Array.from(agent),
      lastSyncAt: undefined,
      outcome: undefined,
      error: undefined,
      rounds: 0,
      inTouch: false,
      running: undefined,
      again: false,
      failures: 0,
      lostAt: undefined,
      cooling: undefined,
    }
    this.#peers.set(toHex(agent), peer)
    return peer
  }

  values(): IterableIterator<SyncPeer> {
    return this.#peers.values()
  }

  #makeRoom(): boolean {
    const strangers = [...this.#peers].filter(([, { agent }]) => this.#isStranger(agent))
    if (strangers.length < maxSyncStrangers) return true
    const idle = strangers.find(([, { running, cooling }]) => running === undefined && cooling === undefined)
    if (idle !== undefined) this.#peers.delete(idle[0])
    return idle !== undefined
  }
}

/** Ends the wait after failures, and forgets them. */
export function warmUp(peer: SyncPeer): void {
  peer.cooling?.()
  peer.cooling = undefined
  peer.failures = 0
}
