import type { ShareClaims } from '../../src/capability/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { decodeUnverifiedEntry, type Entry } from '../../src/log/index.ts'
import type { Machine } from './machine.ts'

/** An entry that a machine has told its user, or anybody, of: it must not be lost. */
export interface Told {
  readonly entry: Entry
  readonly bytes: Uint8Array
  readonly machine: Machine
}

/** What somebody knows of an agent that is removed, by all that they know: hashes (hex) of entries. */
export interface KnownRemoval {
  readonly grants: ReadonlySet<string>
  /** What ended them. */
  readonly revokes: ReadonlySet<string>
  /** Grants of it, and what sealed an epoch to it. */
  readonly sealings: ReadonlySet<string>
}

/** A put, as the one who asked for it knows it. */
export interface WrittenPut {
  /** What it says; `undefined` when the content stayed what it was. */
  readonly text: string | undefined
  /** Agents (hex) of whom the author took it that they were removed. */
  readonly removed: ReadonlyMap<string, KnownRemoval>
  /** Names (hex) of the artifact's shares of which the author knew that they had been taken back. */
  readonly ended: ReadonlySet<string>
  /** Names (hex) of the artifact's shares that the author knew. */
  readonly shares: ReadonlySet<string>
  /** The epoch (hex) that the author knew the group to be in. */
  readonly groupEpoch: string | undefined
}

/** An entry that was made against the rules, at a time when its author had lost the right to its place. */
export interface Forbidden {
  readonly entry: Entry
  readonly why: string
}

/** What happened, as an onlooker knows who sees every machine and never asks the code that is tested. */
export class Ledger {
  readonly told = new Map<string, Told>()
  readonly puts = new Map<string, WrittenPut>()
  readonly forbidden: Forbidden[] = []
  /** Entries that a machine rightly forgot, for its disk was replaced by an older copy of itself. */
  readonly excused = new Set<string>()
  /** Every entry that anyone ever signed, those of liars too. */
  readonly signed = new Map<string, Uint8Array>()
  /** Hashes (hex) of grants, and of all that seals an epoch, by the agent (hex) that they name. */
  readonly grants = new Map<string, Set<string>>()
  readonly sealings = new Map<string, Set<string>>()
  /** Entries that end grants, by the agent (hex). */
  readonly revokes = new Map<string, Entry[]>()
  /**
   * By epoch (hex of its id), of each agent (hex) without a role what whoever began the epoch knew of its removal: if the grants
   * are all that it ever had, nobody honest gives it that epoch.
   */
  readonly excluded = new Map<string, ReadonlyMap<string, Omit<KnownRemoval, 'sealings'>>>()
  /** What was shared, by jti (hex). */
  readonly shares = new Map<string, ShareClaims>()
  /** By jti (hex), the hash (hex) of the entry that says so. */
  readonly shareEntries = new Map<string, string>()
  /** As `shares`, those that nobody was sent: their author was cut off right after they were durable. Their keys are out all the same. */
  readonly unsent = new Map<string, ShareClaims>()
  /** Entries that take shares back, by jti (hex). */
  readonly revocations = new Map<string, Entry[]>()
  readonly #agentOfPrefix = new Map<string, string>()
  /** What happened, for whoever reads of a failure. */
  readonly story: string[] = []

  tell(machine: Machine, bytes: Uint8Array): Entry {
    const entry = this.sign(bytes)
    machine.checkClock(entry)
    this.told.set(toHex(entry.hash), { entry, bytes, machine })
    if (entry.header.kind === 'rotate') this.#noteExcluded(entry, machine)
    return entry
  }

  /** Notes an entry of somebody's log: of one whose author was cut off right after it was durable nobody was told. */
  find(bytes: Uint8Array): void {
    if (!this.signed.has(toHex(decodeUnverifiedEntry(bytes).hash))) this.sign(bytes)
  }

  sign(bytes: Uint8Array): Entry {
    const entry = decodeUnverifiedEntry(bytes)
    const hash = toHex(entry.hash)
    this.signed.set(hash, bytes)
    if (entry.auth?.kind === 'grant') {
      const agent = toHex(entry.auth.agent)
      this.grants.set(agent, (this.grants.get(agent) ?? new Set()).add(hash))
      this.#agentOfPrefix.set(hash.slice(0, 16), agent)
      this.#seals(agent, hash)
    } else if (entry.auth?.kind === 'rotate' || entry.auth?.kind === 'keys') {
      for (const prefix of entry.auth.to) {
        const agent = this.#agentOfPrefix.get(toHex(prefix))
        if (agent !== undefined) this.#seals(agent, hash)
      }
    }
    if (entry.auth?.kind === 'revoke') {
      const agent = toHex(entry.auth.agent)
      this.revokes.set(agent, [...(this.revokes.get(agent) ?? []), entry])
    }
    if (entry.auth?.kind === 'revoke-capability') {
      for (const jti of entry.auth.jtis) {
        const name = toHex(jti)
        this.revocations.set(name, [...(this.revocations.get(name) ?? []), entry])
      }
    }
    return entry
  }

  #noteExcluded({ header }: Entry, { ns }: Machine): void {
    const excluded = new Map<string, Omit<KnownRemoval, 'sealings'>>()
    for (const [agent, grants] of this.grants) {
      if (ns === undefined || ns.roleOf(bytesOf(agent)) !== undefined) continue
      const ended = [...grants].filter((hash) => ns.membership.grantOf(bytesOf(hash))?.live === false)
      const revokes = ns.membership.endingsOf(bytesOf(agent)).map(({ revoke }) => toHex(revoke))
      excluded.set(agent, { grants: new Set(ended), revokes: new Set(revokes) })
    }
    this.excluded.set(toHex(header.keyId as Uint8Array), excluded)
  }

  #seals(agent: string, hash: string): void {
    this.sealings.set(agent, (this.sealings.get(agent) ?? new Set()).add(hash))
  }
}

/** Bytes from hex. */
export function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(hex, 'hex'))
}
