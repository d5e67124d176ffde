import { OpenCount } from '../../src/exchange/open-count.ts'
import { maxSilentConnections, maxSilentConnectionsPerHost } from '../../src/limits.ts'

/** Connections of one listener that are to say yet what they are: so many of one address, and in all. */
export class SilentPlaces {
  readonly #taken = new OpenCount()

  /** Gives what gives the place back, to be called once or more; `undefined` when there is none. */
  take(host: string): (() => void) | undefined {
    const isFull = this.#taken.total >= maxSilentConnections || this.#taken.of(host) >= maxSilentConnectionsPerHost
    return isFull ? undefined : this.#taken.add(host)
  }
}
