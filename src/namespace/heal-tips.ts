import { bytesText, prefixEnd } from '../encoding/index.ts'
import { PartialChainWalk, WholeChainWalk } from './chain-walk.ts'
import { type Chains, compareTips, type Tip, tipChange, tipRemoval } from './chains.ts'
import type { NamespaceParts } from './parts.ts'
import { readStored } from './stored-log.ts'
import { placeOf } from './tables.ts'

/**
 * Makes the tips of a forked chain again from its entries, and records them, where a damaged disk left one whose entry is gone or that another
 * follows: others would be told that it is held, and what comes after it would be taken without it. One read for each tip where all is well.
 *
 * @throws STORAGE_FAILED
 */
export async function healTips(parts: NamespaceParts, chains: Chains): Promise<void> {
  const { env, keys, log, partial } = parts
  for (const tips of [...chains.forked()]) {
    const [{ chain }] = tips
    if (await areTips(parts, tips)) continue
    const walk = partial === undefined ? new WholeChainWalk(chain) : new PartialChainWalk(chain)
    for await (const { bytes } of log.ofChain(chain, 0)) {
      const entry = readStored(bytes)
      if (entry !== undefined) walk.take(entry)
    }
    const made = [...walk.tips].sort(compareTips)
    if (made.length === 0) continue
    const held = new Set(made.map(({ hash }) => bytesText(hash)))
    const gone = tips.filter(({ hash }) => !held.has(bytesText(hash)))
    const changes = [...gone.map((tip) => tipRemoval(keys, tip)), ...made.map((tip) => tipChange(keys, tip))]
    await env.store.batch(changes, { sync: false })
    chains.set(made)
  }
}

/** Whether each is held, and, of a log of which all is held, followed by none. */
async function areTips({ env: { store }, keys, partial }: NamespaceParts, tips: readonly [Tip, ...Tip[]]) {
  for (const { chain, seq, hash } of tips)
    if ((await store.get(keys.entry(chain, seq, hash))) === undefined) return false
  if (partial !== undefined) return true
  const [{ chain }] = tips
  const hashes = new Set(tips.map(({ hash }) => bytesText(hash)))
  for (const seq of new Set(tips.map((tip) => tip.seq + 1))) {
    const gte = keys.key('entries', placeOf(chain, seq))
    for await (const [, bytes] of store.entries({ gte, lt: prefixEnd(gte) as Uint8Array })) {
      const previous = readStored(bytes)?.header.previous
      if (previous !== undefined && hashes.has(bytesText(previous))) return false
    }
  }
  return true
}
