import type { ClockReading, ContentRoot } from '../../../src/catalog/index.ts'
import { equalBytes, formatArtifactId, toHex } from '../../../src/encoding/index.ts'
import type { Scheduler } from '../../../src/exchange/index.ts'
import { maxEagerFetches, retryBackoffMs } from '../../../src/limits.ts'
import type { FetchPolicy } from '../../peer-client.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Fetches } from './fetches.ts'

interface EagerFetchOptions {
  readonly namespace: OpenNamespace
  readonly fetches: Fetches
  readonly scheduler: Scheduler
  /** A number from 0 up to 1, for jitter. */
  readonly chance: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly policy: () => FetchPolicy
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void
}

/** A content that a live version has and that is not whole here. */
interface Missing {
  readonly key: string
  readonly artifact: Uint8Array
  readonly root: ContentRoot
  readonly clock: ClockReading
  failures: number
}

/**
 * Fetches what is new in a namespace, the newest first, on a node that is a replica of it or is told to. What is missing is found
 * again at every start; what fails is tried again, later each time, or when a member connects. Other nodes fetch nothing by it.
 */
export class EagerFetch {
  readonly #options: EagerFetchOptions
  readonly #stop = new AbortController()
  readonly #known = new Map<string, Missing>()
  /** Those to be fetched now, the newest last. */
  readonly #ready: Missing[] = []
  /** Those that failed, and what ends their wait. */
  readonly #cooling = new Map<Missing, () => void>()
  /** Those that are over the plan's or the policy's bounds. */
  readonly #over = new Set<Missing>()
  readonly #running = new Map<Missing, { readonly stop: AbortController; readonly done: Promise<void> }>()
  readonly #unsubscribe: () => void
  #missingBytes = 0
  #looking: Promise<void> = Promise.resolve()
  #looks = 0
  #isOn = false

  constructor(options: EagerFetchOptions) {
    this.#options = options
    this.#unsubscribe = options.namespace.log.subscribe(({ authChanged, artifacts }) => {
      // A role may have come or gone.
      if (authChanged && this.#isWanted !== this.#isOn) this.refresh()
      else if (this.#isOn && artifacts.length > 0) this.#look(artifacts)
    })
    this.refresh()
  }

  /** Contents that are still to be fetched. A look for such that is not through counts as one: there may be some. */
  get missing(): number {
    return this.#known.size + this.#looks
  }

  /** The policy or the plan may be another: what is under way and not wanted any more ends. */
  refresh(): void {
    const wasOn = this.#isOn
    this.#isOn = this.#isWanted
    for (const [missing, { stop }] of this.#running) {
      if (!(this.#isOn && this.#isSmall(missing)))
        stop.abort(new DOMException('it is fetched when it is asked for', 'AbortError'))
    }
    if (!this.#isOn) {
      for (const stop of this.#cooling.values()) stop()
      this.#cooling.clear()
      this.#over.clear()
      this.#known.clear()
      this.#ready.length = 0
      this.#missingBytes = 0
    } else if (wasOn) this.#retry()
    else this.#look(undefined)
  }

  /** Somebody who may have something is there. */
  onConnected(agent: Uint8Array): void {
    if (this.#cooling.size === 0 || this.#options.namespace.log.roleOf(agent) === undefined) return
    for (const [missing, stop] of [...this.#cooling]) {
      stop()
      this.#cooling.delete(missing)
      this.#enqueue(missing)
    }
    this.#pump()
  }

  /** Stops; resolves when nothing of it runs. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort(new DOMException('the namespace is closing', 'AbortError'))
    this.#unsubscribe()
    for (const stop of this.#cooling.values()) stop()
    this.#cooling.clear()
    await this.#looking
    await Promise.all([...this.#running.values()].map(({ done }) => done))
  }

  get #isWanted(): boolean {
    const { namespace, policy, self } = this.#options
    return namespace.log.roleOf(self) === 'replica' || policy().fetch === 'eager'
  }

  /** Looks for what is missing of those artifacts, or of all. */
  #look(artifacts: readonly Uint8Array[] | undefined): void {
    const { namespace, warn } = this.#options
    this.#looks++
    this.#looking = this.#looking
      .then(async () => {
        if (artifacts === undefined) await this.#lookAt(undefined)
        else for (const artifact of artifacts) await this.#lookAt(artifact)
        this.#retry()
      })
      .catch((error) => {
        if (this.#stop.signal.aborted || namespace.log.closed) return
        warn('could not look for contents to fetch', { namespace: namespace.log.idText, error: String(error) })
      })
      .finally(() => {
        this.#looks--
      })
  }

  async #lookAt(artifact: Uint8Array | undefined): Promise<void> {
    const { log } = this.#options.namespace
    const live = new Set<string>()
    for await (const version of log.catalog.liveRoots(artifact, { signal: this.#stop.signal })) {
      const { root, clock } = version
      if (!this.#isOn) return
      if (root.inline) continue
      const key = `${toHex(version.artifact)} ${toHex(root.digest)}`
      live.add(key)
      if (this.#known.has(key) || (await this.#isHere(version.artifact, root))) continue
      const missing = { key, artifact: version.artifact.slice(), root, clock, failures: 0 }
      this.#known.set(key, missing)
      this.#missingBytes += root.storedBytes
      this.#enqueue(missing)
      this.#pump()
    }
    if (artifact === undefined) return
    // What is tried is forgotten when that fails; these are not tried.
    for (const missing of this.#over) {
      if (!equalBytes(missing.artifact, artifact) || live.has(missing.key)) continue
      this.#over.delete(missing)
      this.#forget(missing)
    }
  }

  async #isHere(artifact: Uint8Array, root: ContentRoot): Promise<boolean> {
    const { log } = this.#options.namespace
    if (await log.isEstimated(artifact, root)) return false
    // What was counted leaf by leaf was whole; a content of one leaf is counted without a look.
    const [isRootHere] = await log.blocks.has([root.digest])
    return isRootHere === true
  }

  #enqueue(missing: Missing): void {
    let from = 0
    let to = this.#ready.length
    while (from < to) {
      const middle = (from + to) >> 1
      if ((this.#ready[middle] as Missing).clock.wallMs <= missing.clock.wallMs) from = middle + 1
      else to = middle
    }
    this.#ready.splice(from, 0, missing)
  }

  #retry(): void {
    for (const missing of this.#over) this.#enqueue(missing)
    this.#over.clear()
    this.#pump()
  }

  #pump(): void {
    while (!this.#stop.signal.aborted && this.#running.size < maxEagerFetches) {
      const missing = this.#ready.pop()
      if (missing === undefined) return
      if (!this.#hasRoomFor(missing)) {
        this.#over.add(missing)
        continue
      }
      const stop = new AbortController()
      const done = this.#fetch(missing, stop.signal).then((isHere) => {
        this.#running.delete(missing)
        // Its room is free again.
        if (isHere) this.#pump()
        else this.#retry()
      })
      this.#running.set(missing, { stop, done })
    }
  }

  #hasRoomFor(missing: Missing): boolean {
    const { namespace } = this.#options
    // What is missing is in the totals as well: they are of the log, not of the disk. What is under way is as good as here.
    const comingBytes = [...this.#running.keys()].reduce((sum, { root }) => sum + root.storedBytes, 0)
    const heldBytes = namespace.log.totals.leafBytes - this.#missingBytes + comingBytes
    return this.#isSmall(missing) && heldBytes + missing.root.storedBytes <= namespace.quota.limits.maxTotalBytes
  }

  #isSmall({ root }: Missing): boolean {
    const { namespace, policy } = this.#options
    return root.sizeBytes <= Math.min(namespace.quota.limits.maxFileBytes, policy().maxBytes ?? Infinity)
  }

  /** Never rejects. @returns whether it is here now */
  async #fetch(missing: Missing, stop: AbortSignal): Promise<boolean> {
    const { namespace, fetches } = this.#options
    try {
      await using fetch = fetches.open(namespace.log, missing, AbortSignal.any([this.#stop.signal, stop]))
      await fetch.whole()
      this.#forget(missing)
      return true
    } catch (error) {
      const isLive = this.#isKnown(missing) && (await this.#isLive(missing).catch(() => true))
      if (this.#stop.signal.aborted || !this.#isKnown(missing)) return false
      if (!isLive) this.#forget(missing)
      else if (stop.aborted) this.#enqueue(missing)
      else this.#cool(missing, error)
      return false
    }
  }

  /** Whether it is still to be fetched: it may have been forgotten, and found again. */
  #isKnown(missing: Missing): boolean {
    return this.#known.get(missing.key) === missing
  }

  #forget(missing: Missing): void {
    if (!this.#isKnown(missing)) return
    this.#known.delete(missing.key)
    this.#missingBytes -= missing.root.storedBytes
  }

  async #isLive({ artifact, root }: Missing): Promise<boolean> {
    const { catalog } = this.#options.namespace.log
    for await (const live of catalog.liveRoots(artifact)) if (equalBytes(live.root.digest, root.digest)) return true
    return false
  }

  #cool(missing: Missing, error: unknown): void {
    const { scheduler, chance, warn, namespace } = this.#options
    missing.failures += 1
    if (missing.failures === 1) {
      const artifact = formatArtifactId(missing.artifact)
      warn('could not fetch a content; it is tried again', {
        namespace: namespace.log.idText,
        artifact,
        error: String(error),
      })
    }
    const delayMs = Math.min(retryBackoffMs.to, retryBackoffMs.from * 2 ** Math.min(missing.failures - 1, 20))
    const stop = scheduler.setTimer(delayMs * (0.5 + chance() / 2), () => {
      this.#cooling.delete(missing)
      this.#enqueue(missing)
      this.#pump()
    })
    this.#cooling.set(missing, stop)
  }
}
