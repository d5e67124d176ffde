import { compareAudience, gatewayBase } from '../../../src/capability/index.ts'
import { equalBytes } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { GatewayRef } from '../../link-client.ts'
import type { Contacts } from '../replication/contacts.ts'
import { gatewayOfAddress } from './gateway-address.ts'

/** Who serves a link, and where it points. */
export interface LinkAudience {
  /** Raw public keys, distinct and in the order of a capability's audience. */
  readonly agents: readonly Uint8Array[]
  /** Of the gateway that was named first. */
  readonly url: string
}

interface AudienceSources {
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly contacts: Pick<Contacts, 'resolve'>
  /** Where this node's own gateway is, if it has one. */
  readonly ownGateway: string | undefined
}

/**
 * The agents that gateways are named by, and where the first one is.
 * @throws NOT_FOUND for a name that is not known; INVALID_ARGUMENT, also when nobody says where the first one is
 */
export function audienceOf(gateways: readonly GatewayRef[] | undefined, sources: AudienceSources): LinkAudience {
  const named = (gateways ?? [formatDid(sources.self)]).map((gateway) => resolve(gateway, sources))
  const distinct = named
    .filter(({ agent }, at) => named.findIndex((other) => equalBytes(other.agent, agent)) === at)
    .map(({ agent }) => ({ kind: 'agent' as const, id: agent }))
    .sort(compareAudience)
  const url = named[0]?.url
  if (url !== undefined) return { agents: distinct.map(({ id }) => id), url: gatewayBase(url) }
  throw new ArtifactHubError(
    'INVALID_ARGUMENT',
    gateways === undefined
      ? 'getSignedUrl: this node has no gateway: start one, or name some in `gateways`'
      : 'getSignedUrl: where the first gateway is is not known: name it as { agent, url }, or add it by its ticket',
    { details: { option: 'gateways' } },
  )
}

function resolve(
  gateway: GatewayRef,
  { self, contacts, ownGateway }: AudienceSources,
): { agent: Uint8Array; url: string | undefined } {
  if (typeof gateway !== 'string') return { agent: contacts.resolve(gateway.agent).agent, url: gateway.url }
  const { agent, addresses } = contacts.resolve(gateway)
  const told = addresses.map(gatewayOfAddress).find((url) => url !== undefined)
  return { agent, url: equalBytes(agent, self) ? (ownGateway ?? told) : told }
}
