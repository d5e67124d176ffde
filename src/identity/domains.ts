import { concatBytes } from '../encoding/index.ts'

/**
 * Every kind of statement that an agent's key signs. A signature covers `artifact-hub/<kind>/v1\0` and then the
 * canonical DAG-CBOR of the statement, so none can be replayed as another kind. This is the one list.
 */
export const signingDomains = ['entry', 'capability', 'group-member', 'envelope'] as const

/** A kind of signed statement. */
export type SigningDomain = (typeof signingDomains)[number]

const encoder = new TextEncoder()
const prefixes = new Map(signingDomains.map((kind) => [kind, encoder.encode(`artifact-hub/${kind}/v1\0`)]))

/** The bytes that a signature of that kind covers. */
export function signedBytes(domain: SigningDomain, statement: Uint8Array): Uint8Array {
  return concatBytes(prefixes.get(domain) as Uint8Array, statement)
}
