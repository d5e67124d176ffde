import { bytesText, toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { ChainName, Membership, ShownEntries } from '../membership/index.ts'
import { chainOf } from './chains.ts'
import { isAmong } from './shown.ts'

/** Entries that are kept in mind, with those that tell of them: some 100 bytes of one that gave nothing, 500 of one that tells. */
const maxKept = 50_000

/** An entry that tells of what others gave, as far as it takes to see whether others are still told of it. */
interface Teller {
  readonly chain: string
  readonly name: ChainName
  readonly seq: number
  readonly hash: Uint8Array
}

interface Kept {
  readonly tellers: readonly Teller[]
  /** How often keys had come, where some of it could not be read. */
  readonly keysGained: number | undefined
}

/** As what was looked at. */
export interface LookedBy {
  readonly membership: Pick<Membership, 'shownOf'>
  /** How often keys had come. */
  readonly keysGained: number
  /** That this agent writes under: what else was told depends on it. */
  readonly grant: Uint8Array
}

/**
 * Entries of which others are not told and that were looked at, by hash in hex: of what each gave others are told, or it gave nothing. So it stays as long as they are told of the same
 * entries that say so.
 */
export class ToldEntries {
  readonly #max: number
  #kept = new Map<string, Kept>()
  #size = 0
  #grant: string | undefined

  /** @param max entries that are kept in mind; more are to be looked at again each time */
  constructor(max = maxKept) {
    this.#max = max
  }

  /** Those of the entries that are to be looked at. What is not among them is forgotten. */
  left(hidden: Iterable<string>, { membership, keysGained, grant }: LookedBy): string[] {
    const before = this.#grant === toHex(grant) ? this.#kept : new Map<string, Kept>()
    this.#grant = toHex(grant)
    this.#kept = new Map()
    this.#size = 0
    const isShown = shownBy(membership)
    const left: string[] = []
    for (const hash of hidden) {
      const kept = before.get(hash)
      const isAsItWas = kept !== undefined && (kept.keysGained ?? keysGained) === keysGained
      if (isAsItWas && kept.tellers.every(isShown)) this.#keep(hash, kept)
      else left.push(hash)
    }
    return left
  }

  /**
   * An entry was looked at.
   *
   * @param tellers that tell of what it gave
   * @param keysGained how often keys had come, if some of it could not be read
   */
  note(hash: string, tellers: readonly Entry[], keysGained: number | undefined): void {
    const distinct = new Map(tellers.map((entry) => [bytesText(entry.hash), entry]))
    this.#keep(hash, { tellers: [...distinct.values()].map(tellerOf), keysGained })
  }

  #keep(hash: string, kept: Kept): void {
    const size = 1 + kept.tellers.length
    if (this.#size + size > this.#max) return
    this.#size += size
    this.#kept.set(hash, kept)
  }
}

function shownBy(membership: Pick<Membership, 'shownOf'>): (teller: Teller) => boolean {
  const chains = new Map<string, ShownEntries | undefined>()
  return ({ chain, name, seq, hash }) => {
    if (!chains.has(chain)) chains.set(chain, membership.shownOf(name))
    const shown = chains.get(chain)
    return shown === undefined || isAmong(shown, seq, hash)
  }
}

/** Copies, for what was read keeps the whole entry. */
function tellerOf(entry: Entry): Teller {
  const { author, grant, incarnation, seq } = entry.header
  const name = {
    author: author.slice(),
    grant: (grant ?? entry.hash).slice(),
    incarnation: incarnation.slice(),
  }
  return { chain: bytesText(chainOf(entry)), name, seq, hash: entry.hash.slice() }
}
