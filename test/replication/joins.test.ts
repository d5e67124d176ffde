import { expect, test } from 'vitest'
import { parseTicket } from '../../src/identity/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { LocalAgents } from './agents.ts'
import { eventually } from './nodes.ts'

const hours = 10 * 3_600_000

test('a join that waits ends when its caller gives up, however long it is until the next try, and may begin again', async () => {
  await using agents = new LocalAgents()
  const owner = await agents.start()
  const other = await agents.start()
  const { name } = await owner.client.namespace.create({ name: 'shared' })
  const text = await owner.client.namespace.ticket({ namespace: name })
  const waiting = { isWaiting: true, retryMs: { from: hours, to: hours } }
  const stop = new AbortController()
  const joining = expect(
    other.replication.join(parseTicket(text), { ...waiting, signal: stop.signal }),
  ).rejects.toThrow('enough')
  await eventually(() => expect(other.isWaiting({ from: hours / 3, to: hours })).toBe(true))
  await failureOf(other.client.namespace.join({ ticket: text }), 'CONFLICT')
  stop.abort(new Error('enough'))
  await joining
  const again = other.replication.join(parseTicket(text), waiting)
  await owner.client.namespace.grant({ namespace: name, agent: other.client.did, role: 'reader' })
  expect((await again).log.roleOf(other.id)).toBe('reader')
})
