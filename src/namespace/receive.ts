import { artifactIdOf, bytesText, equalBytes, toHex } from '../encoding/index.ts'
import { maxSiblingEntries } from '../limits.ts'
import { type Entry, encodeEntry } from '../log/index.ts'
import { type Membership, mayAuthor, rankOf } from '../membership/index.ts'
import { type Chains, chainOf } from './chains.ts'
import {
  type Candidate,
  checkSignatures,
  decodeBatch,
  findCompletions,
  ofFollowed,
  partsIn,
  type RefusedEntry,
  splitKnown,
} from './incoming-batch.ts'
import { labelledBoxesKey, labelledBoxesOf } from './labelled-boxes.ts'
import type { Ledger } from './ledger.ts'
import { openBodiesBeside } from './opened-bodies.ts'
import { isDoubtful, noteOrigin } from './origins.ts'
import type { NamespaceParts } from './parts.ts'
import { operationFrom, recount, revealArtifacts } from './recount.ts'
import { isAmong, isShownBy } from './shown.ts'
import { decodeStored } from './stored-log.ts'
import type { Surplus, SurplusOfGrant } from './surplus.ts'
import { placeOf } from './tables.ts'
import type { Transaction } from './transaction.ts'
import { Vouched } from './vouched.ts'

/** What became of entries that were handed over. */
export interface Received {
  /** Entries that were not held before and are durable now. */
  readonly stored: number
  /** Entries that were held already. */
  readonly known: number
  /** Hashes of entries that could not be stored, for what they stand on (the entry before them, their grant) is not held. */
  readonly unlinked: readonly Uint8Array[]
  /**
   * Entries that were not stored: malformed, wrongly signed, of another namespace, of a newer release; or `void`, when more
   * than enough is held beyond the limit of that chain: an honest node may send these.
   */
  readonly refused: readonly RefusedEntry[]
}

/**
 * Stores what is well of a batch, in one durable batch. What can be checked before the batches handed over earlier are stored is
 * checked beside that.
 *
 * @param earlier settles once these are on their way into the store; never rejects
 * @param onTurn called when this one is, or is not going to be
 * @param from the agent that gave the batch; absent: this node's own
 */
export async function receiveEntries(
  ledger: Ledger,
  batch: readonly Uint8Array[],
  earlier: Promise<void>,
  onTurn: () => void,
  from?: Uint8Array | undefined,
): Promise<Received> {
  try {
    return await receiveInTurn(ledger, batch, earlier, onTurn, from)
  } finally {
    onTurn()
  }
}

async function receiveInTurn(
  ledger: Ledger,
  batch: readonly Uint8Array[],
  earlier: Promise<void>,
  onTurn: () => void,
  from: Uint8Array | undefined,
): Promise<Received> {
  const namespace = ledger.parts
  const refused: RefusedEntry[] = []
  const batched = decodeBatch(namespace, batch, refused)
  const decoded = namespace.partial === undefined ? batched : await ofFollowed(ledger, batched, refused)
  const { fresh, held } = await splitKnown(namespace, decoded)
  const { store } = namespace.env
  const completions = await findCompletions(namespace, held, (rows) => store.getMany(rows))
  const signed = await checkSignatures(namespace, [...fresh, ...completions], refused)
  const candidates = fresh.filter((candidate) => signed.has(candidate))
  const whole = completions.filter((candidate) => signed.has(candidate))
  const opened = await openBodiesBeside(
    namespace,
    candidates.map(({ entry }) => entry),
  )
  await earlier
  ledger.glance(candidates.map(({ entry }) => entry).filter((entry) => isAuthorised(ledger.membership, entry)))
  const outcome = { stored: 0, known: held.length, unlinked: [] as Uint8Array[] }
  if (candidates.length > 0 || whole.length > 0) {
    const committing = ledger.commit(async (tx, mark) => {
      const already = await tx.prime(candidates.map(({ entry }) => namespace.keys.key('places', entry.hash)))
      mark()
      tx.useOpened(opened)
      const { open = [], late = [] } = Object.groupBy(candidates, ({ entry }, at) =>
        already[at] === undefined && tx.storedEntry(entry.hash) === undefined ? 'open' : 'late',
      )
      outcome.known += late.length
      await tx.prime(keyRowsOf(namespace, open))
      const linker = new Linker(tx, ledger, refused, from)
      const stored = await linker.storeAll(open)
      outcome.stored = stored.length
      outcome.unlinked = linker.unlinked
      await ledger.learn([...tx.storedAuth])
      if (ledger.owesReveal) tx.add({ type: 'put', key: namespace.keys.key('revealing'), value: new Uint8Array(0) })
      const data = stored.filter(({ header }) => header.data !== undefined)
      const seen = await tx.primeArtifacts(data)
      await recount(tx, ledger.chains, data)
      await revealArtifacts(tx, seen)
      let isKeyed = false
      // Of what was not held yet when this batch was looked at, another may have brought less.
      const more = await findCompletions(namespace, late, (rows) => Promise.all(rows.map((row) => tx.get(row))))
      for (const candidate of [...whole, ...more]) isKeyed = (await complete(tx, namespace, candidate)) || isKeyed
      await ledger.heldBack.settle(tx, data)
      if (isKeyed) {
        // What they open is tried once they are in the store.
        ledger.noteKeysGained()
        tx.add({ type: 'put', key: namespace.keys.key('revealing'), value: new Uint8Array(0) })
      }
    })
    onTurn()
    await committing.catch((error) => {
      // It counted what it was about to store.
      ledger.surplus.forget()
      throw error
    })
  }
  return { ...outcome, refused }
}

/** Whether an auth entry is for its author to write, by what is held: the keys of others' are taken in only once they are stored. */
function isAuthorised(membership: Membership, { auth, header }: Entry): boolean {
  const grant = auth === undefined || header.grant === undefined ? undefined : membership.grantOf(header.grant)
  return grant?.live === true && equalBytes(grant.agent, header.author) && mayAuthor(grant.role, header.kind)
}

/** The rows of artifact keys that entries will be noted in. */
function keyRowsOf({ keys, id }: NamespaceParts, candidates: readonly Candidate[]): Uint8Array[] {
  return candidates.flatMap(({ entry }) => {
    const { data } = entry.header
    if (data === undefined || entry.keys === undefined) return []
    const artifact = artifactIdOf(id, data.artifactSalt)
    return [
      ...entry.keys.wraps.map(({ keyId }) => keys.key('artifactKeys', artifact, keyId)),
      ...labelledBoxesOf(entry).map(({ keyId, label }) => labelledBoxesKey(keys, artifact, keyId, label)),
    ]
  })
}

/** Stores entries whose predecessors and grants are held, in whatever order a batch has them. */
class Linker {
  readonly unlinked: Uint8Array[] = []
  readonly #tx: Transaction
  readonly #namespace: NamespaceParts
  readonly #chains: Chains
  readonly #refused: RefusedEntry[]
  readonly #from: Uint8Array | undefined
  readonly #vouched: Vouched
  readonly #grantees = new Map<string, Uint8Array | undefined>()
  readonly #void = new Set<string>()
  /** As of the last entry stored that may move a limit: what lies beyond one does not. */
  #membership: Membership | undefined
  readonly #surplus: Surplus
  /** By grant. */
  readonly #surplusOfGrants = new Map<string, SurplusOfGrant>()

  constructor(
    tx: Transaction,
    { parts, chains, surplus }: Ledger,
    refused: RefusedEntry[],
    from: Uint8Array | undefined,
  ) {
    this.#from = from
    this.#tx = tx
    this.#namespace = parts
    this.#chains = chains
    this.#refused = refused
    this.#surplus = surplus
    this.#vouched = new Vouched(parts, tx)
  }

  async storeAll(candidates: readonly Candidate[]): Promise<Entry[]> {
    const stored: Entry[] = []
    const doubted = new Set<Candidate>()
    let open = candidates
    for (let before = -1; before !== stored.length && open.length > 0; ) {
      before = stored.length
      const left: Candidate[] = []
      for (const candidate of open) {
        const { entry, bytes } = candidate
        const chain = chainOf(entry)
        const { previous } = entry.header
        const follows = previous !== undefined && this.#void.has(bytesText(previous))
        if (!follows && !(await this.#isLinked(entry, chain))) {
          left.push(candidate)
          continue
        }
        if (!follows && (await this.#isDoubtful(entry))) {
          // Others of the batch may stand for it.
          doubted.add(candidate)
          left.push(candidate)
          continue
        }
        if (this.#isTooMuch(candidate)) {
          this.#refuse(entry, 'as much is held of this namespace as is taken by who follows single artifacts')
          continue
        }
        const fit = follows ? 'void' : await this.#fitOf(candidate, chain)
        if (fit === 'void') {
          this.#refuse(entry, 'it lies beyond what counts, as much that is held')
          before = -1
          continue
        }
        // Somebody writes under this node's own incarnation: a copy of it, restored elsewhere.
        if (this.#tx.isOwnChain(entry)) this.#tx.leaveIncarnation('entries of its own chain came from elsewhere')
        await this.#tx.storeEntry(entry, bytes, chain)
        const mayBound = entry.auth !== undefined || this.#tx.tipsOf(chain).length > 1 || this.#isOfAdopted(entry)
        if (fit === 'bounded' || (mayBound && fit !== 'surplus')) this.#membership = undefined
        if (this.#namespace.partial !== undefined) {
          noteOrigin(this.#tx, entry, this.#from)
          this.#vouched.note(entry)
        }
        this.#tx.received += 1
        this.#namespace.env.clock.merge(entry.header.clock)
        stored.push(entry)
      }
      open = left
    }
    for (const candidate of open) {
      if (doubted.has(candidate))
        this.#refuse(candidate.entry, 'its author may have made it after the end of its role, for all that is known')
      else this.unlinked.push(candidate.entry.hash)
    }
    return stored
  }

  /** Of a partial log, whether it may be what shows that an entry of its chain is on no adopted branch. */
  #isOfAdopted(entry: Entry): boolean {
    return this.#namespace.partial !== undefined && this.#membership?.needsLink(entry) === true
  }

  /** Of a partial log: who may do what is taken all the same. */
  #isTooMuch({ entry, bytes }: Candidate): boolean {
    const { partial } = this.#namespace
    if (partial === undefined || entry.header.data === undefined) return false
    return this.#tx.accounts.totals.entryBytes + bytes.length > partial.maxBytes
  }

  #refuse({ hash }: Entry, why: string): void {
    this.#void.add(bytesText(hash))
    this.#refused.push({ hash, code: 'void', why })
  }

  async #isDoubtful(entry: Entry): Promise<boolean> {
    if (this.#namespace.partial === undefined || this.#from === undefined) return false
    this.#membership ??= this.#tx.membership
    return isDoubtful(this.#membership, entry, this.#from) && !(await this.#vouched.has(entry))
  }

  async #isLinked({ header }: Entry, chain: Uint8Array): Promise<boolean> {
    const { seq, previous, grant, author } = header
    if (grant === undefined) return false
    const tips = this.#tx.tipsOf(chain)
    if (previous === undefined || this.#namespace.partial !== undefined)
      return equalBytes((await this.#granteeOf(grant)) ?? new Uint8Array(0), author)
    if (tips.some((tip) => tip.seq === seq - 1 && equalBytes(tip.hash, previous))) return true
    if (tips.length === 0) return false
    const stored = this.#tx.storedEntry(previous)
    if (stored !== undefined) return stored.header.seq === seq - 1 && equalBytes(chainOf(stored), chain)
    const place = await this.#tx.get(this.#namespace.keys.key('places', previous))
    return place !== undefined && equalBytes(place, placeOf(chain, seq - 1))
  }

  /**
   * Whom a grant that is held lets write, whether or not it counts: nobody else's entries may stand under it, and nobody's
   * under one that only lets read.
   */
  async #granteeOf(grant: Uint8Array): Promise<Uint8Array | undefined> {
    const { membership } = this.#tx
    if (equalBytes(grant, membership.namespace)) return membership.owner
    const name = bytesText(grant)
    const known = this.#grantees.get(name)
    if (known !== undefined) return known
    const entry = await this.#tx.entry(grant)
    const said = entry?.auth?.kind === 'grant' ? entry.auth : undefined
    const agent = said !== undefined && rankOf(said.role) > 0 ? said.agent : undefined
    if (agent !== undefined) this.#grantees.set(name, agent)
    return agent
  }

  /** How an entry stands to the limit of its chain: `void` beyond it, when as much is held as is kept of such entries. */
  async #fitOf({ entry, bytes }: Candidate, chain: Uint8Array): Promise<'free' | 'bounded' | 'surplus' | 'void'> {
    const { seq, grant, previous } = entry.header
    if (grant === undefined || equalBytes(grant, this.#namespace.id)) return 'free'
    this.#membership ??= this.#tx.membership
    const membership = this.#membership
    const shown = membership.shownOf({ ...entry.header, grant })
    if (shown === undefined) return 'free'
    const { isPart } = membership
    // Beside another that stands below what is named, of a chain with branches: nobody is told of it once it is held.
    const isBeside =
      !isPart && seq < shown.below && seq <= shown.settledUpTo && (await this.#siblingsOf(chain, seq)) > 0
    if (!isBeside && isAmong(shown, seq, entry.hash)) return 'bounded'
    // After one that is shown it may be on a branch that counts, or prove a fork, and anywhere where that need not be held: it would be shown once it is.
    const follows = previous === undefined || isPart || isAmong(shown, seq - 1, previous)
    const mayBeShown = !isBeside && follows && membership.needsLink(entry)
    if (mayBeShown && isShownBy(membership.with({ links: [entry] }), entry)) return 'bounded'
    if (seq <= shown.awaited && (await this.#siblingsOf(chain, seq)) < maxSiblingEntries) return 'bounded'
    const surplus = await this.#surplusOf(grant)
    if (!surplus.hasRoomFor(bytes.length)) return 'void'
    surplus.add(chain, bytes.length, shown)
    // A branch begins below all others.
    return isBeside ? 'bounded' : 'surplus'
  }

  async #surplusOf(grant: Uint8Array): Promise<SurplusOfGrant> {
    const known = this.#surplusOfGrants.get(toHex(grant))
    const surplus = known ?? (await this.#surplus.of(grant, this.#tx, this.#chains))
    this.#surplusOfGrants.set(toHex(grant), surplus)
    return surplus
  }

  async #siblingsOf(chain: Uint8Array, seq: number): Promise<number> {
    return (await Array.fromAsync(this.#tx.heldBetween(chain, seq, seq + 1))).length
  }
}

/** Puts back the body, leaf and keys of an entry that is held without. Gives whether keys came. */
async function complete(tx: Transaction, namespace: NamespaceParts, { entry }: Candidate): Promise<boolean> {
  const { keys } = namespace
  const { seq, data } = entry.header
  const row = keys.entry(chainOf(entry), seq, entry.hash)
  const stored = await tx.get(row)
  if (stored === undefined) return false
  // The copy may be signed otherwise: one entry stays the bytes that it was.
  const own = decodeStored(stored)
  if (partsIn(own) >= partsIn(entry)) return false
  const { body, leaf } = entry
  const whole: Entry = { ...own, body, leaf, keys: entry.keys, keysBytes: entry.keysBytes }
  const value = encodeEntry(whole)
  tx.add({ type: 'put', key: row, value })
  tx.add({ type: 'del', key: keys.key('stripped', entry.hash) })
  tx.accounts.addEntryBytes(value.length - stored.length)
  if (entry.leaf !== undefined && data?.root !== undefined) {
    tx.add({
      type: 'put',
      key: keys.key('inlineLeaves', data.root.digest, entry.hash),
      value: placeOf(chainOf(entry), seq),
    })
  }
  tx.noteWhole(whole)
  const isKeyed = own.keys === undefined && entry.keys !== undefined
  if (isKeyed) await tx.indexKeys(whole)
  else if (data !== undefined) tx.opened.note(artifactIdOf(namespace.id, data.artifactSalt), whole)
  tx.received += 1
  const operation = tx.membership.counts(entry) ? await operationFrom(tx, whole) : undefined
  if (operation !== undefined) await tx.apply(operation)
  return isKeyed
}
