import { bytesText, equalBytes } from '../encoding/index.ts'
import { maxRevokedCapabilities } from '../limits.ts'
import { encodeAuthBody } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { Ledger } from './ledger.ts'
import { mayWrite } from './members.ts'
import type { Transaction } from './transaction.ts'

/** See `NamespaceSharing.revokeCapabilities`. */
export async function writeRevokeCapabilities(ledger: Ledger, jtis: readonly Uint8Array[]): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    // Refuses whoever may not write.
    void tx.nextPlace
    mark()
    await appendRevocations(tx, jtis)
  })
}

/**
 * Ends again, on the chain that this agent goes on with, what it ended on a branch that counts for nothing: who does not hold such an entry yet is
 * never told of it. Gives how many entries it wrote.
 */
export async function writeLostRevocations(ledger: Ledger): Promise<number> {
  if ((await lostRevocations(ledger, ledger.membership)).length === 0) return 0
  return await ledger.commit(async (tx, mark) => {
    const lost = await lostRevocations(ledger, tx.membership)
    if (lost.length === 0) return 0
    const before = tx.appended
    mark()
    await appendRevocations(tx, lost)
    return tx.appended - before
  })
}

async function lostRevocations({ parts, chains }: Ledger, membership: Membership): Promise<Uint8Array[]> {
  const agent = parts.env.agent.publicKey
  if (!membership.hasForks || !mayWrite(membership, agent)) return []
  const own = [...chains.all()].filter(({ author }) => equalBytes(author, agent))
  const byChain = new Map(own.map((tip) => [bytesText(tip.chain), tip]))
  const hashes = [...byChain.values()].flatMap((tip) => membership.revocationsOnBranches(tip))
  const jtis = (await parts.log.readableMany(hashes)).flatMap(({ auth }) =>
    auth?.kind === 'revoke-capability' ? auth.jtis : [],
  )
  return jtis.filter((jti) => !membership.hasTakenBack(agent, jti))
}

/** Ends capabilities, in as many entries as it takes. */
export async function appendRevocations(tx: Transaction, jtis: readonly Uint8Array[]): Promise<void> {
  const named = new Map(jtis.map((jti) => [bytesText(jti), jti]))
  const sorted = [...named.values()].sort((a, b) => Buffer.compare(a, b))
  for (let at = 0; at < sorted.length; at += maxRevokedCapabilities) {
    const body = encodeAuthBody({ kind: 'revoke-capability', jtis: sorted.slice(at, at + maxRevokedCapabilities) })
    await tx.append({ kind: 'revoke-capability', keyId: undefined, data: undefined }, { body })
  }
}
