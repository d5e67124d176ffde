import { concatBytes } from '../encoding/index.ts'
import { type AgentKey, type KeyContext, openSealed, Sealer } from '../identity/index.ts'
import type { LinkClaims, PinnedContent } from './claims.ts'

/** What a link's boxes are bound to: they open in no other link, not even of the same version. */
type LinkPlace = Pick<LinkClaims, 'namespace' | 'artifact' | 'jti'>

/**
 * Seals the key of the leaves to each audience of a link, in its order. The key opens the content that was written under one artifact
 * key, and no names, metadata or bodies.
 *
 * @param encryption `ContentKeys.encryption`, 32 bytes
 * @param keyId of the artifact key, 16 bytes
 * @param seed 32 fresh random bytes
 */
export function sealLinkKey(
  encryption: Uint8Array,
  keyId: Uint8Array,
  link: LinkPlace & Pick<LinkClaims, 'audience'>,
  seed: Uint8Array,
): Pick<PinnedContent, 'ephemeral' | 'boxes'> {
  const sealer = new Sealer(seed)
  const context = contextOf(link, keyId)
  return { ephemeral: sealer.ephemeral, boxes: link.audience.map(({ id }) => sealer.seal(encryption, id, context)) }
}

/**
 * The key of the leaves, 32 bytes; `undefined` when the link follows the artifact or is not for this agent.
 *
 * @throws CORRUPT for an unusable ephemeral key
 */
export function openLinkKey(claims: LinkClaims, agent: AgentKey): Uint8Array | undefined {
  if (claims.pinned === undefined) return undefined
  const { ephemeral, boxes, root } = claims.pinned
  return openSealed(ephemeral, boxes, agent, contextOf(claims, root.keyId))
}

function contextOf({ namespace, artifact, jti }: LinkPlace, keyId: Uint8Array): KeyContext {
  return { kind: 'link', namespace, subject: concatBytes(artifact, jti), keyId }
}
