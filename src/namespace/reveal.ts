import type { ArtifactState, HiddenVersion } from '../catalog/index.ts'
import { artifactIdOf } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import type { Ledger } from './ledger.ts'
import { operationOf } from './operations.ts'
import { readState, storedSecrets } from './secrets.ts'

const batchVersions = 500

/** Tries hidden versions when keys have come. */
export class Revealer {
  readonly #ledger: Ledger
  #running: Promise<void> | undefined

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** Tries all with the keys that are there now, if any came. One run at a time. */
  async run(signal: AbortSignal | undefined): Promise<void> {
    if (this.#ledger.owesReveal) await this.#run(signal)
  }

  async #run(signal: AbortSignal | undefined): Promise<void> {
    const before = this.#running
    const run = (async () => {
      await before?.catch(() => {})
      const { keysGained } = this.#ledger
      await revealHidden(this.#ledger, signal)
      this.#ledger.noteRevealed(keysGained)
      if (this.#ledger.owesReveal) return
      const { env, keys } = this.#ledger.parts
      await env.store.batch([{ type: 'del', key: keys.key('revealing') }], { sync: false })
    })()
    this.#running = run
    try {
      await run
    } finally {
      if (this.#running === run) this.#running = undefined
    }
  }

  /** Runs if keys came that were not tried to the end: the node was stopped meanwhile. */
  async resume(): Promise<void> {
    const { env, keys } = this.#ledger.parts
    if ((await env.store.get(keys.key('revealing'))) !== undefined) await this.#run(undefined)
  }
}

/** Tries every hidden version with the keys that are there now, some to a batch. */
async function revealHidden(ledger: Ledger, signal: AbortSignal | undefined): Promise<void> {
  const { id, log, catalog } = ledger.parts
  const secrets = storedSecrets(ledger.parts)
  let last: HiddenVersion | undefined
  for (;;) {
    signal?.throwIfAborted()
    const some: HiddenVersion[] = []
    for await (const { artifact, entry } of catalog.hidden(last, { signal })) {
      // Copies: the rows are the store's.
      some.push({ artifact: artifact.slice(), entry: entry.slice() })
      if (some.length === batchVersions) break
    }
    last = some.at(-1) ?? last
    const found: { entry: Entry; state: ArtifactState }[] = []
    for (const entry of await log.unverifiedMany(some.map((version) => version.entry))) {
      const state = await readState(secrets, entry)
      if (state !== undefined) found.push({ entry, state })
    }
    if (found.length > 0) {
      await ledger.commit(async (tx, mark) => {
        mark()
        for (const { entry, state } of found) {
          const salt = entry.header.data?.artifactSalt
          // It may have lost its right to count meanwhile.
          if (salt === undefined || !tx.membership.counts(entry)) continue
          const operation = operationOf(artifactIdOf(id, salt), entry, state)
          if (operation !== undefined) await tx.apply(operation)
        }
      })
    }
    if (some.length < batchVersions) return
  }
}
