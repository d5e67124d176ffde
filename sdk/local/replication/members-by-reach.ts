import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import type { PeerNetwork } from '../../../src/exchange/index.ts'
import type { Namespace } from '../../../src/namespace/index.ts'

/**
 * A namespace's other members, and `more` agents, in the order to ask them in: the connected ones first; among them `first`, then
 * replicas.
 */
export function membersByReach(
  log: Namespace,
  { network, self }: { readonly network: PeerNetwork; readonly self: Uint8Array },
  first?: Uint8Array | undefined,
  more: readonly Uint8Array[] = [],
): Uint8Array[] {
  const connected = new Set(network.connected().map(toHex))
  const rank = (agent: Uint8Array): number => {
    const away = connected.has(toHex(agent)) ? 0 : 3
    if (first !== undefined && equalBytes(agent, first)) return away
    return away + (log.roleOf(agent) === 'replica' ? 1 : 2)
  }
  const agents = new Map([...more, ...log.memberAgents()].map((agent) => [toHex(agent), agent]))
  return [...agents.values()]
    .filter((agent) => !equalBytes(agent, self))
    .map((agent) => ({ agent, rank: rank(agent) }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ agent }) => agent)
}
