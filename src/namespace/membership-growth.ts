import { bytesText } from '../encoding/index.ts'
import type { AuthEntry, EntryPlace, Membership } from '../membership/index.ts'

/** A membership and what came to it since: evaluated when it is asked for, not with every entry. */
export class MembershipGrowth {
  #membership: Membership
  #touched: ReadonlySet<string> | undefined = new Set()
  #auth: AuthEntry[] = []
  #links: EntryPlace[] = []
  /** Hashes that adopts added here name: the membership before does not wait for them. */
  readonly #adopted = new Set<string>()

  constructor(membership: Membership) {
    this.#membership = membership
  }

  /** An entry that says who may do what was stored. */
  addAuth(entry: AuthEntry): void {
    this.#auth.push(entry)
    if (entry.auth.kind === 'adopt') this.#adopted.add(bytesText(entry.auth.hash))
  }

  /** Where an entry stands, to tell branches of its chain apart. */
  addLink(entry: EntryPlace): void {
    this.#links.push(entry)
  }

  /** As `addLink`, where the membership waits for that very entry. */
  addLinkIfNeeded(entry: EntryPlace): void {
    if (this.#membership.needsLink(entry) || this.#adopted.has(bytesText(entry.hash))) this.#links.push(entry)
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
