import type { Socket } from 'node:net'
import { type RawResponse, wasCutOff } from './send-body.ts'

/** A client that says nothing for so long after an answer is taken to have it, milliseconds. */
const quietMs = 60_000

/**
 * Learns what became of answers that were handed to the system whole. A client that asks for more on the connection, or closes
 * it, has read them; one whose connection breaks off may not have.
 */
export class DeliveryWatch {
  readonly #watched = new Map<Socket, (wasCut: boolean) => void>()
  readonly #settling = new Set<Promise<void>>()
  readonly #onFault: (error: unknown) => void

  constructor(onFault: (error: unknown) => void) {
    this.#onFault = onFault
  }

  /** Calls `settle` once. */
  watch(socket: Socket, response: RawResponse, settle: (wasCut: boolean) => Promise<void>): void {
    // Many answers share a connection of HTTP/2, and flow control holds them back here until the client has read: its stream is over by now.
    if (response.stream !== undefined) {
      this.#settle(settle(wasCutOff(response)))
      return
    }
    const onClose = (hadError: boolean): void => done(hadError)
    const timer = setTimeout(() => done(false), quietMs)
    timer.unref()
    const done = (wasCut: boolean): void => {
      clearTimeout(timer)
      socket.removeListener('close', onClose)
      this.#watched.delete(socket)
      this.#settle(settle(wasCut))
    }
    if (socket.destroyed) {
      done(socket.errored !== null)
      return
    }
    socket.once('close', onClose)
    this.#watched.set(socket, done)
  }

  /** A request came on a connection: what went out before on it was read. */
  onRequest(socket: Socket): void {
    this.#watched.get(socket)?.(false)
  }

  /** Ends all watches, and resolves when all is settled. */
  async close(): Promise<void> {
    for (const done of this.#watched.values()) done(false)
    await Promise.all(this.#settling)
  }

  #settle(settling: Promise<void>): void {
    const settled = settling.catch(this.#onFault).finally(() => this.#settling.delete(settled))
    this.#settling.add(settled)
  }
}
