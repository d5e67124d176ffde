import { bytesText, equalBytes, toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Membership, ShownEntries } from '../membership/index.ts'
import { chainOf, type Tip, tipOf } from './chains.ts'
import { readStored, type StoredLog } from './stored-log.ts'

/** Whether an entry is one that others are told of: what lies beyond the limit of its chain is not. */
export function isShownBy(
  membership: Membership,
  { header, hash }: Pick<Entry, 'header' | 'hash'>,
  shown = membership.shownOf({ ...header, grant: header.grant ?? hash }),
): boolean {
  return shown === undefined || isAmong(shown, header.seq, hash)
}

/** The tips of what is shown of a chain, ascending by (seq, hash); `undefined` when all of it is. Reads no more than these, of a chain that is held whole. */
export async function shownTips(
  log: StoredLog,
  membership: Membership,
  tips: readonly Tip[],
): Promise<readonly Tip[] | undefined> {
  const [first] = tips
  const shown = first && membership.shownOf(first)
  if (first === undefined || shown === undefined) return undefined
  if (tips.length === 1 && isAmong(shown, first.seq, first.hash)) return undefined
  const held = new Map(tips.map((tip) => [bytesText(tip.hash), tip]))
  const found: Tip[] = []
  for (const { seq, hash } of shown.ends) {
    const known = held.get(bytesText(hash))
    const bytes = known === undefined ? await log.bytes(hash) : undefined
    const entry = bytes && readStored(bytes)
    if (known !== undefined) found.push(known)
    else if (entry?.header.seq === seq && equalBytes(chainOf(entry), first.chain)) found.push(tipOf(entry, first.chain))
  }
  if (found.length > 0 || shown.below === 0)
    return found.sort((a, b) => a.seq - b.seq || Buffer.compare(a.hash, b.hash))
  for await (const { bytes } of log.at(first.chain, shown.below - 1)) {
    const entry = readStored(bytes)
    if (entry !== undefined) found.push(tipOf(entry, first.chain))
  }
  return found.length > 0 ? found : tips.filter(({ seq }) => seq < shown.below)
}

/** Whether the entry of that seq and hash is shown. */
export function isAmong(shown: ShownEntries, seq: number, hash: Uint8Array): boolean {
  return seq < shown.below || shown.has(seq, toHex(hash))
}
