import { bytesText } from '../encoding/index.ts'
import { epochSettleMs, maxParentHeads } from '../limits.ts'
import { type Membership, rankOf } from '../membership/index.ts'
import type { Chains, Tip } from './chains.ts'

/**
 * Since when epochs are known here whose author knew entries that are not held. Whoever was removed in one of these, unknown here, must not
 * be given the epoch that excludes it. The entries may never come, so the wait is bounded; a restart begins it anew.
 */
export class EpochWaits {
  readonly #since = new Map<string, number>()

  /**
   * Whether to wait before an epoch is sealed to anyone.
   *
   * @param rotate hash of the entry that begins it
   * @param isWhole whether all that this names is held
   * @param now milliseconds since 1970
   */
  mustWait(rotate: Uint8Array, isWhole: boolean, now: number): boolean {
    const name = bytesText(rotate)
    if (isWhole) {
      this.#since.delete(name)
      return false
    }
    const since = this.#since.get(name) ?? now
    // A clock that was set back begins it anew.
    this.#since.set(name, Math.min(since, now))
    return now - since < epochSettleMs
  }
}

/**
 * What a rotate names: the newest entries of those who decide who is a member, whoever named them before, so that it tells which
 * removals its author knew of; and then of `others` as there is room. Ascending.
 */
export function headsOfRotate(
  membership: Membership,
  chains: Chains,
  grown: Iterable<readonly Tip[]>,
  own: Uint8Array,
  others: readonly Uint8Array[],
): Uint8Array[] {
  const tips = new Map<string, readonly Tip[]>()
  for (const { chain } of chains.all()) tips.set(bytesText(chain), chains.shownTipsOf(chain))
  for (const now of grown) if (now[0] !== undefined) tips.set(bytesText(now[0].chain), now)
  tips.delete(bytesText(own))
  const ruling = [...tips.values()]
    .flat()
    .filter(({ grant }) => rankOf(membership.grantOf(grant)?.role ?? 'reader') >= rankOf('admin'))
    .sort((a, b) => b.clock.wallMs - a.clock.wallMs || b.clock.counter - a.clock.counter)
    .map(({ hash }) => hash)
  return headsWith(ruling, others)
}

/** Those that must be named, and of the others as many as there is room for. Ascending. */
export function headsWith(first: readonly Uint8Array[], others: readonly Uint8Array[]): Uint8Array[] {
  const heads = new Map([...first, ...others].map((hash) => [bytesText(hash), hash]))
  return [...heads.values()].slice(0, maxParentHeads).sort(Buffer.compare)
}
