import { bytesText, fromHex, toHex } from '../encoding/index.ts'
import { maxBoxesInEntry } from '../limits.ts'
import { countingEpochs } from '../membership/index.ts'
import type { SealingItem } from '../sharing/index.ts'
import { artifactData } from './artifact-writes.ts'
import type { AuthorKnowledge } from './author-knowledge.ts'
import type { Ledger, NamespaceChange } from './ledger.ts'
import { mayWrite } from './members.ts'
import { openArtifactKey } from './secrets.ts'
import type { Share } from './share-book.ts'
import { itemsFor, keysDue, lackingShares, sectionsOf, usesForShares } from './share-keys.ts'
import { SharingView } from './sharing-view.ts'

/** What a look at what is lacking came to. */
export interface Healed {
  readonly written: number
  readonly isPutOff: boolean
}

/** One key, and whom it is to be sealed to. */
interface Lacking {
  readonly artifactSalt: Uint8Array
  readonly items: readonly SealingItem[]
  /** Groups (32 bytes) among those whom it is for. */
  readonly groups: readonly Uint8Array[]
}

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
    for (const artifact of [...artifacts, ...shared]) this.#unseen?.set(bytesText(artifact), artifact)
    if ((this.#unseen?.size ?? 0) > maxArtifacts) this.#unseen = undefined
  }

  /** Whether it was recorded that an epoch of a group is none after all: what was sealed to it is closed to the group. */
  #hasLostEpoch(entries: NamespaceChange['entries']): boolean {
    let hasLost = false
    for (const { auth } of entries) {
      if (auth?.kind !== 'descriptor') continue
      const proofs = this.#ledger.membership.groups.proofsOf(auth.group)
      const claimed = new Set(proofs.flatMap(({ rotates }) => rotates.map(({ epoch }) => toHex(epoch))))
      const lost = claimed.size - countingEpochs(proofs).size
      const name = toHex(auth.group)
      if (lost > (this.#void.get(name) ?? 0)) hasLost = true
      if (lost > 0) this.#void.set(name, lost)
    }
    return hasLost
  }

  /** Gives how many entries it wrote, and whether some of it must wait: an author knew more than is held here. */
  async run(): Promise<Healed> {
    const { parts, membership } = this.#ledger
    if (!mayWrite(membership, parts.env.agent.publicKey)) return { written: 0, isPutOff: false }
    const unseen = this.#unseen
    this.#unseen = new Map()
    let written = 0
    let isPutOff = false
    try {
      for await (const artifact of unseen?.values() ?? this.#shared()) {
        const healed = await healArtifact(this.#ledger, this.#knowledge, this.#isBehind, artifact)
        written += healed.written
        isPutOff ||= healed.isPutOff
        if (healed.isPutOff) this.#unseen?.set(bytesText(artifact), artifact)
      }
    } catch (error) {
      // Again, then: what was seen to lacks nothing.
      this.#unseen = undefined
      throw error
    }
    return { written, isPutOff }
  }

  async *#shared(): AsyncGenerator<Uint8Array> {
    let last: Uint8Array | undefined
    for await (const { claims } of this.#ledger.parts.shares.all()) {
      if (last !== undefined && Buffer.compare(last, claims.artifact) === 0) continue
      last = claims.artifact
      yield last
    }
  }
}

async function healArtifact(
  ledger: Ledger,
  knowledge: AuthorKnowledge,
  isBehind: (group: Uint8Array) => boolean,
  artifact: Uint8Array,
): Promise<Healed> {
  const view = SharingView.stored(ledger.parts, ledger.membership)
  const owed = await lackingOf(ledger, view, artifact)
  if (owed.length === 0) return { written: 0, isPutOff: false }
  const waiting = await knowledge.keysToWaitFor(artifact)
  const mayBeGiven = ({ items, groups }: Lacking) =>
    items.every(({ key }) => !waiting.has(toHex(key.id))) && !groups.some(isBehind)
  const isPutOff = !owed.every(mayBeGiven)
  if (!owed.some(mayBeGiven)) return { written: 0, isPutOff }
  const written = await ledger.commit(async (tx, mark) => {
    if (!mayWrite(tx.membership, tx.agent.publicKey)) return 0
    const before = tx.appended
    const within = SharingView.within(ledger.parts, tx)
    const lacking = (await lackingOf(ledger, within, artifact)).filter(mayBeGiven)
    mark()
    for (const { artifactSalt, items } of lacking) {
      const limits = { first: maxBoxesInEntry, random: tx.random }
      for (const keys of sectionsOf(tx.keyring, artifact, items, limits)) {
        const keyId = items[0]?.key.id
        await tx.append({ kind: 'keys', keyId, data: artifactData({ artifactSalt }) }, { keys })
      }
    }
    return tx.appended - before
  })
  return { written, isPutOff }
}

/** By key, what is to be sealed. Of keys that cannot be opened here nothing: somebody else may. */
async function lackingOf({ parts }: Ledger, view: SharingView, artifact: Uint8Array): Promise<Lacking[]> {
  const shares = await view.sharesInForce(artifact)
  const [first] = shares
  if (first === undefined) return []
  const newest = await parts.catalog.get(artifact)
  if (newest === undefined) return []
  const uses = await usesForShares(parts, artifact, newest.number)
  const due = new Map<string, Share[]>()
  for (const share of shares) {
    for (const keyId of keysDue(share, uses)) due.set(toHex(keyId), [...(due.get(toHex(keyId)) ?? []), share])
  }
  const found = []
  for (const [name, some] of due) {
    const keyId = fromHex(name)
    const lacking = await lackingShares(view, artifact, keyId, some)
    const key = lacking.length === 0 ? undefined : await openArtifactKey(view.secrets, artifact, keyId, [])
    const items = key === undefined ? [] : itemsFor(key, lacking, view)
    const audiences = lacking.flatMap(({ claims }) => claims.audience)
    const groups = audiences.filter(({ kind }) => kind === 'group').map(({ id }) => id)
    if (items.length > 0) found.push({ artifactSalt: first.artifactSalt, items, groups })
  }
  return found
}
