import { randomBytes } from 'node:crypto'
import { vi } from 'vitest'
import { AgentKey } from '../../../src/identity/index.ts'
import { type Network, type StartNetworkOptions, startNetwork } from '../index.ts'

/** A started network and whose it is. */
export interface TestNode {
  readonly network: Network
  readonly agent: Uint8Array
}

/** Real networks on loopback TCP, all closed in the end. */
export class Nodes implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()

  async start(options: Partial<StartNetworkOptions> = {}): Promise<TestNode> {
    const key = options.agent ?? new AgentKey(randomBytes(32))
    const network = await startNetwork({
      mode: 'lan',
      listen: ['/ip4/127.0.0.1/tcp/0'],
      now: Date.now,
      monotonic: () => performance.now(),
      random: (length) => randomBytes(length),
      ...options,
      agent: key,
    })
    this.#stack.use(network)
    return { network, agent: key.publicKey }
  }

  /** Two nodes, the first knowing where the second is. */
  async pair(first: Partial<StartNetworkOptions> = {}, second: Partial<StartNetworkOptions> = {}) {
    const a = await this.start(first)
    const b = await this.start(second)
    a.network.addAddresses(b.agent, b.network.addresses())
    return { a, b }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

/** Tries until what is expected is so. The timeout bounds hangs, not speed. */
export async function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return await vi.waitFor(check, { timeout: 30_000 })
}
