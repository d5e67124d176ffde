import { Catalog } from '../catalog/index.ts'
import { artifactIdOf, concatBytes, equalBytes, fromHex, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, type Entry } from '../log/index.ts'
import { type AuthEntry, type EntryPlace, Membership } from '../membership/index.ts'
import { type CountedBlocks, isEstimate, noTotals, type Totals } from './accounts.ts'
import { fromAdopted, unreadGenesis } from './auth-log.ts'
import { type ChainWalk, PartialChainWalk, WholeChainWalk } from './chain-walk.ts'
import { Chains, chainOf, readTip, tipChange } from './chains.ts'
import { clearDerived, type LogFinding, recordDamage, replaceDerived } from './derived-tables.ts'
import { EpochWaits } from './epoch-waits.ts'
import { OpenedArtifacts } from './opened-artifacts.ts'
import { operationOf } from './operations.ts'
import type { NamespaceParts } from './parts.ts'
import { SealedKeys } from './sealed-keys.ts'
import { readState, storedSecrets } from './secrets.ts'
import { decodeStored } from './stored-log.ts'
import { type NamespaceKeys, placeOf } from './tables.ts'
import { Transaction } from './transaction.ts'

const batchEntries = 500

/** What is derived from: a namespace's parts, and what is known of it so far. */
export interface Derivable extends NamespaceParts {
  /** Names the owner where the log does not any more. */
  readonly membership: Membership
  /** About how many entries there are: for progress. */
  readonly totals: Pick<Totals, 'entries'>
}

export interface DeriveOptions {
  /** What trees of contents are read from, to count their leaves. Default the namespace's blocks. */
  readonly blocks?: CountedBlocks | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/**
 * Makes all that follows from a namespace's log again, under `target`, whose derived tables must be empty. Entries
 * that cannot be read are passed over and reported. Nothing may be committed meanwhile.
 */
export async function deriveFromLog(
  namespace: Derivable,
  target: NamespaceKeys,
  options: DeriveOptions,
): Promise<LogFinding[]> {
  const derivation = new Derivation(namespace, target, options)
  await derivation.indexEntries()
  await derivation.findLostEnds()
  await derivation.judgeAuthors()
  await derivation.applyOperations()
  return derivation.findings
}

/**
 * Makes the derived tables what the log makes them: first all of them beside the real ones, then `replaceDerived`. A
 * signal ends only the first half, which changes nothing that counts. Gives what is wrong with the log. Nothing may be
 * committed meanwhile.
 */
export async function rebuildDerived(namespace: Derivable, options: DeriveOptions): Promise<LogFinding[]> {
  const { scratch } = namespace.keys
  try {
    await clearDerived(namespace, scratch)
    const findings = await deriveFromLog(namespace, scratch, options)
    await recordDamage(namespace, findings)
    await replaceDerived(namespace, scratch, findings)
    return findings
  } finally {
    await clearDerived(namespace, scratch)
  }
}

class Derivation {
  readonly findings: LogFinding[] = []
  readonly #namespace: Derivable
  readonly #target: NamespaceKeys
  readonly #options: DeriveOptions
  readonly #catalog: Catalog
  #membership: Membership
  readonly #auth: AuthEntry[] = []
  readonly #links: EntryPlace[] = []
  #tx: Transaction
  #pending = 0
  #done = 0

  constructor(namespace: Derivable, target: NamespaceKeys, options: DeriveOptions) {
    this.#namespace = namespace
    this.#target = target
    this.#options = options
    this.#catalog = new Catalog({ store: namespace.env.store, prefix: target.key('catalog') })
    this.#membership = namespace.membership
    this.#tx = this.#begin(noTotals)
  }

  /** The public half: where entries are, tips, keys, inline leaves. Before the rest, for keys and grants may come later than what they are for. */
  async indexEntries(): Promise<void> {
    let walk: ChainWalk | undefined
    for await (const { place, bytes } of this.#namespace.log.all(this.#options)) {
      const entry = this.#decode(place, bytes)
      if (entry === undefined) continue
      const chain = chainOf(entry)
      if (!equalBytes(concatBytes(placeOf(chain, entry.header.seq), entry.hash), place)) {
        this.findings.push({ place: place.slice(), problem: 'is not where its header says' })
        continue
      }
      if (walk === undefined || !equalBytes(walk.chain, chain)) {
        this.#recordTips(walk)
        walk = this.#namespace.partial === undefined ? new WholeChainWalk(chain) : new PartialChainWalk(chain)
      }
      if (!walk.take(entry))
        this.findings.push({ place: place.slice(), problem: 'does not follow the entry before it' })
      await this.#tx.index(entry, chain, bytes.length)
      if (entry.auth !== undefined) this.#auth.push(entry as AuthEntry)
      if (entry.header.grant !== undefined && !equalBytes(entry.header.grant, this.#namespace.id)) {
        this.#links.push(...walk.takeBranches())
      }
      await this.#step()
    }
    this.#recordTips(walk)
    await this.#write()
  }

  /** Evaluates who may do what, and takes in the keys that are sealed to this agent. */
  async judgeAuthors(): Promise<void> {
    const { env, keyring, membership } = this.#namespace
    const genesis = this.#auth.find(({ header }) => header.kind === 'genesis')
    const owner = this.#auth.find(
      ({ header }) => header.grant !== undefined && equalBytes(header.grant, this.#namespace.id),
    )
    const adopted = new Set(this.#auth.flatMap(({ auth }) => (auth.kind === 'adopt' ? [toHex(auth.hash)] : [])))
    for (const name of adopted) {
      const hash = fromHex(name)
      const place = await env.store.get(this.#target.key('places', hash))
      const bytes = place && (await env.store.get(this.#namespace.keys.key('entries', place, hash)))
      const entry = bytes && this.#decode(undefined, bytes)
      if (entry !== undefined) this.#links.push(entry)
    }
    const isPart = this.#namespace.partial !== undefined
    if (isPart) for await (const entry of fromAdopted(this.#namespace.log, this.#auth)) this.#links.push(entry)
    const beginning = genesis ?? unreadGenesis(this.#namespace.id, owner?.header.author ?? membership.owner)
    this.#membership = Membership.of(beginning, { isPart }).with({ auth: this.#auth, links: this.#links })
    new SealedKeys(keyring, env.agent.publicKey).take(this.#auth)
    this.#tx = this.#begin(this.#tx.accounts.totals)
  }

  /** Chains whose newest entries are gone, as those tables still say that were made while they were there. */
  async findLostEnds(): Promise<void> {
    const { env, keys } = this.#namespace
    for await (const [, value] of env.store.entries(keys.all('tips'))) {
      const recorded = readTip(value)
      if (recorded === undefined) continue
      const place = placeOf(recorded.chain, recorded.seq)
      const named = await env.store.get(keys.key('places', recorded.hash))
      if (named === undefined || !equalBytes(named, place)) continue
      if ((await env.store.get(keys.key('entries', place, recorded.hash))) === undefined)
        this.findings.push({ place: concatBytes(place, recorded.hash), problem: 'is missing' })
    }
  }

  /** The secret half: what the bodies of entries that count say to the catalog. */
  async applyOperations(): Promise<void> {
    const secrets = storedSecrets(this.#namespace, this.#target)
    const { partial, env, keys } = this.#namespace
    const opened = new OpenedArtifacts({ partial, store: env.store, keys: this.#target, logKeys: keys })
    for await (const { place, bytes } of this.#namespace.log.all(this.#options)) {
      const entry = this.#decode(undefined, bytes)
      const salt = entry?.header.data?.artifactSalt
      if (entry === undefined || salt === undefined || !this.#membership.counts(entry)) continue
      const artifact = artifactIdOf(this.#namespace.id, salt)
      if (!(await opened.has(artifact))) continue
      try {
        const state = await readState(secrets, entry)
        const operation = operationOf(artifact, entry, state)
        if (operation !== undefined) await this.#tx.apply(operation)
      } catch (error) {
        if (!isHubError(error, 'CORRUPT')) throw error
        this.findings.push({ place: place.slice(), problem: error.message })
      }
      await this.#step()
    }
    await this.#write()
  }

  #recordTips(walk: ChainWalk | undefined): void {
    for (const tip of walk?.tips ?? []) this.#tx.add(tipChange(this.#target, tip))
  }

  #decode(place: Uint8Array | undefined, bytes: Uint8Array): Entry | undefined {
    try {
      const isPartial = this.#namespace.partial !== undefined
      return place === undefined ? decodeStored(bytes) : decodeEntry(bytes, { partial: isPartial })
    } catch (error) {
      if (!isHubError(error) || error.code === 'UNSUPPORTED_FORMAT') throw error
      if (place !== undefined) this.findings.push({ place: place.slice(), problem: error.message })
      return undefined
    }
  }

  async #step(): Promise<void> {
    this.#pending += 1
    this.#done += 1
    if (this.#pending >= batchEntries) await this.#write()
  }

  async #write(): Promise<void> {
    this.#options.signal?.throwIfAborted()
    await this.#namespace.env.store.batch(this.#tx.changes, { sync: false })
    this.#tx = this.#begin(this.#tx.accounts.totals)
    this.#pending = 0
    this.#options.onProgress?.(this.#done, 2 * this.#namespace.totals.entries)
  }

  #begin(totals: Totals): Transaction {
    const { id: namespace, env, keys, keyring, partial } = this.#namespace
    const { blocks = this.#namespace.blocks } = this.#options
    return new Transaction({
      ...env,
      namespace,
      blocks,
      keyring,
      partial,
      totals,
      keys: this.#target,
      catalog: this.#catalog,
      waits: new EpochWaits(),
      chains: new Chains(),
      membership: this.#membership,
      nodeIncarnation: env.incarnation,
      nextFeedRow: undefined,
      // What is estimated stays so until it is settled, whatever has come meanwhile; and what was not, whatever was lost.
      isEstimated: async (rest) => {
        const row = await env.store.get(keys.key('references', rest))
        return row && isEstimate(row)
      },
    })
  }
}
