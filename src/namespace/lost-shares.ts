import { artifactIdOf, bytesText, equalBytes, fromHex } from '../encoding/index.ts'
import type { Entry, KeyBox } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { artifactData } from './artifact-writes.ts'
import { readKeyRow } from './key-rows.ts'
import { labelledBoxesKey, labelledBoxesOf } from './labelled-boxes.ts'
import type { Ledger } from './ledger.ts'
import { mayWrite } from './members.ts'
import { openShared, type Share, type SharedBytes } from './share-book.ts'
import { appendShare } from './share-writes.ts'
import { isShownBy } from './shown.ts'
import type { Transaction } from './transaction.ts'

/** Entries that are looked at in one batch: what each gave is said again in as many as that has keys. */
const batchEntries = 100

/**
 * Says again, on the chain that this agent goes on with, what it gave on a branch that counts for nothing: shares, and for which capabilities it
 * sealed keys. Who does not hold such an entry yet is never told of it, and would go on writing under keys that are known to an audience of which
 * they have not heard.
 */
export class LostShares {
  readonly #ledger: Ledger
  /** By which membership it was last looked: which entries stand on branches is part of it. */
  #lookedBy: Membership | undefined

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Gives how many entries it wrote. */
  async run(): Promise<number> {
    const { parts, membership } = this.#ledger
    if (this.#lookedBy === membership) return 0
    let written = 0
    if (membership.hasForks && mayWrite(membership, parts.env.agent.publicKey)) {
      const hidden = this.#hidden(membership)
      for (let at = 0; at < hidden.length; at += batchEntries) {
        const entries = await parts.log.unverifiedMany(hidden.slice(at, at + batchEntries))
        written += await tellAgain(this.#ledger, entries)
      }
    }
    this.#lookedBy = membership
    return written
  }

  /** Hashes of what this agent wrote and others are not told of. */
  #hidden(membership: Membership): Uint8Array[] {
    const agent = this.#ledger.parts.env.agent.publicKey
    const own = [...this.#ledger.chains.all()].filter(({ author }) => equalBytes(author, agent))
    const byChain = new Map(own.map((tip) => [bytesText(tip.chain), tip]))
    return [...byChain.values()].flatMap((tip) => [...(membership.shownOf(tip)?.hidden?.hashes ?? [])].map(fromHex))
  }
}

/** What an entry gave that no entry tells the others. */
interface Lost {
  readonly artifact: Uint8Array
  readonly artifactSalt: Uint8Array
  readonly share: { readonly share: Share; readonly shared: SharedBytes } | undefined
  readonly ephemeral: Uint8Array | undefined
  readonly boxes: readonly KeyBox[]
}

async function tellAgain(ledger: Ledger, entries: readonly Entry[]): Promise<number> {
  const gifts = entries.filter((entry) => entry.header.kind === 'share' || labelledBoxesOf(entry).length > 0)
  if (gifts.length === 0) return 0
  return await ledger.commit(async (tx, mark) => {
    if (!mayWrite(tx.membership, tx.agent.publicKey)) return 0
    const lost: Lost[] = []
    for (const entry of gifts) lost.push(...(await lostOf(ledger, tx, entry)))
    if (lost.length === 0) return 0
    const before = tx.appended
    mark()
    for (const { artifact, artifactSalt, share, ephemeral, boxes } of lost) {
      // Whoever follows is given it of what is there now.
      const { entries: versions } = await tx.catalog.versionHeads(artifact)
      if (share !== undefined) await appendShare(tx, share.share, share.shared, [], versions)
      for (const some of Map.groupBy(boxes, ({ keyId }) => bytesText(keyId)).values()) {
        const draft = { kind: 'keys' as const, keyId: some[0]?.keyId, data: artifactData({ artifactSalt }) }
        // A box is bound to its key and artifact, not to its entry: no key need be held to hand it on.
        await tx.append(draft, { keys: { wraps: [], ephemeral, boxes: some } })
      }
    }
    return tx.appended - before
  })
}

async function lostOf({ parts }: Ledger, tx: Transaction, entry: Entry): Promise<Lost[]> {
  const { data, kind } = entry.header
  if (data === undefined) return []
  const { artifactSalt, jti } = data
  const artifact = artifactIdOf(parts.id, artifactSalt)
  const isTold = async (hashes: Iterable<Uint8Array>, says: (told: Entry) => boolean = () => true) => {
    for (const hash of hashes) {
      const one = await tx.entry(hash)
      if (one !== undefined && says(one) && isShownBy(tx.membership, one)) return true
    }
    return false
  }
  const boxes: KeyBox[] = []
  for (const box of labelledBoxesOf(entry)) {
    const row = await tx.get(labelledBoxesKey(tx.keys, artifact, box.keyId, box.label))
    if (!(await isTold(readKeyRow(row, box.keyId).boxed))) boxes.push(box)
  }
  const share = kind === 'share' ? await parts.shares.read(entry, tx) : undefined
  const shared = share && (await openShared(entry, tx))
  // Under another grant the capability says something else.
  const { grant } = tx.nextPlace
  const isOwn = share !== undefined && equalBytes(share.claims.grant, grant)
  // Anybody who may write can give an entry that name.
  const isSame = ({ header }: Entry) =>
    equalBytes(header.author, tx.agent.publicKey) && header.grant !== undefined && equalBytes(header.grant, grant)
  const isLost =
    isOwn &&
    jti !== undefined &&
    shared !== undefined &&
    !(await isTold(await parts.shares.entriesOf(artifact, jti), isSame))
  if (!isLost && boxes.length === 0) return []
  return [
    { artifact, artifactSalt, share: isLost ? { share, shared } : undefined, ephemeral: entry.keys?.ephemeral, boxes },
  ]
}
