import { artifactData } from './artifact-writes.ts'
import type { AuthorKnowledge } from './author-knowledge.ts'
import { type ClosedEpoch, type ClosedKeys, isGiven, type NamedKey } from './closed-keys.ts'
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
    const epochs = await this.#known(closed.epochs)
    const keys = await this.#known(closed.keys)
    let isPutOff = epochs.length < closed.epochs.length || keys.length < closed.keys.length
    let written = 0
    if (epochs.length > 0) {
      const healed = await this.#commit((tx, mark) => wrapEpochs(tx, mark, epochs))
      written += healed.written
      isPutOff ||= healed.isPutOff
    }
    for (let at = 0; at < keys.length; at += batchKeys) {
      const some = keys.slice(at, at + batchKeys)
      written += (await this.#commit((tx, mark) => wrapKeys(tx, mark, some))).written
    }
    return { written, isPutOff }
  }

  /** Those of whose authors all is held that they knew: it may tell of a removal. */
  async #known<T extends Pick<ClosedEpoch, 'entries'>>(closed: readonly T[]): Promise<T[]> {
    const known: T[] = []
    for (const one of closed) {
      let mustWait = false
      for (const entry of one.entries) if (await this.#knowledge.mustWaitFor(entry)) mustWait = true
      if (!mustWait) known.push(one)
    }
    return known
  }

  async #commit(write: (tx: Transaction, mark: () => void) => Promise<boolean>): Promise<Healed> {
    return await this.#ledger.commit(async (tx, mark) => {
      if (!mayWrite(tx.membership, tx.agent.publicKey)) return { written: 0, isPutOff: false }
      const before = tx.appended
      const isPutOff = await write(tx, mark)
      return { written: tx.appended - before, isPutOff }
    })
  }
}

/** Gives whether some of them must wait. */
async function wrapEpochs(tx: Transaction, mark: () => void, epochs: readonly ClosedEpoch[]): Promise<boolean> {
  const { keyring, membership, epoch } = tx
  if (epoch === undefined) return false
  const held = epochs.flatMap(({ id }) => (isGiven(membership, keyring, id) ? [] : (keyring.epoch(id) ?? [])))
  const older = []
  for (const one of held) if (!(await tx.mustWait(one.id))) older.push(one)
  mark()
  await appendWraps(tx, epoch, older)
  return older.length < held.length
}

async function wrapKeys(tx: Transaction, mark: () => void, keys: readonly NamedKey[]): Promise<boolean> {
  const { keyring, epoch } = tx
  if (epoch === undefined) return false
  const open = []
  for (const { artifact, artifactSalt, keyId } of keys) {
    const key = await openArtifactKey(tx, artifact, keyId, [])
    if (key !== undefined) open.push({ artifact, artifactSalt, key })
  }
  mark()
  for (const { artifact, artifactSalt, key } of open) {
    const section = { wraps: [keyring.wrap(key, artifact, epoch)], ephemeral: undefined, boxes: [] }
    await tx.append({ kind: 'keys', keyId: key.id, data: artifactData({ artifactSalt }) }, { keys: section })
  }
  return false
}
