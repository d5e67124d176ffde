import { encodeCanonical } from '../encoding/index.ts'
import { AgentKey, hkdfExpand, hkdfExtract } from '../identity/index.ts'
import { secretSalt } from './artifact-key.ts'

const seedBytes = 32

/**
 * The key pair of a group's epoch, which every member of that time can derive: what is sealed to its public half all of them can open,
 * and a signature by it proves that somebody is, or was then, a member.
 *
 * @param group 32 bytes
 * @param secret of the epoch
 */
export function groupKeyOf(group: Uint8Array, secret: Uint8Array): AgentKey {
  return new AgentKey(hkdfExpand(hkdfExtract(secret, secretSalt), encodeCanonical(['group-key', group]), seedBytes))
}
