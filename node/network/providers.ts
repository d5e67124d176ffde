import type { Libp2p } from '@libp2p/interface'
import type { SingleKadDHT } from '@libp2p/kad-dht'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import { ArtifactHubError } from '../../src/errors.ts'
import { openTimeoutMs } from '../../src/limits.ts'
import { agentOf } from './agent-peer.ts'
import type { Services } from './libp2p.ts'

/** `raw`: what a blinded key stands for is nobody's business. */
const rawCodec = 0x55

/** @throws UNAVAILABLE when no node of the DHT took the record; INVALID_ARGUMENT; the signal's reason */
export async function provide(libp2p: Libp2p<Services>, key: Uint8Array, signal: AbortSignal): Promise<void> {
  const cid = cidOf(key)
  let taken = 0
  if (hasPeers(libp2p)) {
    for await (const event of libp2p.services.dht.provide(cid, { signal: bound(signal) }))
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') taken++
  }
  signal.throwIfAborted()
  if (taken === 0) {
    throw new ArtifactHubError('UNAVAILABLE', 'no node of the DHT took the record', { details: { reason: 'no-peers' } })
  }
}

/** Each agent once, with addresses; at most as many as the DHT's nodes name. @throws INVALID_ARGUMENT; the signal's reason */
export async function* findProviders(
  libp2p: Libp2p<Services>,
  key: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<{ agent: Uint8Array; addresses: string[] }> {
  const cid = cidOf(key)
  if (!hasPeers(libp2p)) return
  const found = new Set<string>()
  try {
    for await (const event of libp2p.services.dht.findProviders(cid, { signal: bound(signal) })) {
      if (event.name !== 'PROVIDER') continue
      for (const { id, multiaddrs } of event.providers) {
        const agent = agentOf(id)
        if (agent === undefined || id.equals(libp2p.peerId) || found.has(id.toString())) continue
        found.add(id.toString())
        yield { agent, addresses: multiaddrs.map(String) }
      }
    }
  } catch {
    // The DHT's own failures are answers it did not have.
  }
  signal.throwIfAborted()
}

/** A query with nobody to ask would wait for somebody. */
function hasPeers({ services }: Libp2p<Services>): boolean {
  return (services.dht as SingleKadDHT).routingTable.size > 0
}

function cidOf(key: Uint8Array): CID {
  if (key.length !== 32) throw new ArtifactHubError('INVALID_ARGUMENT', 'a key on the DHT has 32 bytes')
  return CID.createV1(rawCodec, createDigest(sha256.code, key))
}

function bound(signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(openTimeoutMs)])
}
