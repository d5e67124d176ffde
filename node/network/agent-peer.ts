import { generateKeyPairFromSeed, publicKeyFromRaw } from '@libp2p/crypto/keys'
import type { PeerId, PrivateKey } from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'
import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { type AgentKey, isUsablePublicKey } from '../../src/identity/index.ts'

/** The libp2p key of an agent: the same Ed25519 key, so its peer id is the agent. */
export async function privateKeyOf(agent: AgentKey): Promise<PrivateKey> {
  return await generateKeyPairFromSeed('Ed25519', agent.seed())
}

/** The peer id of an agent. @throws INVALID_ARGUMENT unless these are 32 bytes of a usable Ed25519 key */
export function peerIdOf(agent: Uint8Array): PeerId {
  if (!isUsablePublicKey(agent)) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'an agent is an Ed25519 public key of 32 bytes', {
      details: { agent: toHex(agent) },
    })
  }
  const key = publicKeyFromRaw(agent)
  return peerIdFromPublicKey(key)
}

/** The agent of a peer id; `undefined` for peers whose key is not Ed25519, which are nobody here. */
export function agentOf(peer: PeerId): Uint8Array | undefined {
  return peer.type === 'Ed25519' ? peer.publicKey.raw : undefined
}
