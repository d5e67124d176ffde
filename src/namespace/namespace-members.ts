import type { GrantedRole } from '../log/index.ts'
import type { Ledger } from './ledger.ts'
import { type Grants, type Revokes, writeAdopt, writeGrants, writeRevokes, writeRotate } from './membership-writes.ts'

/** What this agent decides on the members of a namespace, or a group. Who they are: `Namespace.membership`. */
export class NamespaceMembers {
  readonly #ledger: Ledger

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** As `grantAll`, to one agent. */
  async grant({ agent, role }: { agent: Uint8Array; role: GrantedRole }): Promise<void> {
    await this.grantAll({ agents: [agent], role })
  }

  /**
   * Gives agents a role, in one batch: by name the highest that each will have, by way of a group one beside what it has. Nothing is written
   * for those who have it. @throws ACCESS_DENIED, INVALID_ARGUMENT
   */
  async grantAll(grants: Grants): Promise<void> {
    await writeGrants(this.#ledger, grants)
  }

  /** As `revokeAll`, of one agent. */
  async revoke({ agent }: { agent: Uint8Array }): Promise<void> {
    await this.revokeAll({ agents: [agent] })
  }

  /**
   * Takes the roles of agents away, or only those by way of a group, and begins an epoch that they are not told of, in one batch. What counts
   * now goes on counting. @throws ACCESS_DENIED; NOT_FOUND for who has no role
   */
  async revokeAll(revokes: Revokes): Promise<void> {
    await writeRevokes(this.#ledger, revokes)
  }

  /** Lets a chain count up to and with that entry, on its branch, whatever a fork or a revoke says. @throws ACCESS_DENIED, NOT_FOUND */
  async adopt({ hash }: { hash: Uint8Array }): Promise<void> {
    await writeAdopt(this.#ledger, hash)
  }

  /** Begins an epoch: keys of what is written from now on are wrapped under a fresh secret. @throws ACCESS_DENIED */
  async rotate(): Promise<void> {
    await writeRotate(this.#ledger)
  }
}
