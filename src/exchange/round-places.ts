import { ArtifactHubError } from '../errors.ts'
import { syncRoundTurnMs, syncRoundWaitMs } from '../limits.ts'
import type { Scheduler } from './scheduler.ts'
import { Turns } from './turns.ts'

/** A round that has a place. */
interface Holder {
  readonly giveWay: AbortController
  isLong: boolean
}

/**
 * Lets so many rounds run at once, first come, first served. Members that take and give little at a time may make theirs as long as they like: one that has had its
 * place for `syncRoundTurnMs` gives it to one that has waited for `syncRoundWaitMs`, and is begun again once it is its turn: what it had committed stays.
 */
export class RoundPlaces {
  readonly #scheduler: Scheduler
  readonly #turns: Turns
  /** Longest first. */
  readonly #holders = new Set<Holder>()
  /** How many have waited for too long. */
  #overdue = 0

  constructor(scheduler: Scheduler, places: number) {
    this.#scheduler = scheduler
    this.#turns = new Turns(places)
  }

  /**
   * Runs a round when there is a place.
   * @param work begun anew whenever it had to give way, by its signal
   * @param next where it needs a place as well: while it waits there it has not had its place here
   * @throws what `work` throws; the signal's reason
   */
  async run<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>, next?: RoundPlaces): Promise<T> {
    for (;;) {
      const holder: Holder = { giveWay: new AbortController(), isLong: false }
      const arrived = this.#wait()
      try {
        return await this.#turns.run(signal, () => {
          arrived()
          return this.#hold(holder, signal, work, next)
        })
      } catch (error) {
        if (signal.aborted || !holder.giveWay.signal.aborted) throw error
      } finally {
        arrived()
      }
    }
  }

  /** @returns what ends the wait, to be called once or more */
  #wait(): () => void {
    let isOverdue = false
    const stop = this.#scheduler.setTimer(syncRoundWaitMs, () => {
      isOverdue = true
      this.#overdue += 1
      this.#makeRoom()
    })
    return () => {
      stop()
      if (isOverdue) this.#overdue -= 1
      isOverdue = false
    }
  }

  async #hold<T>(
    holder: Holder,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    next: RoundPlaces | undefined,
  ): Promise<T> {
    this.#holders.add(holder)
    const timely = AbortSignal.any([signal, holder.giveWay.signal])
    const timed = (inner: AbortSignal): Promise<T> => this.#time(holder, inner, work)
    try {
      return await (next === undefined ? timed(timely) : next.run(timely, timed))
    } finally {
      this.#holders.delete(holder)
    }
  }

  async #time<T>(holder: Holder, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = this.#scheduler.setTimer(syncRoundTurnMs, () => {
      holder.isLong = true
      this.#makeRoom()
    })
    try {
      return await work(signal)
    } finally {
      stop()
      holder.isLong = false
    }
  }

  #makeRoom(): void {
    const holders = [...this.#holders]
    const leaving = holders.filter(({ giveWay }) => giveWay.signal.aborted).length
    const long = holders.filter(({ giveWay, isLong }) => isLong && !giveWay.signal.aborted)
    for (const { giveWay } of long.slice(0, Math.max(0, this.#overdue - leaving)))
      giveWay.abort(new ArtifactHubError('UNAVAILABLE', 'others wait for a round', { details: { reason: 'busy' } }))
  }
}
