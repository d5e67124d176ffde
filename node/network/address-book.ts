import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { toHex } from '../../src/encoding/index.ts'
import { maxAddressesPerAgent, maxRememberedAgents } from '../../src/limits.ts'
import { peerIdOf } from './agent-peer.ts'

/** Longest address text that is looked at, UTF-16 units: a relay's with a DNS name has some 200. */
const maxAddressLength = 1_024

/** Where agents may be dialled, as others said: bounded, and what was said last stays. */
export class AddressBook {
  readonly #agents = new Map<string, Map<string, Multiaddr>>()

  /** @returns those texts that are no address of that agent: another's, or not to be read */
  add(agent: Uint8Array, addresses: readonly string[]): string[] {
    const id = toHex(agent)
    const known = this.#agents.get(id) ?? new Map<string, Multiaddr>()
    const wrong: string[] = []
    for (const text of addresses) {
      const address = addressOf(agent, text)
      if (address === undefined) {
        wrong.push(text)
        continue
      }
      known.delete(address.toString())
      known.set(address.toString(), address)
      if (known.size > maxAddressesPerAgent) known.delete(known.keys().next().value as string)
    }
    if (known.size === 0) return wrong
    this.#agents.delete(id)
    this.#agents.set(id, known)
    if (this.#agents.size > maxRememberedAgents) this.#agents.delete(this.#agents.keys().next().value as string)
    return wrong
  }

  /** Newest first, each ending in the agent's peer id. */
  of(agent: Uint8Array): Multiaddr[] {
    return [...(this.#agents.get(toHex(agent))?.values() ?? [])].reverse()
  }
}

/** An agent's address with its peer id at the end; `undefined` if the text is none, or another agent's. */
export function addressOf(agent: Uint8Array, text: string): Multiaddr | undefined {
  if (text.length > maxAddressLength) return undefined
  try {
    const peer = peerIdOf(agent).toString()
    const address = multiaddr(text)
    const last = address.getComponents().at(-1)
    if (last === undefined) return undefined
    if (last.name === 'p2p') return last.value === peer ? address : undefined
    return address.encapsulate(`/p2p/${peer}`)
  } catch {
    return undefined
  }
}
