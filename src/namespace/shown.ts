import { bytesText, toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Membership, ShownEntries } from '../membership/index.ts'
import { type Tip, tipOf } from './chains.ts'
import { readStored, type StoredLog } from './stored-log.ts'

/** Whether an entry is one that others are told of: what lies beyond the limit of its chain is not. */
export function isShownBy(
  membership: Membership,
  { header, hash }: Pick<Entry, 'header' | 'hash'>,
  shown = membership.shownOf({ ...header, grant: header.grant ?? hash }),
): boolean {
  return shown === undefined || isAmong(shown, header.seq, hash)
}

/** The tips of what is shown of a chain, ascending by (seq, hash); `undefined` when all of it is. */
export async function shownTips(
  log: StoredLog,
  membership: Membership,
  tips: readonly Tip[],
): Promise<readonly Tip[] | undefined> {
  const [first] = tips
  const shown = first && membership.shownOf(first)
  if (first === undefined || shown === undefined) return undefined
  if (tips.length === 1 && isAmong(shown, first.seq, first.hash)) return undefined
  const found = new Map<string, Tip>()
  const highest = Math.max(shown.below - 1, ...shown.listed.values())
  if (highest < 0) return []
  for await (const { bytes } of log.ofChain(first.chain, Math.max(0, shown.below - 1))) {
    const entry = readStored(bytes)
    if (entry === undefined) continue
    const { seq, previous } = entry.header
    if (seq > highest) break
    if (!isAmong(shown, seq, entry.hash)) continue
    if (previous !== undefined) found.delete(bytesText(previous))
    found.set(bytesText(entry.hash), tipOf(entry, first.chain))
  }
  return found.size > 0 ? [...found.values()] : tips.filter(({ seq }) => seq < shown.below)
}

/** Whether the entry of that seq and hash is shown. */
export function isAmong({ below, listed }: ShownEntries, seq: number, hash: Uint8Array): boolean {
  return seq < below || listed.get(toHex(hash)) === seq
}
