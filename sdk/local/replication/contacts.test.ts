import { afterEach, expect, test, vi } from 'vitest'
import { MemoryKeyValueStore } from '../../../test/support/memory-key-value.ts'
import { Contacts } from './contacts.ts'

afterEach(() => vi.restoreAllMocks())

const network = { addAddresses: () => {} }
const idOf = (at: number): Uint8Array => new Uint8Array(32).fill(at >> 8, 0, 1).fill(at & 0xff, 1, 2)

test('an agent and a group are called by the first of their names, as long as they have it', async () => {
  const store = new MemoryKeyValueStore()
  const contacts = await Contacts.open(store, network)
  const [agent, group] = [idOf(1), idOf(2)]
  for (const name of ['b', 'a', 'c']) await contacts.add(name, { agent, addresses: [] })
  for (const name of ['team-b', 'team-a']) await contacts.addGroup(name, group, [])
  await contacts.add('other', { agent: idOf(3), addresses: [] })
  for (const one of [contacts, await Contacts.open(store, network)]) {
    expect(one.nameOf(agent)).toBe('a')
    expect(one.groupOf(group)?.name).toBe('team-a')
    expect([one.nameOf(group), one.nameOf(idOf(4)), one.groupOf(agent)]).toEqual([undefined, undefined, undefined])
  }
  for (const name of ['a', 'b', 'team-a']) await contacts.remove(name)
  expect(contacts.nameOf(agent)).toBe('c')
  expect(contacts.groupOf(group)?.name).toBe('team-b')
  for (const name of ['c', 'team-b']) await contacts.remove(name)
  expect([contacts.nameOf(agent), contacts.groupOf(group)]).toEqual([undefined, undefined])
})

test('who shows thousands of shares does not go through all contacts for each', async () => {
  const contacts = await Contacts.open(new MemoryKeyValueStore(), network)
  const count = 300
  for (let at = 0; at < count; at += 1) {
    await contacts.add(`agent ${at}`, { agent: idOf(at), addresses: [] })
    await contacts.addGroup(`group ${at}`, idOf(at), [])
  }
  const comparing = vi.spyOn(Buffer, 'compare')
  const sorting = vi.spyOn(Array.prototype, 'sort')
  for (let at = 0; at < count; at += 1) {
    expect(contacts.nameOf(idOf(at))).toBe(`agent ${at}`)
    expect(contacts.groupOf(idOf(at))?.name).toBe(`group ${at}`)
  }
  const sorted = sorting.mock.contexts.reduce((sum: number, one) => sum + (one as unknown[]).length, 0)
  expect(comparing.mock.calls.length + sorted).toBeLessThan(10 * count)
})
