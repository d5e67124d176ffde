import { bytesText, equalBytes, formatGroupId } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer, PeerNetwork } from '../../../src/exchange/index.ts'
import { formatDid, isTicket, parseDid, parseTicket } from '../../../src/identity/index.ts'
import { maxContacts } from '../../../src/limits.ts'
import type { KeyValueStore } from '../../../src/storage/index.ts'
import { gatewayOfAddress } from '../links/gateway-address.ts'
import { type ContactRow, deleteContact, type GroupContactRow, loadContacts, putContact } from './rows.ts'

/** Names for agents and groups, local to this node, each unique. */
export class Contacts {
  readonly #store: KeyValueStore
  readonly #network: Pick<PeerNetwork, 'addAddresses'>
  readonly #rows = new Map<string, ContactRow>()
  readonly #groups = new Map<string, GroupContactRow>()
  /** By agent or group as text: asked for each row of a list. */
  readonly #names = new Map<string, Set<string>>()
  /** One change at a time: names must stay unique. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(store: KeyValueStore, network: Pick<PeerNetwork, 'addAddresses'>) {
    this.#store = store
    this.#network = network
  }

  /** @throws CORRUPT */
  static async open(store: KeyValueStore, network: Pick<PeerNetwork, 'addAddresses'>): Promise<Contacts> {
    const contacts = new Contacts(store, network)
    for (const row of await loadContacts(store)) contacts.#remember(row)
    return contacts
  }

  /** Groups, by name. */
  get groups(): readonly GroupContactRow[] {
    return [...this.#groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Agents, by name. */
  get all(): readonly ContactRow[] {
    return [...this.#rows.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** The name of an agent, the first of several. */
  nameOf(agent: Uint8Array): string | undefined {
    return this.#firstName(agent, this.#rows)
  }

  /** A group's contact, the first of several. */
  groupOf(group: Uint8Array): GroupContactRow | undefined {
    const name = this.#firstName(group, this.#groups)
    return name === undefined ? undefined : this.#groups.get(name)
  }

  #firstName(id: Uint8Array, rows: ReadonlyMap<string, unknown>): string | undefined {
    let first: string | undefined
    for (const name of this.#names.get(bytesText(id)) ?? [])
      if (rows.has(name) && (first === undefined || name < first)) first = name
    return first
  }

  /** @throws ALREADY_EXISTS for another's name, TOO_LARGE */
  add(name: string, { agent, addresses }: KnownPeer): Promise<ContactRow> {
    return this.#exclusively(async () => {
      const known = this.#rows.get(name)
      this.#checkFree(name, (known) => 'agent' in known && equalBytes(known.agent, agent))
      return await this.#put({ name, agent, addresses: addresses.length > 0 ? addresses : (known?.addresses ?? []) })
    })
  }

  /** @throws as `add` */
  addGroup(name: string, group: Uint8Array, peers: readonly KnownPeer[]): Promise<GroupContactRow> {
    return this.#exclusively(async () => {
      this.#checkFree(name, (known) => 'group' in known && equalBytes(known.group, group))
      return await this.#put({ name, group, peers })
    })
  }

  #checkFree(name: string, isSame: (known: ContactRow | GroupContactRow) => boolean): void {
    const known = this.#rows.get(name) ?? this.#groups.get(name)
    if (known !== undefined && !isSame(known)) {
      const [kind, id] = 'agent' in known ? ['did', formatDid(known.agent)] : ['group', formatGroupId(known.group)]
      throw new ArtifactHubError('ALREADY_EXISTS', `${JSON.stringify(name)} is the name of ${id}`, {
        details: { name, [kind as string]: id },
      })
    }
    if (known === undefined && this.#rows.size + this.#groups.size >= maxContacts)
      throw new ArtifactHubError('TOO_LARGE', `a node keeps at most ${maxContacts} contacts`)
  }

  async #put<R extends ContactRow | GroupContactRow>(row: R): Promise<R> {
    await this.#store.batch([putContact(row)], { sync: true })
    this.#remember(row)
    return row
  }

  #remember(row: ContactRow | GroupContactRow): void {
    const id = bytesText('group' in row ? row.group : row.agent)
    const names = this.#names.get(id) ?? new Set()
    this.#names.set(id, names.add(row.name))
    if ('group' in row) {
      this.#groups.set(row.name, row)
      for (const peer of row.peers) this.#know(peer)
    } else {
      this.#rows.set(row.name, row)
      this.#know(row)
    }
  }

  /** @throws NOT_FOUND */
  remove(name: string): Promise<void> {
    return this.#exclusively(async () => {
      const id = this.#rows.get(name)?.agent ?? this.#groups.get(name)?.group
      if (id === undefined) throw noSuchContact(name)
      await this.#store.batch([deleteContact(name)], { sync: true })
      this.#rows.delete(name)
      this.#groups.delete(name)
      const names = this.#names.get(bytesText(id))
      names?.delete(name)
      if (names?.size === 0) this.#names.delete(bytesText(id))
    })
  }

  /**
   * The agent that a text names: a contact's name, a DID or an agent's ticket, whose addresses are remembered.
   * @throws NOT_FOUND for a name that is not known, INVALID_ARGUMENT for a damaged DID or ticket
   */
  resolve(text: string): KnownPeer {
    const known = this.#rows.get(text)
    const found = known ?? namedBy(text)
    this.#know(found)
    return found
  }

  #know({ agent, addresses }: KnownPeer): void {
    this.#network.addAddresses(
      agent,
      addresses.filter((address) => gatewayOfAddress(address) === undefined),
    )
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }
}

/** The agent of a DID or a ticket. @throws NOT_FOUND for another text, INVALID_ARGUMENT */
function namedBy(text: string): KnownPeer {
  const trimmed = text.trim()
  if (isTicket(trimmed)) return agentOfTicket(trimmed)
  if (trimmed.startsWith('did:')) return { agent: parseDid(trimmed), addresses: [] }
  throw noSuchContact(text)
}

/** The agent that a ticket is of, and where it may be dialled. @throws INVALID_ARGUMENT, also for a ticket of something else */
export function agentOfTicket(text: string): KnownPeer {
  const { kind, id, peers } = parseTicket(text)
  if (kind !== 'agent')
    throw new ArtifactHubError('INVALID_ARGUMENT', `this is the ticket of a ${kind}, and an agent’s is needed`)
  return { agent: id, addresses: peers.find(({ agent }) => equalBytes(agent, id))?.addresses ?? [] }
}

function noSuchContact(name: string): ArtifactHubError {
  const text = JSON.stringify(name.slice(0, 200))
  return new ArtifactHubError('NOT_FOUND', `no contact is named ${text}, and it is neither a DID nor a ticket`, {
    details: { name: name.slice(0, 200) },
  })
}
