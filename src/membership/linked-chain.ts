import { awaitedIn, type Bounds, type ChainFacts } from './chain-limit.ts'
import { ChainLinks, type Link } from './chain-links.ts'
import { PartBounds } from './part-limit.ts'
import type { Position } from './statements.ts'
import { WholeBounds } from './whole-limit.ts'

/** What bounds a chain, and whether more is to come. */
export interface ChainBounds {
  readonly bounds: Bounds
  /** See `ShownEntries`. */
  readonly awaited: number
  /** The same as long as only links came that are not named. */
  readonly era: unknown
}

type Said = Pick<ChainFacts, 'cuts' | 'adopts'>

/**
 * What is linked of one chain, with what was found last to bound it: what more links change of that is found when they are added, so most cost
 * little however many are held. Immutable but for that.
 */
export class LinkedChain {
  static readonly none = new LinkedChain(ChainLinks.none)
  readonly links: ChainLinks
  #found: (Said & ChainBounds) | undefined

  private constructor(links: ChainLinks) {
    this.links = links
  }

  with(link: Link): LinkedChain {
    const links = this.links.with(link)
    if (links === this.links) return this
    const chain = new LinkedChain(links)
    const bounds = this.#found?.bounds.with(links, link)
    if (this.#found === undefined || bounds === undefined) return chain
    // Of a chain that is forked what a cut names is awaited too.
    const isForkLower = links.forkSeq !== this.links.forkSeq
    const awaited = isForkLower ? awaitedIn({ ...this.#found, links }) : this.#found.awaited
    chain.#found = { ...this.#found, bounds, awaited }
    return chain
  }

  /** @param options.isPart whether some entries of the chain are held and others not */
  boundsBy(said: Said, { isPart }: { readonly isPart: boolean }): ChainBounds {
    const found = this.#found
    if (found !== undefined && isSame(found.cuts, said.cuts) && isSame(found.adopts, said.adopts)) return found
    const facts = { ...said, links: this.links }
    const bounds = (isPart ? PartBounds : WholeBounds).of(facts)
    const isLinked = this !== LinkedChain.none
    const era = isLinked ? {} : JSON.stringify([said.cuts, said.adopts])
    const made = { ...said, bounds, awaited: awaitedIn(facts), era }
    if (isLinked) this.#found = made
    return made
  }
}

function isSame(one: readonly (Position | undefined)[], two: readonly (Position | undefined)[]): boolean {
  return one.length === two.length && one.every((a, at) => a?.seq === two[at]?.seq && a?.hash === two[at]?.hash)
}
