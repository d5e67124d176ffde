import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { Member as LogMember } from '../../../src/membership/index.ts'
import type { Member } from '../../peer-client.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from '../replication/replication.ts'

/** The members of a namespace or group, as callers see them. */
export function membersOf({ env, contacts }: Replication, { log }: OpenNamespace): Member[] {
  const self = env.agent.publicKey
  const connected = new Set(env.network.connected().map(toHex))
  const names = new Map(contacts.all.map(({ agent, name }) => [toHex(agent), name] as const).reverse())
  return log.membership.members.map(
    ({ agent, role, grants }: LogMember): Member => ({
      did: formatDid(agent),
      role,
      name: names.get(toHex(agent)),
      since: new Date(Math.min(...grants.map(({ clock }) => clock.wallMs))),
      connected: equalBytes(agent, self) || connected.has(toHex(agent)),
    }),
  )
}
