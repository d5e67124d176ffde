import type { ClockReading } from '../catalog/index.ts'
import { fromHex, toHex } from '../encoding/index.ts'
import type { Member } from './members.ts'
import { rankOf } from './roles.ts'
import type { GrantStatement, Place, SealingStatement, Statements } from './statements.ts'

/** A period under one namespace key that a counting rotate began. */
export interface Epoch {
  /** Id of its secret, 16 bytes. */
  readonly id: Uint8Array
  /** Hash of the rotate; of several that bring one secret, the earliest. */
  readonly rotate: Uint8Array
  readonly clock: ClockReading
  /** How many epochs stand one behind the other under its secret. Partial copies of rotates say nothing of it. */
  readonly depth: number
}

/** What somebody with the right to should do. */
export interface Owed {
  /** There is no good epoch, or a group is not known by one: the owner or an admin should rotate. */
  readonly rotation: boolean
  /** The best good epoch. */
  readonly epoch: Uint8Array | undefined
  /** Members who should have its secret and to whom nobody has sealed it: any writer who has it should. */
  readonly boxes: readonly Member[]
}

/** What epochs are judged by. */
export interface Standing {
  counts(entry: Place): boolean
  isLive(grant: GrantStatement): boolean
  isEffective(grant: GrantStatement): boolean
  /** The rank of an entry's author, by the grant that it stands under. */
  rankUnder(entry: Place): number
  /** First half-way name of the owner's own grant, in hex: it is sealed to under the genesis. */
  readonly ownerPrefix: string
}

/** From which on somebody decides who is a member. */
const rulingRank = rankOf('admin')

interface EpochState extends Epoch {
  readonly key: string
  readonly wraps: readonly string[]
}

/** The epochs of a namespace, each judged when asked for. */
export class Epochs {
  readonly #statements: Statements
  readonly #standing: Standing
  #ordered: readonly EpochState[] | undefined
  #places: ReadonlyMap<string, number> | undefined
  readonly #good = new Map<string, boolean>()
  #above: ReadonlyMap<string, ReadonlyMap<string, number>> | undefined

  constructor(statements: Statements, standing: Standing) {
    this.#statements = statements
    this.#standing = standing
  }

  /** Best first: by depth, then clock, then hash of the rotate. */
  get ordered(): readonly Epoch[] {
    this.#ordered ??= orderEpochs([...this.#begun()])
    return this.#ordered
  }

  /** Whether a rotate that counts brings the secret. */
  isBegun(id: Uint8Array): boolean {
    return this.#placeOf(toHex(id)) !== undefined
  }

  /**
   * Ids of the epochs that entries which count say it to be wrapped under: of those begun by a rotate that counts, the ones before it in the order, so
   * that no two stand above each other.
   */
  above(id: Uint8Array): readonly Uint8Array[] {
    const key = toHex(id)
    const place = this.#placeOf(key) ?? Number.POSITIVE_INFINITY
    const isBetter = (above: string) => (this.#placeOf(above) ?? place) < place
    return [...(this.#wrappedUnder.get(key)?.keys() ?? [])].filter(isBetter).map(fromHex)
  }

  /** Hashes of all rotates that are held and bring the secret, whether or not they count. */
  rotatesOf(id: Uint8Array): readonly Uint8Array[] {
    const sealings = this.#statements.sealings.get(toHex(id))
    return sealings.flatMap(({ entry }) => (entry.kind === 'rotate' ? [fromHex(entry.hash)] : []))
  }

  /** Whether the rotate counts and everyone that the secret was sealed to, or one that it is wrapped under, is a member still. */
  isGood(id: Uint8Array): boolean {
    const key = toHex(id)
    let good = this.#good.get(key)
    if (good === undefined) {
      good = this.#isGood(key, 0)
      this.#good.set(key, good)
    }
    return good
  }

  /** Whether an epoch were good if writers had sealed nothing. */
  wouldBeGood(id: Uint8Array): boolean {
    return this.#isGood(toHex(id), rulingRank)
  }

  /** Hex prefixes of the grants that the secret was sealed to, by entries that count and whose author has at least that rank. */
  sealedTo(id: Uint8Array, rank: number): ReadonlySet<string> {
    const sealings = this.#sealings(toHex(id)).filter(({ entry }) => this.#standing.rankUnder(entry) >= rank)
    return new Set(sealings.flatMap(({ to }) => to.map(toHex)))
  }

  /** @param rank below which what is said of boxes and wraps is passed over */
  #isGood(key: string, rank: number): boolean {
    if (!this.#sealings(key).some(({ entry }) => entry.kind === 'rotate')) return false
    // Who was given an epoch has those that it wraps, from before their time.
    const opening = new Set([key])
    for (const one of opening) {
      for (const { entry, to } of this.#sealings(one)) {
        const by = this.#standing.rankUnder(entry)
        const mayStand = by < rulingRank ? this.#areNotEnded : this.#areLive
        if (by >= rank && !to.every((prefix) => mayStand(toHex(prefix)))) return false
      }
      for (const [above, by] of this.#wrappedUnder.get(one) ?? []) if (by >= rank) opening.add(above)
    }
    return true
  }

  /** By epoch, those that entries which count say it to be wrapped under, each with the highest rank of who says so. */
  get #wrappedUnder(): ReadonlyMap<string, ReadonlyMap<string, number>> {
    if (this.#above !== undefined) return this.#above
    const above = new Map<string, Map<string, number>>()
    for (const key of this.#statements.sealings.keys()) {
      for (const { entry, wraps } of this.#sealings(key)) {
        if (wraps.length === 0) continue
        const by = this.#standing.rankUnder(entry)
        for (const wrapped of wraps) {
          const known = above.get(wrapped) ?? new Map<string, number>()
          above.set(wrapped, known.set(key, Math.max(known.get(key) ?? 0, by)))
        }
      }
    }
    this.#above = above
    return above
  }

  /** Where an epoch stands among those that a counting rotate began, 0 for the best. */
  #placeOf(key: string): number | undefined {
    this.#places ??= new Map(this.ordered.map(({ id }, at) => [toHex(id), at]))
    return this.#places.get(key)
  }

  readonly #areLive = (prefix: string): boolean => {
    if (prefix === this.#standing.ownerPrefix) return true
    const grants = this.#statements.grantsByPrefix.get(prefix)
    return grants.length > 0 && grants.every((grant) => this.#standing.isLive(grant))
  }

  /** Writers can name whatever they like: grants that are not held, or have no effect, are nobody's. */
  readonly #areNotEnded = (prefix: string): boolean => {
    const grants = this.#statements.grantsByPrefix.get(prefix)
    return grants.every((grant) => !this.#standing.isEffective(grant) || this.#standing.isLive(grant))
  }

  #sealings(key: string): SealingStatement[] {
    return this.#statements.sealings.get(key).filter(({ entry }) => this.#standing.counts(entry))
  }

  *#begun(): Generator<EpochState> {
    for (const key of this.#statements.sealings.keys()) {
      const rotates = this.#sealings(key).filter(({ entry }) => entry.kind === 'rotate')
      const [first] = rotates.sort((one, two) => compareClocks(one.clock, two.clock, one.entry.hash, two.entry.hash))
      if (first === undefined) continue
      const wraps = [...new Set(rotates.flatMap((rotate) => rotate.wraps))]
      yield { key, id: fromHex(key), rotate: fromHex(first.entry.hash), clock: first.clock, depth: 0, wraps }
    }
  }
}

/** An epoch stands behind another that wraps it, unless it claims to be later: so no cycle of wraps can be made. */
function orderEpochs(epochs: EpochState[]): EpochState[] {
  const isAfter = (one: Epoch, two: Epoch) => compareClocks(one.clock, two.clock, one.rotate, two.rotate)
  const placed = new Map<string, EpochState>()
  for (const epoch of epochs.sort(isAfter)) {
    const depth = epoch.wraps.reduce((most, key) => Math.max(most, (placed.get(key)?.depth ?? -1) + 1), 0)
    placed.set(epoch.key, { ...epoch, depth })
  }
  return [...placed.values()].sort((one, two) => two.depth - one.depth || isAfter(two, one))
}

/** Negative, zero or positive as the first stands before, with or after the second: by clock, then name. */
export function compareClocks<T extends string | Uint8Array>(
  one: ClockReading,
  two: ClockReading,
  oneName: T,
  twoName: T,
): number {
  const byClock = one.wallMs - two.wallMs || one.counter - two.counter
  if (byClock !== 0) return byClock
  if (typeof oneName === 'string') return oneName < twoName ? -1 : oneName > twoName ? 1 : 0
  return Buffer.compare(oneName, twoName as Uint8Array)
}
