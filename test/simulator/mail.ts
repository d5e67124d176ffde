import { type Capability, decodeEnvelope, type ShareClaims } from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import type { Namespace } from '../../src/namespace/index.ts'
import type { Machine, World } from './machine.ts'

/** What an agent was sent of a share, and who may be asked for the artifact. */
export interface Mail {
  readonly capability: Capability<ShareClaims>
  readonly from: ReadonlySet<string>
}

/** How long mail is on its way, milliseconds. */
const mailMs = 2_000

/** Sends those whom artifacts are shared with what a machine knows of it: by another way than the network that is simulated. */
export function postShares(machine: Machine, ns: Namespace, artifacts: Iterable<Uint8Array>): void {
  const { world } = machine
  const post = async (): Promise<void> => {
    for (const artifact of artifacts) {
      for (const { share } of await ns.sharing.of(artifact)) {
        const bytes = await ns.sharing.envelopeOf(share)
        if (bytes === undefined) continue
        const { capability } = decodeEnvelope(bytes)
        if (world.ledger.shares.has(toHex(capability.claims.jti))) continue
        world.ledger.shares.set(toHex(capability.claims.jti), capability.claims)
        world.ledger.shareEntries.set(toHex(capability.claims.jti), toHex(share.entry))
        world.time.setTimer(machine.chance.between(0, mailMs), () => {
          const others = [...ns.memberAgents()]
          const peers = [machine.id, capability.claims.issuer, machine.chance.pick(others), machine.chance.pick(others)]
          const from = new Set(peers.flatMap((agent) => (agent === undefined ? [] : toHex(agent))))
          deliver(world, { capability, from })
        })
      }
    }
  }
  void post().catch((error) => {
    if (machine.run?.ns === ns && !ns.closed) world.failures.push(error)
  })
}

/** To everybody: what is for others, and for groups that an agent is not in, its node makes nothing of. */
function deliver({ machines }: World, mail: Mail): void {
  const { audience } = mail.capability.claims
  for (const machine of machines) {
    if (audience.some(({ kind, id }) => kind === 'group' || equalBytes(id, machine.id))) machine.receive(mail)
  }
}
