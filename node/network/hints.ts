import { type GossipSub, type GossipsubMessage, type Message, TopicValidatorResult } from '@libp2p/gossipsub'
import type { PeerId } from '@libp2p/interface'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxHintBytes, maxHintsPerSecond, maxHintTopics, maxOwnHintsPerSecond } from '../../src/limits.ts'
import { agentOf } from './agent-peer.ts'

type HintListener = (payload: Uint8Array, from: Uint8Array) => void

interface HintsInit {
  readonly pubsub: GossipSub
  readonly monotonic: () => number
  readonly random: (length: number) => Uint8Array
  /** Told once for each second in which an agent passed on more hints than it may. */
  readonly onFlood: (agent: Uint8Array) => void
  readonly warn: (message: string, fields: Record<string, unknown>) => void
}

/** Gossip would take a message for one that it has seen when somebody else has said the same: each begins with so many random bytes. */
const nonceBytes = 16
const secondMs = 1_000

/**
 * Gossip: small messages by topic to connected agents, that may arrive or not. What one tells above its rate is dropped. Who listens to more topics
 * than are told of hears of the others once there is room.
 */
export class Hints {
  readonly #init: HintsInit
  readonly #listeners = new Map<string, Set<HintListener>>()
  /** Topics that others are told of. */
  readonly #heard = new Set<string>()
  /** Hints of the current second, by neighbour. */
  readonly #rates = new Map<string, number>()
  #second = 0
  /** Hints that are to be told, the latest of each topic. */
  readonly #waiting = new Map<string, Uint8Array>()
  #told = { second: 0, hints: 0 }
  #timer: NodeJS.Timeout | undefined

  constructor(init: HintsInit) {
    this.#init = init
    init.pubsub.addEventListener('gossipsub:message', ({ detail }) => this.#deliver(detail))
  }

  /** @throws TOO_LARGE above 64 KiB */
  publish(topic: string, payload: Uint8Array): void {
    if (payload.length > maxHintBytes) {
      throw new ArtifactHubError('TOO_LARGE', `a hint has at most ${maxHintBytes} bytes`, {
        details: { bytes: payload.length, maxBytes: maxHintBytes },
      })
    }
    this.#waiting.delete(topic)
    this.#waiting.set(topic, payload)
    this.#tell()
  }

  /** Tells no more. Idempotent. */
  close(): void {
    this.#waiting.clear()
    clearTimeout(this.#timer)
  }

  #tell(): void {
    const second = Math.floor(this.#init.monotonic() / secondMs)
    if (second !== this.#told.second) this.#told = { second, hints: 0 }
    for (const [topic, payload] of this.#waiting) {
      if (this.#told.hints >= maxOwnHintsPerSecond) break
      this.#told.hints += 1
      this.#waiting.delete(topic)
      const message = Buffer.concat([this.#init.random(nonceBytes), payload])
      this.#init.pubsub.publish(topic, message).catch((error: Error) => {
        this.#init.warn('a hint was not sent', { topic, error: error.message })
      })
    }
    clearTimeout(this.#timer)
    if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#tell(), secondMs).unref()
  }

  subscribe(topic: string, listener: HintListener): () => void {
    const { pubsub } = this.#init
    const listeners = this.#listeners.get(topic) ?? new Set()
    this.#listeners.set(topic, listeners)
    if (this.#heard.size < maxHintTopics) this.#hear(topic)
    const own: HintListener = (payload, from) => listener(payload, from)
    listeners.add(own)
    return () => {
      if (!listeners.delete(own) || listeners.size > 0) return
      this.#listeners.delete(topic)
      if (!this.#heard.delete(topic)) return
      pubsub.topicValidators.delete(topic)
      pubsub.unsubscribe(topic)
      const next = this.#listeners.keys().find((other) => !this.#heard.has(other))
      if (next !== undefined) this.#hear(next)
    }
  }

  #hear(topic: string): void {
    if (this.#heard.has(topic)) return
    this.#heard.add(topic)
    const { pubsub } = this.#init
    pubsub.topicValidators.set(topic, (neighbour, message) => this.#judge(neighbour, message))
    pubsub.subscribe(topic)
  }

  #judge(neighbour: PeerId, message: Message): TopicValidatorResult {
    const payloadBytes = message.data.length - nonceBytes
    if (payloadBytes < 0 || payloadBytes > maxHintBytes) return TopicValidatorResult.Reject
    const second = Math.floor(this.#init.monotonic() / secondMs)
    if (second !== this.#second) this.#rates.clear()
    this.#second = second
    const id = neighbour.toString()
    const count = (this.#rates.get(id) ?? 0) + 1
    this.#rates.set(id, count)
    if (count <= maxHintsPerSecond) return TopicValidatorResult.Accept
    const agent = agentOf(neighbour)
    if (count === maxHintsPerSecond + 1 && agent !== undefined) this.#init.onFlood(agent)
    return TopicValidatorResult.Ignore
  }

  #deliver({ propagationSource, msg }: GossipsubMessage): void {
    const from = agentOf(propagationSource)
    if (from === undefined) return
    for (const listener of this.#listeners.get(msg.topic) ?? []) {
      try {
        listener(msg.data.subarray(nonceBytes), from)
      } catch (error) {
        this.#init.warn('a listener to hints failed', { topic: msg.topic, error: String(error) })
      }
    }
  }
}
