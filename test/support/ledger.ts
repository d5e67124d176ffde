import { createHash } from 'node:crypto'
import type { Artifact, Client } from '../../sdk/index.ts'
import { isHubError } from '../../src/errors.ts'

/** Something that is about to be asked of a node. */
export type Intent =
  | { readonly kind: 'create'; readonly name: string; readonly sha256: string }
  | { readonly kind: 'update'; readonly artifactId: string; readonly sha256: string }
  | { readonly kind: 'drop'; readonly artifactId: string; readonly version: number }
  | { readonly kind: 'delete'; readonly artifactId: string }

/** What a node said to a create or an update. */
export type Acknowledged = Pick<Artifact, 'id' | 'version'>

interface Known {
  readonly name: string
  /** Version → SHA-256 in hex. */
  readonly versions: Map<number, string>
}

function wasAsked(unanswered: readonly Intent[], name: string | undefined, sha256: string | undefined): boolean {
  return unanswered.some((one) => one.kind === 'create' && one.name === name && one.sha256 === sha256)
}

/** SHA-256 in hex. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/**
 * What a node has acknowledged, and what was asked of it without an answer: that may have happened or not. `verify`
 * holds a node to it and then takes what it saw for true.
 */
export class Ledger {
  readonly #live = new Map<string, Known>()
  readonly #deleted = new Set<string>()
  readonly #unanswered = new Map<number, Intent>()
  #nextIntent = 0

  /** Writes an intent down before the node hears of it. */
  begin(intent: Intent): number {
    this.#unanswered.set(this.#nextIntent, intent)
    return this.#nextIntent++
  }

  /** The node acknowledged it. An intent that failed is left unanswered. */
  acknowledge(key: number, answer?: Acknowledged): void {
    const intent = this.#unanswered.get(key) as Intent
    this.#unanswered.delete(key)
    if (intent.kind === 'create') {
      const { id } = answer as Acknowledged
      this.#live.set(id, { name: intent.name, versions: new Map([[1, intent.sha256]]) })
    } else if (intent.kind === 'update') {
      // Its create may be among what was left unanswered.
      const known = this.#live.get(intent.artifactId) ?? { name: '', versions: new Map() }
      known.versions.set((answer as Acknowledged).version, intent.sha256)
      this.#live.set(intent.artifactId, known)
    } else if (intent.kind === 'delete') {
      this.#end(intent.artifactId)
    } else {
      const known = this.#live.get(intent.artifactId)
      known?.versions.delete(intent.version)
      if (known?.versions.size === 0) this.#end(intent.artifactId)
    }
  }

  /** Artifacts that are there for certain, with the versions they have. */
  get live(): { id: string; versions: number[] }[] {
    return [...this.#live].map(([id, { versions }]) => ({ id, versions: [...versions.keys()] }))
  }

  get size(): number {
    return this.#live.size
  }

  copy(): Ledger {
    const ledger = new Ledger()
    for (const [id, { name, versions }] of this.#live) ledger.#live.set(id, { name, versions: new Map(versions) })
    for (const id of this.#deleted) ledger.#deleted.add(id)
    for (const [key, intent] of this.#unanswered) ledger.#unanswered.set(key, intent)
    ledger.#nextIntent = this.#nextIntent
    return ledger
  }

  /**
   * Reads everything that the node lists, to the last byte, and throws at the first thing that contradicts what it
   * acknowledged.
   *
   * @returns how many versions were read
   */
  async verify({ artifact }: Client): Promise<number> {
    const seen = new Map<string, Known>()
    let read = 0
    for await (const { id, name } of artifact.list()) {
      const versions = new Map<number, string>()
      for await (const { version, sha256, sizeBytes } of artifact.listVersions({ artifactId: id })) {
        const bytes = await artifact.download({ artifactId: id, version })
        assert(
          bytes.length === sizeBytes && sha256Of(bytes) === sha256,
          `${id} version ${version} reads back other bytes`,
        )
        versions.set(version, sha256)
        read += 1
      }
      assert(!seen.has(id), `${id} is listed twice`)
      seen.set(id, { name, versions })
    }
    const unanswered = [...this.#unanswered.values()]
    for (const [id, known] of this.#live) this.#verifyKnown(id, known, seen.get(id), unanswered)
    for (const [id, known] of seen) if (!this.#live.has(id)) this.#verifyNew(id, known, unanswered)
    for (const id of this.#deleted) {
      const found = await artifact.get({ artifactId: id }).catch((error) => {
        if (!isHubError(error, 'NOT_FOUND')) throw error
      })
      assert(found === undefined, `${id} was deleted and is there`)
    }
    for (const id of this.#live.keys()) if (!seen.has(id)) this.#end(id)
    for (const [id, known] of seen) this.#live.set(id, known)
    this.#unanswered.clear()
    return read
  }

  #verifyKnown(id: string, known: Known, found: Known | undefined, unanswered: readonly Intent[]): void {
    const about = unanswered.filter((intent) => 'artifactId' in intent && intent.artifactId === id)
    const dropped = new Set(about.map((intent) => (intent.kind === 'drop' ? intent.version : 0)))
    const missing = [...known.versions.keys()].filter((version) => found?.versions.has(version) !== true)
    const mayEnd = about.some(({ kind }) => kind === 'delete')
    const lost = missing.filter((version) => !mayEnd && !dropped.has(version))
    assert(lost.length === 0, `${id} lost versions ${lost}`)
    for (const [version, sha256] of found?.versions ?? []) {
      const acknowledged = known.versions.get(version)
      const asked =
        about.some((intent) => intent.kind === 'update' && intent.sha256 === sha256) ||
        (version === 1 && wasAsked(unanswered, found?.name, sha256))
      const right = acknowledged === undefined ? asked : acknowledged === sha256
      assert(right, `${id} has a version ${version} of ${sha256}, which nobody wrote there`)
    }
  }

  #verifyNew(id: string, { name, versions }: Known, unanswered: readonly Intent[]): void {
    assert(!this.#deleted.has(id), `${id} came back after its delete`)
    const asked = wasAsked(unanswered, name, versions.get(1))
    assert(asked && versions.size === 1, `${id} (${name}) is listed and nobody wrote it`)
  }

  #end(id: string): void {
    this.#live.delete(id)
    this.#deleted.add(id)
  }
}

function assert(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(message)
}
