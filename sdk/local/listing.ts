import type { Listing, Page } from '../client.ts'

/**
 * A list that asks for nothing until it is awaited (one page) or iterated (page after page).
 *
 * @param page gives the page after that cursor; the first one for `undefined`
 */
export function createListing<T>(page: (cursor: string | undefined) => Promise<Page<T>>): Listing<T> {
  let first: Promise<Page<T>> | undefined
  return {
    // biome-ignore lint/suspicious/noThenProperty: being awaitable is what it is for
    then(onFulfilled, onRejected) {
      first ??= page(undefined)
      return first.then(onFulfilled, onRejected)
    },
    async *[Symbol.asyncIterator]() {
      let cursor: string | undefined
      do {
        const { items, nextCursor } = await page(cursor)
        yield* items
        cursor = nextCursor
      } while (cursor !== undefined)
    },
  }
}
