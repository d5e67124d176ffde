import { bytesText, formatArtifactId, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { maxBoxesInEntry, maxBoxesOfHeal } from '../limits.ts'
import type { SealingItem } from '../sharing/index.ts'
import { artifactData } from './artifact-writes.ts'
import type { AuthorKnowledge } from './author-knowledge.ts'
import type { KeyUse } from './key-uses.ts'
import type { Ledger, NamespaceChange } from './ledger.ts'
import { mayWrite } from './members.ts'
import { type OpenBox, OpenBoxes } from './open-boxes.ts'
import { openArtifactKey } from './secrets.ts'
import type { Share } from './share-book.ts'
import { boxesFor, isKeyDue, itemsFor, sectionsOf, usesForShares } from './share-keys.ts'
import { SharingView } from './sharing-view.ts'

/** What a look at what is lacking came to. */
export interface Healed {
  readonly written: number
  readonly isPutOff: boolean
}

/** One key, and whom it is to be sealed to. */
interface Lacking {
  readonly items: readonly SealingItem[]
  /** Whether it is for groups too of which what is recorded is gone by. */
  readonly isPutOff: boolean
}

/** Boxes that are sealed in one batch, some 100 µs each: others write between two of them. */
const batchBoxes = 2_048
/** Rows that are read one after the other in the time that it takes to look for one. */
const rowsOfLook = 16
/** Artifacts that are seen to in one go. */
const maxArtifacts = 20_000

/**
 * Seals to the audiences of shares what they should have and lack: a version whose author had not heard of the share is under a key
 * that was not sealed for it. Looks at artifacts that others changed since it last did; at first at all that are shared.
 */
export class ShareHealer {
  readonly #ledger: Ledger
  readonly #knowledge: AuthorKnowledge
  readonly #isBehind: (group: Uint8Array) => boolean
  readonly #open = new OpenBoxes()
  /** By artifact as text; `undefined`: every artifact with a share. */
  #unseen: Map<string, Uint8Array> | undefined
  /** By group in hex, how many of the epochs that were recorded of it do not count, where any do not. */
  readonly #void = new Map<string, number>()

  /** @param isBehind whether what the log records of a group is gone by: nothing is sealed to that */
  constructor(ledger: Ledger, knowledge: AuthorKnowledge, isBehind: (group: Uint8Array) => boolean) {
    this.#ledger = ledger
    this.#isBehind = isBehind
    this.#knowledge = knowledge
    ledger.subscribe((change) => this.#note(change))
  }

  #note({ artifacts, shared, keysGained, authChanged, received, entries }: NamespaceChange): void {
    if (keysGained || (authChanged && this.#hasLostEpoch(entries))) this.#unseen = undefined
    // What this agent writes lacks nothing that it could seal: only others' versions may, that came with it or count by it.
    if (received === 0 && !authChanged) return
    for (const artifact of [...artifacts, ...shared]) this.#see(artifact)
  }

  /** Whether it was recorded that an epoch of a group is none after all: what was sealed to it is closed to the group. */
  #hasLostEpoch(entries: NamespaceChange['entries']): boolean {
    const { groups } = this.#ledger.membership
    const told = new Map<string, Uint8Array>()
    for (const { auth } of entries) if (auth?.kind === 'descriptor') told.set(toHex(auth.group), auth.group)
    let hasLost = false
    for (const [name, group] of told) {
      const claimed = new Set(groups.proofsOf(group).flatMap(({ rotates }) => rotates.map(({ epoch }) => toHex(epoch))))
      const lost = claimed.size - groups.recordedOf(group).epochs.size
      if (lost > (this.#void.get(name) ?? 0)) hasLost = true
      if (lost > 0) this.#void.set(name, lost)
    }
    return hasLost
  }

  /** Gives how many entries it wrote, and whether some of it must wait: an author knew more than is held here, or it is much (`maxBoxesOfHeal`). */
  async run(): Promise<Healed> {
    const { parts, membership } = this.#ledger
    if (!mayWrite(membership, parts.env.agent.publicKey)) return { written: 0, isPutOff: false }
    const unseen = this.#unseen
    this.#unseen = new Map()
    let written = 0
    let isPutOff = false
    const room = { boxes: maxBoxesOfHeal }
    try {
      for await (const artifact of unseen?.values() ?? parts.shares.artifacts()) {
        const healed = await this.#healReadable(artifact, room)
        written += healed?.written ?? 0
        isPutOff ||= healed?.isPutOff === true
        if (healed === undefined || healed.isPutOff) this.#see(artifact)
      }
    } catch (error) {
      // Again, then: what was seen to lacks nothing.
      this.#unseen = undefined
      throw error
    }
    return { written, isPutOff }
  }

  /** `undefined` where something is damaged that it takes: that keeps nothing from who is to read others. */
  async #healReadable(artifact: Uint8Array, room: { boxes: number }): Promise<Healed | undefined> {
    const by = { ledger: this.#ledger, knowledge: this.#knowledge, isBehind: this.#isBehind, open: this.#open }
    try {
      return await healArtifact(by, artifact, room)
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
      const { env, idText } = this.#ledger.parts
      const reason = { namespace: idText, artifact: formatArtifactId(artifact), reason: error.message }
      env.warn?.('could not see who lacks keys of an artifact, for what is held of it is damaged: run check', reason)
      return undefined
    }
  }

  #see(artifact: Uint8Array): void {
    this.#unseen?.set(bytesText(artifact), artifact)
    if ((this.#unseen?.size ?? 0) > maxArtifacts) this.#unseen = undefined
  }
}

/** What a `ShareHealer` goes by. */
interface HealsBy {
  readonly ledger: Ledger
  readonly knowledge: AuthorKnowledge
  readonly isBehind: (group: Uint8Array) => boolean
  readonly open: OpenBoxes
}

async function healArtifact(
  { ledger, knowledge, isBehind, open }: HealsBy,
  artifact: Uint8Array,
  room: { boxes: number },
): Promise<Healed> {
  if (room.boxes <= 0) return { written: 0, isPutOff: true }
  const view = SharingView.stored(ledger.parts, ledger.membership)
  const shares = namedShares(await view.sharesInForce(artifact))
  const newest = shares.length === 0 ? undefined : await ledger.parts.catalog.get(artifact)
  if (newest === undefined) return { written: 0, isPutOff: false }
  let waiting: ReadonlySet<string> | undefined
  let written = 0
  let isPutOff = false
  let owed: KeyUse[] = []
  let count = 0
  const seal = async () => {
    while (owed.length > 0 && room.boxes > 0) {
      const sealed = await sealSome(ledger, artifact, {
        uses: owed,
        most: Math.min(batchBoxes, room.boxes),
        isBehind,
        open,
      })
      written += sealed.written
      isPutOff ||= sealed.isPutOff
      room.boxes -= sealed.boxes
      owed = sealed.left
    }
    isPutOff ||= owed.length > 0
    count = 0
  }
  // One key after the other: of all keys together, whoever may write decides how much is lacking.
  for (const use of await usesForShares(ledger.parts, artifact, newest.number)) {
    const boxes = await lookFor(view, artifact, use, shares, open.of(artifact, use.keyId))
    if (boxes.isNew) open.keep(artifact, use.keyId, boxes.open)
    const lacking = await lackingOf(view, artifact, use, { shares: boxes.lacking, isBehind })
    isPutOff ||= lacking.isPutOff
    if (lacking.items.length === 0) continue
    waiting ??= await knowledge.keysToWaitFor(artifact)
    if (room.boxes <= 0 || waiting.has(toHex(use.keyId))) {
      isPutOff = true
      continue
    }
    owed.push(use)
    count += lacking.items.length
    if (count >= batchBoxes) await seal()
  }
  await seal()
  return { written, isPutOff }
}

/** What was sealed of some keys, and of which more is to be. */
interface Sealed {
  readonly written: number
  readonly boxes: number
  readonly left: KeyUse[]
  /** As of what is lacking. */
  readonly isPutOff: boolean
}

/** Seals what is lacking of some keys now, in one batch, as far as there is room for boxes. */
async function sealSome(
  ledger: Ledger,
  artifact: Uint8Array,
  {
    uses,
    most,
    isBehind,
    open,
  }: {
    readonly uses: readonly KeyUse[]
    readonly most: number
    readonly isBehind: (group: Uint8Array) => boolean
    readonly open: OpenBoxes
  },
): Promise<Sealed> {
  return await ledger.commit(async (tx, mark) => {
    if (!mayWrite(tx.membership, tx.agent.publicKey)) return { written: 0, boxes: 0, left: [], isPutOff: false }
    const before = tx.appended
    const view = SharingView.within(ledger.parts, tx)
    const shares = namedShares(await view.sharesInForce(artifact))
    const sections: SealingItem[][] = []
    const left: KeyUse[] = []
    let boxes = 0
    let isPutOff = false
    for (const use of uses) {
      // Nothing is kept of this: it may fail yet.
      const looked = await lookFor(view, artifact, use, shares, open.of(artifact, use.keyId))
      const lacking = await lackingOf(view, artifact, use, { shares: looked.lacking, isBehind })
      isPutOff ||= lacking.isPutOff
      const some = lacking.items.slice(0, most - boxes)
      if (some.length < lacking.items.length) left.push(use)
      boxes += some.length
      if (some.length > 0) sections.push(some)
    }
    const artifactSalt = shares[0]?.share.artifactSalt
    mark()
    if (artifactSalt !== undefined) {
      for (const items of sections) {
        const limits = { first: maxBoxesInEntry, random: tx.random }
        for (const keys of sectionsOf(tx.keyring, artifact, items, limits)) {
          await tx.append({ kind: 'keys', keyId: items[0]?.key.id, data: artifactData({ artifactSalt }) }, { keys })
        }
      }
    }
    return { written: tx.appended - before, boxes, left, isPutOff }
  })
}

interface NamedShare {
  readonly share: Share
  /** Hash of its entry as text. */
  readonly name: string
}

function namedShares(shares: readonly Share[]): NamedShare[] {
  return shares.map((share) => ({ share, name: bytesText(share.entry) }))
}

/** Of those that are to have a key. */
interface LookedFor {
  readonly lacking: readonly Share[]
  /** By what the share is called, boxes of the others. */
  readonly open: ReadonlyMap<string, OpenBox>
  /** Whether any was found that was not known. */
  readonly isNew: boolean
}

/** Looks for boxes of a key where none is known that still opens: others' thousands of rows are not read again for each version. */
async function lookFor(
  view: SharingView,
  artifact: Uint8Array,
  use: KeyUse,
  shares: readonly NamedShare[],
  known: ReadonlyMap<string, OpenBox>,
): Promise<LookedFor> {
  const open = new Map<string, OpenBox>()
  const left: NamedShare[] = []
  for (const one of shares) {
    if (!isKeyDue(one.share, use)) continue
    const box = known.get(one.name)
    if (box !== undefined && view.isOpen(box)) open.set(one.name, box)
    else left.push(one)
  }
  if (left.length === 0) return { lacking: [], open, isNew: false }
  const jtis = new Map(left.map(({ share: { claims } }) => [bytesText(claims.jti), claims.jti]))
  const areFew = jtis.size * rowsOfLook < open.size
  const labels = await view.labelsOf(artifact, use.keyId, areFew ? [...jtis.values()] : undefined)
  const looked = left.map(({ share }) => share)
  const boxes = await boxesFor(view, labels, looked)
  const lacking: Share[] = []
  for (const { share, name } of left) {
    const box = boxes.get(share)
    if (box === undefined) lacking.push(share)
    else open.set(name, box)
  }
  return { lacking, open, isNew: lacking.length < left.length }
}

/** What is to be sealed of a key. Of one that cannot be opened here nothing: somebody else may. */
async function lackingOf(
  view: SharingView,
  artifact: Uint8Array,
  use: KeyUse,
  { shares, isBehind }: { readonly shares: readonly Share[]; readonly isBehind: (group: Uint8Array) => boolean },
): Promise<Lacking> {
  const key = shares.length === 0 ? undefined : await openArtifactKey(view.secrets, artifact, use.keyId, [])
  if (key === undefined) return { items: [], isPutOff: false }
  const current = shares.filter(
    ({ claims: { audience } }) => !audience.some(({ kind, id }) => kind === 'group' && isBehind(id)),
  )
  return { items: itemsFor(key, current, view), isPutOff: current.length < shares.length }
}
