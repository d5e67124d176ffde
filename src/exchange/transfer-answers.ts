import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { formatDid } from '../identity/index.ts'
import type { LaneEnd } from './lane-end.ts'
import type { Lane } from './transfer-lane.ts'
import type { Want } from './transfer-wants.ts'

/** Providers' answers in one error. */
const maxAnswers = 32

/** What became of the providers that a transfer asked: who is not to be asked again, and what to tell when nobody is left. */
export class ProviderAnswers {
  /** Not to be asked again before something changes, by agent in hex. */
  readonly #passed = new Map<string, { readonly agent: Uint8Array; readonly answer: string }>()
  /** Agents in hex that sent what no honest one sends: not asked again. */
  readonly #banned = new Map<string, { readonly agent: Uint8Array; readonly answer: string }>()

  /** Agents in hex whose last stream ended before it brought anything. */
  readonly #cut = new Set<string>()

  /** Takes in how a lane ended. */
  add({ agent, key, receivedBlocks }: Lane, { kind, answer }: LaneEnd): void {
    if (kind === 'bad-block' || kind === 'bad-frame' || kind === 'false-claim') this.#banned.set(key, { agent, answer })
    const isCut = kind === 'cut' || kind === 'ended'
    // One that was cut off after it had brought something is as good as before; else it may be the connection's fault, once.
    const isAsGood = kind === 'done' || (isCut && (receivedBlocks > 0 || !this.#cut.has(key)))
    if (isCut && receivedBlocks === 0) this.#cut.add(key)
    else this.#cut.delete(key)
    if (!isAsGood) this.#passed.set(key, { agent, answer })
  }

  /** Whether an agent (in hex) may be asked. */
  mayAsk(key: string): boolean {
    return !this.#banned.has(key) && !this.#passed.has(key)
  }

  /** Something changed at an agent: it may be asked again, unless it was hostile. */
  forget(agent: Uint8Array): void {
    this.#passed.delete(toHex(agent))
  }

  /** Everybody may be asked again, but for the hostile. */
  forgetAll(): void {
    this.#passed.clear()
  }

  /** The error for a block that nobody brought: who was asked, and what each answered. */
  unavailable({ block, lackedBy }: Want, artifact: Uint8Array): ArtifactHubError {
    const asked = new Map<string, string>()
    for (const [key, { agent, answer }] of [...this.#banned, ...this.#passed]) {
      asked.set(key, `${formatDid(agent)}: ${answer}`)
    }
    for (const key of lackedBy) {
      if (!asked.has(key)) asked.set(key, `${formatDid(Buffer.from(key, 'hex'))}: does not have the block`)
    }
    const message = asked.size === 0 ? 'Nobody is known to have the content' : 'Nobody who was asked has the block'
    return new ArtifactHubError('UNAVAILABLE', message, {
      details: {
        block: toHex(block.digest),
        artifact: toHex(artifact),
        asked: [...asked.values()].slice(0, maxAnswers),
      },
    })
  }
}
