import { bytesText, equalBytes, fromHex, toHex } from '../encoding/index.ts'
import type { Entry, KeyBox } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { artifactData } from './artifact-writes.ts'
import type { Tip } from './chains.ts'
import { GiftsTold, type Looked } from './gifts-told.ts'
import type { Ledger } from './ledger.ts'
import { mayWrite } from './members.ts'
import type { Share, SharedBytes } from './share-book.ts'
import { appendShare } from './share-writes.ts'
import { ToldEntries } from './told-entries.ts'
import type { Transaction } from './transaction.ts'

/** Entries that are looked at in one go. */
const batchEntries = 100
/** Entries that one batch writes, each with at most 128 boxes of some 140 bytes. What one share takes stays together. */
const batchWritten = 200

/**
 * Says again, on the chain that this agent goes on with, what it gave on a branch that counts for nothing: shares, and for which capabilities it
 * sealed keys. Who does not hold such an entry yet is never told of it, and would go on writing under keys that are known to an audience of which
 * they have not heard.
 *
 * Each such entry is looked at once, and again when what tells of it stands on such a branch itself, when this agent writes under another grant, and
 * when keys came where it could not be read.
 */
export class LostShares {
  readonly #ledger: Ledger
  readonly #told = new ToldEntries()
  /** By which membership it was last looked, for which entries stand on branches is part of it; and how often keys had come by then. */
  #last: { readonly membership: Membership; readonly keysGained: number } | undefined
  /** Settles when a look is over: two at once would both say the same. Never rejects. */
  #looking: Promise<unknown> = Promise.resolve()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Gives how many entries it wrote. */
  async run(): Promise<number> {
    const running = this.#looking.then(() => this.#run())
    this.#looking = running.catch(() => {})
    return await running
  }

  async #run(): Promise<number> {
    const { parts, membership, keysGained } = this.#ledger
    if (this.#last?.membership === membership && this.#last.keysGained === keysGained) return 0
    const agent = parts.env.agent.publicKey
    const [grant] = membership.grantsOf(agent)
    let written = 0
    if (membership.hasForks && mayWrite(membership, agent) && grant !== undefined) {
      const left = this.#told.left(this.#hidden(membership), { membership, keysGained, grant: grant.hash })
      for (let at = 0; at < left.length; at += batchEntries) {
        const entries = await parts.log.readableMany(left.slice(at, at + batchEntries).map(fromHex))
        written += await this.#tellAgain(entries, grant.hash)
      }
    }
    this.#last = { membership, keysGained }
    return written
  }

  /** Hashes (hex) of what this agent wrote and others are not told of. */
  *#hidden(membership: Membership): Generator<string> {
    for (const tip of ownChains(this.#ledger)) yield* membership.shownOf(tip)?.hidden?.hashes ?? []
  }

  async #tellAgain(entries: readonly Entry[], grant: Uint8Array): Promise<number> {
    let written = 0
    let lost = await this.#look(entries, grant)
    while (lost.length > 0) {
      const { written: some, covered } = await commitLost(this.#ledger, lost)
      written += some
      const left = [
        ...(await this.#look(
          lost.slice(0, covered).map(({ entry }) => entry),
          grant,
        )),
        ...lost.slice(covered),
      ]
      // Who may not write any more says nothing; and nothing is said without end.
      if (giftsIn(left) >= giftsIn(lost)) break
      lost = left
    }
    return written
  }

  /** Those of which something is lost; the others are kept in mind. */
  async #look(entries: readonly Entry[], grant: Uint8Array): Promise<Looked[]> {
    const { keysGained } = this.#ledger
    const looked = await GiftsTold.stored(this.#ledger, grant).look(entries, ownChains(this.#ledger))
    for (const { entry, lost, tellers, isUnread } of looked) {
      if (lost.length === 0) this.#told.note(toHex(entry.hash), tellers, isUnread ? keysGained : undefined)
    }
    return looked.filter(({ lost }) => lost.length > 0)
  }
}

/** Of each of this agent's chains a tip. */
function ownChains({ parts, chains }: Ledger): Tip[] {
  const agent = parts.env.agent.publicKey
  const own = [...chains.all()].filter(({ author }) => equalBytes(author, agent))
  return [...new Map(own.map((tip) => [bytesText(tip.chain), tip])).values()]
}

function giftsIn(looked: readonly Looked[]): number {
  return looked.reduce((sum, { lost }) => sum + lost.length, 0)
}

/** An entry that is to be written. */
type Saying = { readonly artifactSalt: Uint8Array } & (
  | { readonly share: Share; readonly shared: SharedBytes; readonly versions: readonly Uint8Array[] }
  | { readonly share: undefined; readonly ephemeral: Uint8Array | undefined; readonly boxes: readonly KeyBox[] }
)

/** Writes as much as one batch holds. `covered`: of how many of the entries, from the first on, it wrote any or found it told. */
async function commitLost(
  ledger: Ledger,
  lost: readonly Looked[],
): Promise<{ readonly written: number; readonly covered: number }> {
  return await ledger.commit(async (tx, mark) => {
    if (!mayWrite(tx.membership, tx.agent.publicKey)) return { written: 0, covered: 0 }
    const view = GiftsTold.within(ledger, tx)
    const said = new Map<string, number>()
    const sayings: Saying[] = []
    let covered = 0
    for (const looked of lost) {
      if (sayings.length >= batchWritten) break
      sayings.push(...(await sayingsOf(tx, view, looked, said)))
      covered += 1
    }
    const before = tx.appended
    if (sayings.length > 0) mark()
    for (const saying of sayings) {
      if (tx.appended - before >= batchWritten) break
      await say(tx, saying)
    }
    return { written: tx.appended - before, covered }
  })
}

/** @param said how much of what is about to be said already, by its name */
async function sayingsOf(
  tx: Transaction,
  view: GiftsTold,
  { entry, lost }: Looked,
  said: Map<string, number>,
): Promise<Saying[]> {
  const { artifactSalt } = entry.header.data as { artifactSalt: Uint8Array }
  const sayings: Saying[] = []
  const boxes: KeyBox[] = []
  for (const gift of lost) {
    const before = said.get(gift.name) ?? 0
    if ((await view.missing(entry, gift)) <= before) continue
    if (gift.kind === 'boxes') {
      said.set(gift.name, before + gift.boxes.length)
      boxes.push(...gift.boxes)
      continue
    }
    const given = await view.shareIn(entry)
    if (given === undefined) continue
    said.set(gift.name, 1)
    // Whoever follows is given it of what is there now.
    const { entries: versions } = await tx.catalog.versionHeads(given.share.claims.artifact)
    sayings.push({ artifactSalt, ...given, versions })
  }
  for (const some of Map.groupBy(boxes, ({ keyId }) => bytesText(keyId)).values()) {
    sayings.push({ artifactSalt, share: undefined, ephemeral: entry.keys?.ephemeral, boxes: some })
  }
  return sayings
}

async function say(tx: Transaction, saying: Saying): Promise<void> {
  if (saying.share !== undefined) {
    await appendShare(tx, saying.share, saying.shared, [], saying.versions)
    return
  }
  const { artifactSalt, ephemeral, boxes } = saying
  const draft = { kind: 'keys' as const, keyId: boxes[0]?.keyId, data: artifactData({ artifactSalt }) }
  // A box is bound to its key and artifact, not to its entry: no key need be held to hand it on.
  await tx.append(draft, { keys: { wraps: [], ephemeral, boxes } })
}
