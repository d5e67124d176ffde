import type { Scheduler } from '../../src/exchange/index.ts'

interface Event {
  readonly at: number
  readonly order: number
  work: (() => void) | undefined
}

/**
 * Time that passes only when nothing is left to do at the present moment. Events run one by one, each with all that follows from
 * it at once, so that a run is the same every time.
 */
export class VirtualTime implements Scheduler {
  #now = 1_790_000_000_000
  #order = 0
  /** A binary heap by time, then by order of setting. */
  readonly #heap: Event[] = []
  /** Events that ran. */
  events = 0

  now(): number {
    return this.#now
  }

  setTimer(delayMs: number, work: () => void): () => void {
    const event: Event = { at: this.#now + Math.max(0, delayMs), order: this.#order++, work }
    this.#push(event)
    return () => {
      event.work = undefined
    }
  }

  /** Resolves after that much of this time. */
  async sleep(delayMs: number): Promise<void> {
    await new Promise<void>((resolve) => this.setTimer(delayMs, resolve))
  }

  /** Lets that much time pass, or less: until `isDone` says so, which is asked after each event. */
  async pass(durationMs: number, isDone: () => boolean = () => false): Promise<void> {
    const end = this.#now + durationMs
    await settled()
    while (!isDone()) {
      const next = this.#heap[0]
      if (next === undefined || next.at > end) break
      this.#pop()
      if (next.work === undefined) continue
      this.#now = next.at
      this.events += 1
      next.work()
      await settled()
    }
    if (!isDone()) this.#now = end
  }

  /** Lets time pass until a piece of work is through, a minute at most. @throws what it throws */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const finish = () => {
      isDone = true
    }
    work.then(finish, finish)
    await this.pass(60_000, () => isDone)
    if (!isDone) throw new Error('something takes longer than a minute')
    return await work
  }

  #push(event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent] as Event, event)) break
      heap[at] = heap[parent] as Event
      at = parent
    }
    heap[at] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Event
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child += 1
      if (isBefore(last, heap[child] as Event)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
  }
}

function isBefore(one: Event, two: Event): boolean {
  return one.at < two.at || (one.at === two.at && one.order < two.order)
}

/** Resolves when every promise that could go on has. Nothing simulated waits for anything real, so one turn is enough. */
async function settled(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
}
