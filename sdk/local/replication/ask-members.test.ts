import { expect, test } from 'vitest'
import { AgentKey, formatDid } from '../../../src/identity/index.ts'
import { maxHoldersAsked, statusTimeoutMs } from '../../../src/limits.ts'
import { ManualScheduler } from '../../../test/support/memory-network.ts'
import { askMembers } from './ask-members.ts'

const memberOf = (number: number): Uint8Array => new AgentKey(new Uint8Array(32).fill(number)).publicKey
const question = { namespace: new Uint8Array(32), artifact: new Uint8Array(20), root: new Uint8Array(32), waitMs: 0 }

/** Asks members of whom only some ever answer. */
function asking(
  members: readonly Uint8Array[],
  reachable: readonly Uint8Array[],
  signal = new AbortController().signal,
) {
  const scheduler = new ManualScheduler()
  const holdings = {
    ask: async (member: Uint8Array, _: unknown, until: AbortSignal) => {
      if (reachable.includes(member)) return 'all' as const
      return await new Promise<never>((_, reject) => {
        if (until.aborted) reject(until.reason)
        until.addEventListener('abort', () => reject(until.reason), { once: true })
      })
    },
  }
  const questionsTo = () => new Map([['root', question]])
  return { scheduler, answer: askMembers({ holdings, scheduler, members, questionsTo, signal }) }
}

test('members of whom hundreds are never reached are asked for a bounded time, and each is told for what it is', async () => {
  const members = Array.from({ length: 250 }, (_, at) => memberOf(at + 1))
  const reachable = members.slice(0, 3)
  const { scheduler, answer } = asking(members, reachable)
  const began = scheduler.now()
  const { answers, unreachable, notAsked } = await scheduler.until(answer)
  expect(scheduler.now() - began).toBeLessThanOrEqual(statusTimeoutMs + 1_000)
  expect([...answers]).toEqual(reachable.map((member) => [formatDid(member), new Map([['root', 'all']])]))
  const asked = members.slice(3, 3 + maxHoldersAsked)
  expect(unreachable).toEqual(asked.map(formatDid).sort())
  expect(notAsked).toEqual(
    members
      .slice(3 + maxHoldersAsked)
      .map(formatDid)
      .sort(),
  )
  expect(scheduler.pending).toBe(0)
})

test('whoever asks may give up before', async () => {
  const stop = new AbortController()
  const { scheduler, answer } = asking([memberOf(1)], [], stop.signal)
  const failed = expect(answer).rejects.toThrow('enough')
  stop.abort(new Error('enough'))
  await failed
  expect(scheduler.pending).toBe(0)
})
