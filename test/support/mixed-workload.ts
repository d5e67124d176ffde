import type { ArtifactHubNode } from '../../node/index.ts'
import { type Acknowledged, type Intent, sha256Of } from './ledger.ts'

/** Told of each operation before and after it. */
export interface Witness {
  begin(intent: Intent): number
  acknowledge(key: number, answer?: Acknowledged): void
  /** @param key absent for a gc */
  failed(key: number | undefined, error: unknown): void
}

export interface WorkloadOptions {
  readonly node: Pick<ArtifactHubNode, 'client' | 'gc'>
  readonly witness: Witness
  /** Numbers from 0 to 1, repeatable. */
  readonly random: () => number
  readonly lanes: number
  /** Operations of each lane. */
  readonly steps: number
  readonly sizes: readonly number[]
  /** Tells this run's names from another's on the same directory. */
  readonly run: string
}

/** Around the inline bound and the shortest chunk, and some of many chunks. */
export const mixedSizes = [
  0,
  1,
  100,
  5_000,
  32 * 1024 - 1,
  32 * 1024,
  32 * 1024 + 1,
  100_000,
  524_288,
  900_000,
  2_500_000,
]

/** Bytes of that length that the numbers decide. */
export function bytesOf(random: () => number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = Math.floor(random() * 2 ** 32) | 1
  for (let at = 0; at < length; at++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[at] = state
  }
  return bytes
}

/**
 * Creates, updates, drops and deletes artifacts of all sizes in several lanes at once, and collects garbage beside
 * them. Each lane has its own artifacts, so that no more than one operation on each is ever under way.
 */
export async function runWorkload(options: WorkloadOptions): Promise<void> {
  const lanes = Array.from({ length: options.lanes }, (_, lane) => new Lane(options, lane).run())
  await Promise.all(lanes)
}

class Lane {
  readonly #options: WorkloadOptions
  readonly #lane: number
  #own: { id: string; versions: number[] }[] = []

  constructor(options: WorkloadOptions, lane: number) {
    this.#options = options
    this.#lane = lane
  }

  async run(): Promise<void> {
    await this.#adopt()
    for (let step = 0; step < this.#options.steps; step++) await this.#step(step)
  }

  /** Takes over what runs before this one left. */
  async #adopt(): Promise<void> {
    const { artifact } = this.#options.node.client
    const all = (await artifact.list({ order: { by: 'name' }, limit: 1_000 })).items
    for (const [at, { id }] of all.entries()) {
      if (at % this.#options.lanes !== this.#lane) continue
      const { items } = await artifact.listVersions({ artifactId: id })
      this.#own.push({ id, versions: items.map(({ version }) => version) })
    }
  }

  async #step(step: number): Promise<void> {
    const { node, random, sizes, run } = this.#options
    const { artifact } = node.client
    const data = bytesOf(random, pick(random, sizes) as number)
    const sha256 = sha256Of(data)
    const luck = random()
    const target = pick(random, this.#own)
    // The more there are, the more go: directories that see many runs stay small.
    if (target === undefined || luck < 0.45 - this.#own.length / 25) {
      const name = `${run}-${this.#lane}-${step}`
      const text = new TextDecoder('latin1').decode(data.subarray(0, 4_000))
      const create =
        random() < 0.3
          ? {
              sha256: sha256Of(new TextEncoder().encode(text)),
              call: () => artifact.createSnippet({ name, content: text }),
            }
          : { sha256, call: () => artifact.create({ name, data, metadata: { lane: this.#lane, step } }) }
      const made = await this.#ask({ kind: 'create', name, sha256: create.sha256 }, create.call)
      if (made) this.#own.push({ id: made.id, versions: [1] })
    } else if (luck < 0.65) {
      const made = await this.#ask({ kind: 'update', artifactId: target.id, sha256 }, () =>
        artifact.update({ artifactId: target.id, data }),
      )
      if (made) target.versions.push(made.version)
    } else if (luck < 0.8) {
      const version = pick(random, target.versions) as number
      const done = await this.#ask({ kind: 'drop', artifactId: target.id, version }, () =>
        artifact.deleteVersion({ artifactId: target.id, version }).then(() => true),
      )
      if (done) target.versions = target.versions.filter((one) => one !== version)
      if (target.versions.length === 0) this.#own = this.#own.filter((one) => one !== target)
    } else if (luck < 0.92) {
      const done = await this.#ask({ kind: 'delete', artifactId: target.id }, () =>
        artifact.delete({ artifactId: target.id }).then(() => true),
      )
      if (done) this.#own = this.#own.filter((one) => one !== target)
    } else {
      await node.gc({ now: true }).catch((error) => this.#options.witness.failed(undefined, error))
    }
  }

  async #ask<T>(intent: Intent, call: () => Promise<T>): Promise<T | undefined> {
    const { witness } = this.#options
    const key = witness.begin(intent)
    try {
      const answer = await call()
      witness.acknowledge(key, answer === true ? undefined : (answer as Acknowledged))
      return answer
    } catch (error) {
      witness.failed(key, error)
      // It may have happened all the same: nothing more is asked of this artifact.
      if ('artifactId' in intent) this.#own = this.#own.filter(({ id }) => id !== intent.artifactId)
      return undefined
    }
  }
}

function pick<T>(random: () => number, among: readonly T[]): T | undefined {
  return among[Math.floor(random() * among.length)]
}
