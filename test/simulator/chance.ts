import { numbers } from '../../node/disk/test-support/simulated-disk.ts'

/** All that is drawn in a simulation, from its seed alone. */
export class Chance {
  /** A number from 0 up to 1. */
  readonly next: () => number

  constructor(seed: number) {
    this.next = numbers(seed)
  }

  /** A whole number from 0 up to `count`, which is not among them. */
  int(count: number): number {
    return Math.floor(this.next() * count)
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from)
  }

  is(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[this.int(items.length)]
  }

  /** One of the names, each as often as its weight says. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const all = Object.entries(weights) as [Name, number][]
    let left = this.next() * all.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of all) {
      left -= weight
      if (left < 0) return name
    }
    return (all[0] as [Name, number])[0]
  }

  readonly bytes = (length: number): Uint8Array<ArrayBuffer> =>
    Uint8Array.from({ length }, () => Math.floor(this.next() * 256))

  /** Another sequence, so that what one part draws does not move what the others do. */
  apart(): Chance {
    return new Chance(this.int(2 ** 32))
  }
}
