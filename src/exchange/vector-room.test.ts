import { expect, it } from 'vitest'
import { maxServedVectorRows, maxSyncVectorRows } from '../limits.ts'
import { VectorRoom } from './vector-room.ts'

it('holds one agent to the rows of one vector, and all together to their bound, until they are given back', () => {
  let full = 0
  const room = new VectorRoom(() => {
    full += 1
  })
  const first = room.open('a')
  const second = room.open('a')
  first.take(maxSyncVectorRows - 1)
  expect(() => second.take(2)).toThrow('Too many long vectors')
  second.take(1)
  first.release()
  first.release()
  second.take(maxSyncVectorRows - 1)
  expect(() => second.take(1)).toThrow('Too many long vectors')

  const others = Array.from({ length: maxServedVectorRows / maxSyncVectorRows - 1 }, (_, at) => room.open(`b ${at}`))
  for (const other of others) other.take(maxSyncVectorRows)
  const late = room.open('c')
  expect(() => late.take(1)).toThrow('Too many long vectors')
  second.release()
  late.take(1)
  expect(full).toBe(3)
})
