import type { Place } from './statements.ts'

/** Who ended capabilities of one name. */
export interface Revokers {
  /** Whoever said so: agents in hex. */
  readonly authors: ReadonlySet<string>
  /** The highest rank of those whose entry counts; below all ranks when none does. */
  readonly rank: number
}

const noRank = -1

/**
 * Looks at each entry once, whatever number of capabilities has that name: anyone who may write can write any number of either.
 *
 * @param standing.rankOf the rank that an entry stands under; `undefined` under none
 */
export function revokersOf(
  revocations: readonly Place[],
  standing: { rankOf(entry: Place): number | undefined; counts(entry: Place): boolean },
): Revokers {
  let highest = noRank
  for (const entry of revocations) {
    const rank = standing.rankOf(entry) ?? noRank
    if (rank > highest && standing.counts(entry)) highest = rank
  }
  return { authors: new Set(revocations.map(({ author }) => author)), rank: highest }
}

/**
 * Whether a capability was ended: by its issuer, wherever in their chains that stands (what a cut voids of them took no
 * right from others), or by somebody above the role that it was issued with. Of others' entries it means nothing.
 *
 * @param right.issuer who issued it, in hex
 * @param right.rank of the role that it was issued with; `undefined` when that is not known
 */
export function isRevokedBy(
  { authors, rank }: Revokers,
  right: { readonly issuer: string; readonly rank: number | undefined },
): boolean {
  return authors.has(right.issuer) || (right.rank !== undefined && rank > right.rank)
}
