import type { LookupFunction } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { dialConnectMs, maxNameLookups } from '../../src/limits.ts'
import { boundedLookup } from './name-lookups.ts'
import { Nodes } from './test-support/nodes.ts'

afterEach(() => {
  vi.useRealTimers()
})

/** Answers when the test does. */
function slowNames() {
  const begun = new Map<string, () => void>()
  const lookUp = boundedLookup((name, _, answer) => {
    begun.set(name, () => answer(null, '192.0.2.1', 4))
  })
  const ask = (name: string): Promise<string> =>
    new Promise((resolve) => {
      const answer: Parameters<LookupFunction>[2] = (error, address) => resolve(error?.message ?? String(address))
      lookUp(name, {}, answer)
    })
  return { begun, ask }
}

const names = Array.from({ length: maxNameLookups }, (_, at) => `slow-${at}`)
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

test('so many names are looked up at a time, the others in their turn', async () => {
  const { begun, ask } = slowNames()
  const asked = [...names, 'last'].map(ask)
  await turn()
  expect([...begun.keys()]).toEqual(names)
  begun.get('slow-0')?.()
  expect(await asked[0]).toBe('192.0.2.1')
  await turn()
  begun.get('last')?.()
  expect(await asked.at(-1)).toBe('192.0.2.1')
})

test('a name that waits for too long is not looked up', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate'] })
  const { begun, ask } = slowNames()
  names.forEach(ask)
  const last = ask('last')
  await vi.advanceTimersByTimeAsync(dialConnectMs + 1)
  expect(await last).toBe('last was not looked up: others are')
  expect([...begun.keys()]).toEqual(names)
})

test.each([[''], ['/ws']])('an agent is reached by its name, over TCP%s', async (over) => {
  await using nodes = new Nodes()
  const a = await nodes.start({ listen: [] })
  const b = await nodes.start({ listen: [`/ip4/127.0.0.1/tcp/0${over}`] })
  a.network.addAddresses(
    b.agent,
    b.network.addresses().map((address) => address.replace('/ip4/127.0.0.1/', '/dns4/localhost/')),
  )
  expect(await a.network.ping(b.agent)).toBeGreaterThanOrEqual(0)
})
