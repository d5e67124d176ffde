import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { toHex } from '../src/encoding/index.ts'
import { maxAddressesOnDisk, maxAgentsOnDisk } from '../src/limits.ts'
import { MemoryKeyValueStore } from '../test/support/memory-key-value.ts'
import { KnownAddresses } from './known-addresses.ts'

/** What a network hears of others and is told of them. */
class Heard {
  /** By agent in hex. */
  readonly told = new Map<string, readonly string[]>()
  #listener: (agent: Uint8Array, addresses: readonly string[]) => void = () => {}

  onLearned(listener: (agent: Uint8Array, addresses: readonly string[]) => void): () => void {
    this.#listener = listener
    return () => {
      this.#listener = () => {}
    }
  }

  addAddresses(agent: Uint8Array, addresses: readonly string[]): void {
    this.told.set(toHex(agent), addresses)
  }

  says(agent: Uint8Array, ...addresses: readonly string[]): void {
    this.#listener(agent, addresses)
  }
}

const agent = (): Uint8Array => new Uint8Array(randomBytes(32))
const known = (one: Uint8Array, heard: Heard) => heard.told.get(toHex(one))

/** What is known after a restart. */
async function afterwards(store: MemoryKeyValueStore): Promise<Heard> {
  const heard = new Heard()
  await KnownAddresses.open({ store, network: heard, now: () => 0, logger: undefined })
  return heard
}

test('past a restart it is known where members and contacts were, also those who became so later, and of strangers nothing', async () => {
  const store = new MemoryKeyValueStore()
  const network = new Heard()
  const [friend, later, stranger] = [agent(), agent(), agent()]
  const ofInterest = new Set([toHex(friend)])
  {
    await using addresses = await KnownAddresses.open({ store, network, now: () => 1, logger: undefined })
    addresses.begin((one) => ofInterest.has(toHex(one)))
    network.says(stranger, '/ip4/192.0.2.1/tcp/1')
    network.says(later, '/ip4/192.0.2.2/tcp/1')
    network.says(friend, '/ip4/192.0.2.3/tcp/1')
    network.says(friend, ...Array.from({ length: 2 * maxAddressesOnDisk }, (_, at) => `/ip4/192.0.2.3/tcp/${at + 1}`))
    ofInterest.add(toHex(later))
  }
  const heard = await afterwards(store)
  expect(known(stranger, heard)).toBeUndefined()
  expect(known(later, heard)).toEqual(['/ip4/192.0.2.2/tcp/1'])
  // The last to be told of are dialled first.
  const kept = Array.from({ length: maxAddressesOnDisk }, (_, at) => `/ip4/192.0.2.3/tcp/${maxAddressesOnDisk - at}`)
  expect(known(friend, heard)).toEqual(kept)
})

test('of more agents than are remembered those go that were not heard of for longest', async () => {
  const store = new MemoryKeyValueStore()
  const network = new Heard()
  const agents = Array.from({ length: maxAgentsOnDisk + 5 }, agent)
  let now = 0
  {
    await using addresses = await KnownAddresses.open({ store, network, now: () => ++now, logger: undefined })
    addresses.begin(() => true)
    for (const one of agents) network.says(one, '/ip4/192.0.2.1/tcp/1')
  }
  const heard = await afterwards(store)
  expect(heard.told.size).toBe(maxAgentsOnDisk)
  expect(agents.filter((one) => known(one, heard) === undefined)).toEqual(agents.slice(0, 5))
})
