import { expect, test } from 'vitest'
import { toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { ToldEntries } from './told-entries.ts'

const grant = new Uint8Array(32).fill(1)
const hidden = ['aa', 'bb', 'cc']

/** An entry with that number in a chain of which what stands from `below` up is not shown. */
function entryAt(seq: number, author = 2): Entry {
  const header = { author: new Uint8Array(32).fill(author), grant, incarnation: new Uint8Array(16), seq }
  return { hash: new Uint8Array(32).fill(seq), header } as unknown as Entry
}

function by({ below = 100, keysGained = 0, under = grant } = {}) {
  const shown = { below, awaited: -1, settledUpTo: -1, era: undefined, hidden: undefined, ends: [], has: () => false }
  return { membership: { shownOf: () => shown }, keysGained, grant: under }
}

function looked(max?: number): ToldEntries {
  const told = new ToldEntries(max)
  expect(told.left(hidden, by())).toEqual(hidden)
  for (const [at, hash] of hidden.entries()) told.note(hash, [entryAt(at), entryAt(at), entryAt(at + 10)], undefined)
  return told
}

test('an entry is looked at again only when others are told no more of what says the same', () => {
  const told = looked()
  expect(told.left(hidden, by())).toEqual([])
  expect(told.left(hidden, by({ below: 12, keysGained: 1 }))).toEqual(['cc'])
  told.note('cc', [], undefined)
  expect(told.left(hidden, by({ below: 12 }))).toEqual([])
})

test('it is forgotten once others are told of it', () => {
  const told = looked()
  expect(told.left(['aa', 'cc'], by())).toEqual([])
  expect(told.left(hidden, by())).toEqual(['bb'])
})

test('all are looked at again under another grant, and then under the first', () => {
  const told = looked()
  const under = new Uint8Array(32).fill(9)
  expect(told.left(hidden, by({ under }))).toEqual(hidden)
  expect(told.left(hidden, by())).toEqual(hidden)
})

test('one that could not be read is looked at again once keys have come', () => {
  const told = looked()
  told.left(['bb'], by())
  told.left(hidden, by())
  told.note('aa', [], 0)
  told.note('cc', [], undefined)
  expect(told.left(hidden, by())).toEqual([])
  expect(told.left(hidden, by({ keysGained: 1 }))).toEqual(['aa'])
})

test('so many are kept in mind, with what tells of them, and the others are looked at each time', () => {
  const told = looked(7)
  expect(told.left(hidden, by())).toEqual(['cc'])
  told.note('cc', [], undefined)
  expect(told.left(hidden, by())).toEqual([])
  expect(
    told.left(
      hidden.map((hash) => hash + toHex(grant)),
      by(),
    ),
  ).toHaveLength(3)
})
