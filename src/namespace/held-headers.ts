import { artifactIdOf, bytesText } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { Chains, Tip } from './chains.ts'
import type { Ledger } from './ledger.ts'
import { operationFrom } from './recount.ts'
import type { Transaction } from './transaction.ts'

/**
 * Has artifacts that are followed from now on have what is held of them: until then these were headers that tell branches of chains apart, and said nothing to the
 * catalog. Reads the chains that have branches or an end.
 */
export async function takeUpHeaders(ledger: Ledger, artifacts: readonly Uint8Array[]): Promise<void> {
  const { chains, membership } = ledger
  if (branchedChains(chains, membership, chains.all()).length === 0) return
  const names = new Set(artifacts.map(bytesText))
  await ledger.commit(async (tx, mark) => {
    mark()
    for await (const entry of heldOf(tx, chains, names)) {
      const operation = tx.membership.counts(entry) ? await operationFrom(tx, entry) : undefined
      if (operation !== undefined) await tx.apply(operation)
    }
  })
}

/** The headers that are held of artifacts (as text). */
async function* heldOf(tx: Transaction, chains: Chains, names: ReadonlySet<string>): AsyncGenerator<Entry> {
  const isOne = ({ header: { data }, keys, body, leaf }: Entry) =>
    data !== undefined &&
    [keys, body, leaf].every((part) => part === undefined) &&
    names.has(bytesText(artifactIdOf(tx.namespace, data.artifactSalt)))
  for (const chain of branchedChains(tx, tx.membership, [...chains.all(), ...[...tx.tips].flat()])) {
    for await (const entry of tx.storedOf(chain, 0)) if (isOne(entry)) yield entry
    for (const entry of tx.storedHere(chain)) if (isOne(entry)) yield entry
  }
}

/** Chains that may have such headers: those that are known to be forked, or to have an end, or of which a branch was adopted. */
function branchedChains(
  of: { tipsOf(chain: Uint8Array): readonly Tip[] },
  membership: Membership,
  tips: Iterable<Tip>,
): Uint8Array[] {
  const branched = new Map<string, Uint8Array>()
  for (const tip of tips) {
    const isBranched =
      of.tipsOf(tip.chain).length > 1 || membership.shownOf(tip) !== undefined || membership.adoptsOf(tip).length > 0
    if (isBranched) branched.set(bytesText(tip.chain), tip.chain)
  }
  return [...branched.values()]
}
