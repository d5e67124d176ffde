import { bytesText, equalBytes } from '../../../src/encoding/index.ts'
import type { Namespace, Share } from '../../../src/namespace/index.ts'

/** Agents that this node's agent itself shares something with, each by name. Of groups it need not know who is in them. */
export class Recipients {
  readonly #self: Uint8Array
  /** By agent, then by the entry that gives it, both as text. */
  readonly #shares = new Map<string, Map<string, { readonly log: Namespace; readonly share: Share }>>()

  constructor(self: Uint8Array) {
    this.#self = self
  }

  /** Takes a share in, if this agent gave it. */
  add(log: Namespace, share: Share): void {
    const { claims } = share
    if (claims.kind !== 'share' || !equalBytes(claims.issuer, this.#self)) return
    for (const { kind, id } of claims.audience) {
      if (kind !== 'agent') continue
      const of = this.#shares.get(bytesText(id)) ?? new Map()
      this.#shares.set(bytesText(id), of)
      of.set(bytesText(share.entry), { log, share })
    }
  }

  /** Whether something that this agent shares with another is in force. */
  has(agent: Uint8Array): boolean {
    const of = this.#shares.get(bytesText(agent))
    for (const [name, { log, share }] of of ?? []) {
      if (log.sharing.isInForce(share)) return true
      // Back in force it is found again when the log is looked at.
      of?.delete(name)
    }
    this.#shares.delete(bytesText(agent))
    return false
  }

  /** A namespace is about to go. */
  forget(log: Namespace): void {
    for (const [agent, of] of this.#shares) {
      for (const [name, one] of of) if (one.log === log) of.delete(name)
      if (of.size === 0) this.#shares.delete(agent)
    }
  }
}
