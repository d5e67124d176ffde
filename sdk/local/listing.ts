import type { Listing, Page } from '../client.ts'

/**
 * A list that asks for nothing, and fails with nothing, until it is awaited (one page) or iterated (page after page).
 *
 * @param page given the cursor of the page before, none for the first
 */
export function createListing<T>(page: (next: string | undefined) => Promise<Page<T>>): Listing<T> {
  let first: Promise<Page<T>> | undefined
  return {
    // biome-ignore lint/suspicious/noThenProperty: being awaitable is what it is for
    then(onFulfilled, onRejected) {
      first ??= page(undefined)
      return first.then(onFulfilled, onRejected)
    },
    async *[Symbol.asyncIterator]() {
      let next: string | undefined
      do {
        const { items, nextCursor } = await page(next)
        yield* items
        next = nextCursor
      } while (next !== undefined)
    },
  }
}
