import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import {
  type GroupDescriptor,
  isNewsOf,
  newestDescriptor,
  type ProofFacts,
  readProof,
} from '../../../src/membership/index.ts'
import type { ShownDescriptor } from '../../../src/namespace/index.ts'
import type { LocalNamespaces } from '../namespaces.ts'

/** What this node knows of a group's epoch. */
export interface KnownDescriptor {
  readonly descriptor: GroupDescriptor
  /** What proves it to others. */
  readonly shown: ShownDescriptor
}

interface Heard {
  readonly facts: ProofFacts
  readonly shown: ShownDescriptor
}

interface Source {
  readonly facts: ProofFacts
  readonly show: () => Promise<ShownDescriptor | undefined>
}

/** Groups that were heard of and are nothing here: a sharer asks once and records what it gets. */
const maxHeard = 1_024

/**
 * The newest epochs of groups by all that this node has: the groups that its agent is in, what its namespaces record, and what it heard of others,
 * which is forgotten when it stops.
 */
export class Descriptors {
  readonly #namespaces: LocalNamespaces
  readonly #heard = new Map<string, Heard>()

  constructor(namespaces: LocalNamespaces) {
    this.#namespaces = namespaces
  }

  /** `undefined` for a group of which nothing is known. */
  async newest(group: Uint8Array): Promise<KnownDescriptor | undefined> {
    const sources = await this.#sources(group)
    const descriptor = newestDescriptor(sources.map(({ facts }) => facts))
    if (descriptor === undefined) return undefined
    const isShowing = ({ facts }: Source) => facts.rotates.some(({ rotate }) => equalBytes(rotate, descriptor.rotate))
    // The one that tells of most removals.
    const [fullest] = sources.filter(isShowing).sort((one, two) => two.facts.ended.size - one.facts.ended.size)
    const shown = await fullest?.show()
    return shown === undefined ? undefined : { descriptor, shown }
  }

  /** Of a group that this agent is in, what its log shows. */
  async own(group: Uint8Array): Promise<ShownDescriptor | undefined> {
    const log = this.#namespaces.groups.find(({ row }) => equalBytes(row.id, group))?.log
    // Who was removed is told of no later epoch.
    return log?.roleOf(log.env.agent.publicKey) === undefined ? undefined : await log.descriptors.own()
  }

  /**
   * Takes in what an agent told of a group. Gives whether it is newer than what was known.
   * @throws CORRUPT, TOO_LARGE, UNSUPPORTED_FORMAT for what proves nothing
   */
  async hear(shown: ShownDescriptor): Promise<boolean> {
    const { group } = shown
    const facts = readProof(group, shown.proof)
    const known = (await this.#sources(group)).map((source) => source.facts)
    if (!isNewsOf(known, facts)) return false
    const key = toHex(group)
    this.#heard.delete(key)
    this.#heard.set(key, { facts, shown })
    if (this.#heard.size > maxHeard) this.#heard.delete(this.#heard.keys().next().value as string)
    return true
  }

  /** Agents (32 bytes) who can be asked about a group, by what is known of it: its owner and admins. */
  async who(group: Uint8Array): Promise<Uint8Array[]> {
    const facts = (await this.#sources(group)).map((source) => source.facts)
    const names = new Set(facts.flatMap(({ owner, admins }) => [toHex(owner), ...admins.values()]))
    return [...names].map((name) => new Uint8Array(Buffer.from(name, 'hex')))
  }

  /** Groups (32 bytes) that some namespace here records. */
  recorded(): Uint8Array[] {
    const groups = this.#namespaces.everything.flatMap(({ log }) => log.membership.groups.recorded)
    return [...new Map(groups.map((group) => [toHex(group), group])).values()]
  }

  async #sources(group: Uint8Array): Promise<Source[]> {
    const sources: Source[] = []
    const own = await this.own(group)
    if (own !== undefined) sources.push({ facts: readProof(group, own.proof), show: async () => own })
    const heard = this.#heard.get(toHex(group))
    if (heard !== undefined) sources.push({ facts: heard.facts, show: async () => heard.shown })
    for (const { log } of this.#namespaces.everything) {
      for (const { entry, facts } of log.membership.groups.recordsOf(group)) {
        const show = async (): Promise<ShownDescriptor | undefined> => {
          const auth = (await log.held.entry(entry))?.auth
          return auth?.kind === 'descriptor' ? { group, proof: auth.proof } : undefined
        }
        sources.push({ facts, show })
      }
    }
    return sources
  }
}
