import { rankOf } from '../membership/index.ts'
import type { EpochSecret } from '../sharing/index.ts'
import { artifactData } from './artifact-writes.ts'
import type { AuthorKnowledge } from './author-knowledge.ts'
import { type ClosedEpoch, type ClosedKeys, isGivenOn, type NamedKey } from './closed-keys.ts'
import type { Ledger } from './ledger.ts'
import { appendWraps } from './members.ts'
import { openArtifactKey } from './secrets.ts'
import type { Healed } from './share-heal.ts'
import type { Transaction } from './transaction.ts'

/** Keys that are wrapped in one batch. */
const batchKeys = 256

/**
 * Gives members the keys that are closed to them (`ClosedKeys`), as far as this agent can open them: wrapped under the epoch to write under, which nobody has
 * who was removed. Whoever has them may, and what two do at once does no harm.
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
    if (rankOf(membership.roleOf(parts.env.agent.publicKey) ?? 'reader') < 1) return { written: 0, isPutOff: false }
    const { epochs, keys } = await this.#closed.owed()
    const ready = { epochs: await this.#known(epochs), keys: await this.#known(keys) }
    let isPutOff = ready.epochs.length < epochs.length || ready.keys.length < keys.length
    let written = 0
    const keysOf = (at: number) => ready.keys.slice(at, at + batchKeys)
    for (let at = 0; at === 0 || at < ready.keys.length; at += batchKeys) {
      const some = { epochs: at === 0 ? ready.epochs : [], keys: keysOf(at) }
      if (some.epochs.length + some.keys.length === 0) break
      const healed = await this.#ledger.commit((tx, mark) => this.#write(tx, mark, some))
      written += healed.written
      isPutOff ||= healed.isPutOff
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

  async #write(
    tx: Transaction,
    mark: () => void,
    { epochs, keys }: { readonly epochs: readonly ClosedEpoch[]; readonly keys: readonly NamedKey[] },
  ): Promise<Healed> {
    const { keyring, membership, epoch } = tx
    // Without one it waits for whoever may begin one.
    if (epoch === undefined || rankOf(membership.roleOf(tx.agent.publicKey) ?? 'reader') < 1)
      return { written: 0, isPutOff: false }
    const before = tx.appended
    let isPutOff = false
    const older: EpochSecret[] = []
    for (const { id } of epochs) {
      const held = keyring.epoch(id)
      if (held === undefined || isGivenOn(membership, keyring, id)) continue
      if (await tx.mustWait(id)) isPutOff = true
      else older.push(held)
    }
    const open = []
    for (const { artifact, artifactSalt, keyId } of keys) {
      const key = await openArtifactKey(tx, artifact, keyId, [])
      if (key !== undefined) open.push({ artifact, artifactSalt, key })
    }
    mark()
    await appendWraps(tx, epoch, older)
    for (const { artifact, artifactSalt, key } of open) {
      const wraps = [keyring.wrap(key, artifact, epoch)]
      const data = artifactData({ artifactSalt })
      await tx.append({ kind: 'keys', keyId: key.id, data }, { keys: { wraps, ephemeral: undefined, boxes: [] } })
    }
    return { written: tx.appended - before, isPutOff }
  }
}
