import { bytesText } from '../encoding/index.ts'
import type { AuthEntry, EntryPlace, Membership } from '../membership/index.ts'
import { adoptedChainOf, chainOf } from './chains.ts'

/** A membership and what came to it since: evaluated when it is asked for, not with every entry. */
export class MembershipGrowth {
  #membership: Membership
  #touched: ReadonlySet<string> | undefined = new Set()
  #auth: AuthEntry[] = []
  #links: EntryPlace[] = []
  /** Hashes that adopts added here name, and their chains: the membership before does not wait for them. */
  readonly #adopted = new Set<string>()
  readonly #adoptedChains = new Set<string>()

  constructor(membership: Membership) {
    this.#membership = membership
  }

  /** An entry that says who may do what was stored. */
  addAuth(entry: AuthEntry): void {
    this.#auth.push(entry)
    if (entry.auth.kind !== 'adopt') return
    this.#adopted.add(bytesText(entry.auth.hash))
    if (this.#membership.isPart) this.#adoptedChains.add(bytesText(adoptedChainOf(entry.auth)))
  }

  /** Where an entry stands, to tell branches of its chain apart. */
  addLink(entry: EntryPlace): void {
    this.#links.push(entry)
  }

  /** As `addLink`, where the membership waits for that very entry. */
  addLinkIfNeeded(entry: EntryPlace): void {
    const isAdopted = this.#adopted.has(bytesText(entry.hash)) || this.#isOfAdoptedChain(entry)
    if (isAdopted || this.#membership.needsLink(entry)) this.#links.push(entry)
  }

  #isOfAdoptedChain(entry: EntryPlace): boolean {
    return this.#adoptedChains.size > 0 && this.#adoptedChains.has(bytesText(chainOf(entry)))
  }

  /** Who may do what, with all that was added. */
  get membership(): Membership {
    if (this.#auth.length > 0 || this.#links.length > 0) {
      this.#membership = this.#membership.with({ auth: this.#auth, links: this.#links })
      const { touched } = this.#membership
      this.#touched = touched && this.#touched?.union(touched)
      this.#auth = []
      this.#links = []
    }
    return this.#membership
  }

  /** Grants (hex) whose chains may count otherwise than at first; `undefined` when any may. */
  get touched(): ReadonlySet<string> | undefined {
    void this.membership
    return this.#touched
  }
}
