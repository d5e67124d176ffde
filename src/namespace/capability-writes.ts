import { bytesText } from '../encoding/index.ts'
import { maxRevokedCapabilities } from '../limits.ts'
import { encodeAuthBody } from '../log/index.ts'
import type { Ledger } from './ledger.ts'
import type { Transaction } from './transaction.ts'

/** See `Namespace.revokeCapabilities`. */
export async function writeRevokeCapabilities(ledger: Ledger, jtis: readonly Uint8Array[]): Promise<void> {
  await ledger.commit(async (tx, mark) => {
    // Refuses whoever may not write.
    void tx.nextPlace
    mark()
    await appendRevocations(tx, jtis)
  })
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
