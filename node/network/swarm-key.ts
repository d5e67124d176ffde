import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'

const head = '/key/swarm/psk/1.0.0/\n/base16/\n'

/**
 * A private network's key (32 bytes) as the text of a `swarm.key` file, the form that all IPFS implementations read.
 * Source: github.com/libp2p/specs, pnet/Private-Networks-PSK-V1.md
 * @throws INVALID_ARGUMENT
 */
export function formatSwarmKey(key: Uint8Array): string {
  if (key.length !== 32) throw new ArtifactHubError('INVALID_ARGUMENT', 'a network key has 32 bytes')
  return `${head}${toHex(key)}\n`
}

/** The 32 bytes of a `swarm.key` file. @throws INVALID_ARGUMENT for anything else */
export function parseSwarmKey(text: string): Uint8Array {
  const match = /^\/key\/swarm\/psk\/1\.0\.0\/\r?\n\/base16\/\r?\n([0-9a-fA-F]{64})\s*$/.exec(text)
  if (match?.[1] === undefined)
    throw new ArtifactHubError('INVALID_ARGUMENT', 'not a swarm key of version 1 in base 16')
  return new Uint8Array(Buffer.from(match[1], 'hex'))
}
