import { bytesText, concatBytes } from '../encoding/index.ts'
import { maxBoxesInEntry } from '../limits.ts'
import type { KeyWrap } from '../log/index.ts'
import type { EpochSecret } from '../sharing/index.ts'
import { artifactData } from './artifact-writes.ts'
import type { AuthorKnowledge } from './author-knowledge.ts'
import { type ClosedEpoch, type ClosedKeys, isGiven, type NamedKey } from './closed-keys.ts'
import { EpochWaits } from './epoch-waits.ts'
import type { Ledger } from './ledger.ts'
import { appendWraps, mayWrite } from './members.ts'
import { openArtifactKey } from './secrets.ts'
import type { Healed } from './share-heal.ts'
import type { Transaction } from './transaction.ts'

/** Keys that are wrapped in one batch. */
const batchKeys = 256

/**
 * Gives members the keys that are closed to them (`ClosedKeys`), as far as this agent can open them: wrapped under the epoch to write under, which nobody has
 * who was removed. Without one it is left to when there is. Whoever has the keys may, and what two do at once does no harm.
 */
export class KeyHealer {
  readonly #ledger: Ledger
  readonly #closed: ClosedKeys
  readonly #knowledge: AuthorKnowledge
  /** Since when something is not given for what an author knew: one wait for each key, whatever comes meanwhile. */
  readonly #waits = new EpochWaits()
  /** What was wrapped, and under what: where it goes by that it is not, once was enough. */
  readonly #wrapped = new Set<string>()

  constructor(ledger: Ledger, closed: ClosedKeys, knowledge: AuthorKnowledge) {
    this.#ledger = ledger
    this.#closed = closed
    this.#knowledge = knowledge
  }

  /** As `ShareHealer.run`. */
  async run(): Promise<Healed> {
    const { parts, membership } = this.#ledger
    if (!mayWrite(membership, parts.env.agent.publicKey)) return { written: 0, isPutOff: false }
    const closed = await this.#closed.owed()
    const epochs = await this.#known(closed.epochs, nameOfEpoch)
    const keys = await this.#known(closed.keys, nameOfKey)
    let isPutOff = epochs.length < closed.epochs.length || keys.length < closed.keys.length
    let written = 0
    if (closed.epochs.length > 0) {
      const known = new Set(epochs)
      const healed = await this.#commit((tx, mark) =>
        wrapEpochs(tx, mark, { closed: closed.epochs, known }, this.#wrapped),
      )
      written += healed.written
      isPutOff ||= healed.isPutOff
    }
    for (let at = 0; at < keys.length; at += batchKeys) {
      const some = keys.slice(at, at + batchKeys)
      written += (await this.#commit((tx, mark) => wrapKeys(tx, mark, some, this.#wrapped))).written
    }
    return { written, isPutOff }
  }

  /** Those of whose authors all is held that they knew: it may tell of a removal. */
  async #known<T extends Pick<ClosedEpoch, 'entries'>>(
    closed: readonly T[],
    nameOf: (one: T) => Uint8Array,
  ): Promise<T[]> {
    const known: T[] = []
    const now = this.#ledger.parts.env.clock.nowMs
    for (const one of closed) {
      let isKnown = true
      for (const entry of one.entries) if (await this.#knowledge.mustWaitFor(entry)) isKnown = false
      if (!this.#waits.mustWait(nameOf(one), isKnown, now)) known.push(one)
    }
    return known
  }

  async #commit(write: (tx: Transaction, mark: () => void) => Promise<Wrapped>): Promise<Healed> {
    const { names, ...healed } = await this.#ledger.commit(async (tx, mark) => {
      if (!mayWrite(tx.membership, tx.agent.publicKey)) return { written: 0, isPutOff: false, names: [] }
      const before = tx.appended
      const wrapped = await write(tx, mark)
      return { written: tx.appended - before, ...wrapped }
    })
    for (const name of names) this.#wrapped.add(name)
    return healed
  }
}

/** What was wrapped under what (`nameUnder`), and whether more must wait. */
interface Wrapped {
  readonly names: readonly string[]
  readonly isPutOff: boolean
}

async function wrapEpochs(
  tx: Transaction,
  mark: () => void,
  { closed, known }: { readonly closed: readonly ClosedEpoch[]; readonly known: ReadonlySet<ClosedEpoch> },
  wrapped: ReadonlySet<string>,
): Promise<Wrapped> {
  const { keyring, membership, epoch } = tx
  if (epoch === undefined) return { names: [], isPutOff: false }
  const older: EpochSecret[] = []
  let isPutOff = false
  for (const one of closed) {
    const secret = keyring.epoch(one.id)
    const isOwed = !isGiven(membership, keyring, one.id) && !wrapped.has(nameUnder(one.id, epoch))
    if (secret === undefined || !isOwed) continue
    // Both waits begin at once: what nobody has is waited for ten minutes in all.
    const mustWait = await tx.mustWait(one.id)
    if (!mustWait && known.has(one)) older.push(secret)
    isPutOff ||= mustWait
  }
  mark()
  await appendWraps(tx, epoch, older)
  return { names: older.map(({ id }) => nameUnder(id, epoch)), isPutOff }
}

async function wrapKeys(
  tx: Transaction,
  mark: () => void,
  keys: readonly NamedKey[],
  wrapped: ReadonlySet<string>,
): Promise<Wrapped> {
  const { keyring, epoch } = tx
  if (epoch === undefined) return { names: [], isPutOff: false }
  // Many keys of one artifact in one entry, for one entry can seal many by name.
  const open = new Map<string, { readonly artifactSalt: Uint8Array; readonly wraps: KeyWrap[] }[]>()
  const names: string[] = []
  for (const one of keys) {
    const name = nameUnder(nameOfKey(one), epoch)
    const { artifact, artifactSalt, keyId } = one
    const key = wrapped.has(name) ? undefined : await openArtifactKey(tx, artifact, keyId, [])
    if (key === undefined) continue
    names.push(name)
    const ofArtifact = open.get(bytesText(artifact)) ?? []
    open.set(bytesText(artifact), ofArtifact)
    let last = ofArtifact.at(-1)
    if (last === undefined || last.wraps.length === maxBoxesInEntry) {
      last = { artifactSalt, wraps: [] }
      ofArtifact.push(last)
    }
    last.wraps.push(keyring.wrap(key, artifact, epoch))
  }
  mark()
  for (const { artifactSalt, wraps } of [...open.values()].flat()) {
    const section = { wraps, ephemeral: undefined, boxes: [] }
    const keyId = wraps[0]?.keyId
    await tx.append({ kind: 'keys', keyId, data: artifactData({ artifactSalt }) }, { keys: section })
  }
  return { names, isPutOff: false }
}

const nameOfEpoch = ({ id }: ClosedEpoch): Uint8Array => id
const nameOfKey = ({ artifact, keyId }: NamedKey): Uint8Array => concatBytes(artifact, keyId)

function nameUnder(name: Uint8Array, { id }: EpochSecret): string {
  return bytesText(concatBytes(name, id))
}
