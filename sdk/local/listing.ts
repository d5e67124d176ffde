import type { Listing, Page } from '../client.ts'

/** A list that asks for nothing until it is awaited (one page) or iterated (page after page). */
export function createListing<T>(firstCursor: string | undefined, page: (cursor: string | undefined) => Promise<Page<T>>): Listing<T> {
  let first: Promise<Page<T>> | undefined
  return {
    // biome-ignore lint/suspicious/noThenProperty: being awaitable is what it is for
    then(onFulfilled, onRejected) {
      first ??= page(firstCursor)
      return first.then(onFulfilled, onRejected)
    },
    async *[Symbol.asyncIterator]() {
      let cursor = firstCursor
      do {
        const { items, nextCursor } = await page(cursor)
        yield* items
        cursor = nextCursor
      } while (cursor !== undefined)
    },
  }
}
