import { bytesText, equalBytes } from '../encoding/index.ts'
import { type Entry, grantPrefix } from '../log/index.ts'
import type { Keyring } from '../sharing/index.ts'
import { decodeStored, type StoredLog } from './stored-log.ts'

/** What is looked at of an entry. */
export type Sealing = Pick<Entry, 'hash' | 'header' | 'auth'> & { readonly keys?: Entry['keys'] }

/** Takes the epoch secrets that auth entries seal to one agent into its keyring, and those wrapped under them. */
export class SealedKeys {
  readonly #keyring: Keyring
  readonly #agent: Uint8Array
  /** How the grants that the agent was ever given (the genesis, for the owner) are named in what is sealed to them, as text. */
  readonly #prefixes = new Set<string>()

  /** @param agent raw public key, whose secret the keyring has */
  constructor(keyring: Keyring, agent: Uint8Array) {
    this.#keyring = keyring
    this.#agent = agent
  }

  /** Gives whether any key was new. */
  take(entries: readonly Sealing[]): boolean {
    for (const prefix of this.#ownPrefixes(entries)) this.#prefixes.add(prefix)
    return this.#admit(entries, this.#prefixes)
  }

  /** As `take`, but of entries that may never be stored: what is sealed to grants among them is taken, the grants are not noted. */
  glance(entries: readonly Sealing[]): boolean {
    return this.#admit(entries, new Set([...this.#prefixes, ...this.#ownPrefixes(entries)]))
  }

  /** As `take`, of entries that come after those of a log, where what was sealed to a grant may be before the grant. */
  async learn(entries: readonly Sealing[], log: StoredLog): Promise<boolean> {
    const before = this.#prefixes.size
    let gained = this.take(entries)
    if (this.#prefixes.size === before) return gained
    for await (const { bytes } of log.auth()) {
      gained = this.#admit([decodeStored(bytes)], this.#prefixes) || gained
    }
    return gained
  }

  *#ownPrefixes(entries: readonly Sealing[]): Generator<string> {
    for (const { hash, header, auth } of entries) {
      const named = auth?.kind === 'grant' ? auth.agent : auth?.kind === 'genesis' ? header.author : undefined
      if (named !== undefined && equalBytes(named, this.#agent)) yield bytesText(grantPrefix(hash))
    }
  }

  #admit(entries: readonly Sealing[], prefixes: ReadonlySet<string>): boolean {
    let gained = false
    for (const { hash, header, auth, keys } of entries) {
      if (header.keyId === undefined || keys === undefined || auth === undefined) continue
      const to =
        auth.kind === 'grant' ? [grantPrefix(hash)] : auth.kind === 'rotate' || auth.kind === 'keys' ? auth.to : []
      const isOwn = to.some((prefix) => prefixes.has(bytesText(prefix)))
      gained = this.#keyring.admit(header.keyId, keys, isOwn) || gained
    }
    return gained
  }
}
