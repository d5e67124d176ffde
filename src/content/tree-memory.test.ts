import { expect, test } from 'vitest'
import { TreeMemory } from './tree-memory.ts'
import type { Subtree } from './tree-walk.ts'

const subtree = (first: number): Subtree => ({
  digest: new Uint8Array(32).fill(first),
  codec: 0x70,
  level: 1,
  leaves: 2,
  leafBytes: 1_000_056,
  dagBytes: Number.NaN,
  firstLeaf: 0,
  offset: 0,
})

test('a node is known only as its parent described it when it was verified', () => {
  const memory = new TreeMemory(8)
  const node = { blockBytes: 100, children: [] }
  memory.add(subtree(1), node)
  expect(memory.get(subtree(1))).toBe(node)
  for (const other of [{ leaves: 3 }, { leafBytes: 1 }, { level: 2 }, { offset: 5 }, { firstLeaf: 1 }, { dagBytes: 7 }])
    expect(memory.get({ ...subtree(1), ...other }), JSON.stringify(other)).toBeUndefined()
})

test('what was not asked for the longest is forgotten first', () => {
  const memory = new TreeMemory(2)
  const node = { blockBytes: 100, children: [] }
  memory.add(subtree(1), node)
  memory.add(subtree(2), node)
  memory.get(subtree(1))
  memory.add(subtree(3), node)
  expect([1, 2, 3].map((name) => memory.get(subtree(name)) !== undefined)).toEqual([true, false, true])
})
