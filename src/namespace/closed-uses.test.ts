import { expect, test } from 'vitest'
import type { Entry } from '../log/index.ts'
import { ClosedUses } from './closed-uses.ts'

/** As much of an entry as a use is made of. */
function use(grant: number, seq: number): Entry {
  const header = {
    author: new Uint8Array(32),
    grant: new Uint8Array(32).fill(grant),
    incarnation: new Uint8Array(16),
    seq,
  }
  return { header, hash: Uint8Array.of(grant, seq) } as unknown as Entry
}

const named = (uses: ClosedUses<number>): string[] => [...uses.all()].map(({ name }) => name)

test('of each chain the first and the last entry are kept', () => {
  const uses = new ClosedUses<number>(4)
  for (const seq of [5, 3, 4, 9, 7]) uses.take('one', 1, false, use(1, seq))
  uses.take('one', 1, false, use(2, 6))
  expect([...uses.all()].map(({ hashes }) => hashes)).toEqual([
    [
      [1, 3],
      [1, 9],
      [2, 6],
      [2, 6],
    ].map((hash) => Uint8Array.from(hash)),
  ])
})

test('one grant has so many kept in mind and no more, whatever others have; what is done gives way', () => {
  const uses = new ClosedUses<number>(2)
  for (const name of ['a', 'b', 'c']) uses.take(name, 0, false, use(1, 0))
  uses.take('d', 0, false, use(2, 0))
  expect(named(uses)).toEqual(['a', 'b', 'd'])
  expect(uses.isToBeMadeAnew).toBe(false)
  uses.setDone('a', true)
  expect(uses.isToBeMadeAnew).toBe(true)
  uses.take('c', 0, false, use(1, 0))
  expect(named(uses)).toEqual(['b', 'd', 'c'])
  uses.clear()
  expect([named(uses), uses.isToBeMadeAnew]).toEqual([[], false])
})

test('what is taken out makes room for what there was none for', () => {
  const uses = new ClosedUses<number>(1)
  uses.take('done', 0, false, use(1, 0))
  // Nothing is owed of what is left out.
  uses.take('given', 0, true, use(1, 1))
  uses.delete('done')
  expect(uses.isToBeMadeAnew).toBe(false)
  uses.take('one', 0, false, use(1, 0))
  uses.take('other', 0, false, use(1, 1))
  uses.delete('one')
  expect(uses.isToBeMadeAnew).toBe(true)
})
