import { expect, test } from 'vitest'
import { History, type TestEntry } from '../membership/history.test-helper.ts'
import { type AuthEntry, Membership } from '../membership/index.ts'
import { MembershipGrowth } from './membership-growth.ts'

test('an adopted entry counts when it is stored together with its adopt, whichever comes first', () => {
  const history = new History()
  const agent = new Uint8Array(32).fill(7)
  const grant = history.grant(agent, 'writer')
  const [put] = history.puts(1, { author: agent, under: grant }) as [TestEntry]
  const revoke = history.revoke([grant], [])
  const adopt = history.adopt(put)
  const start = Membership.of(history.genesis as AuthEntry).with({ auth: [grant, revoke] as AuthEntry[] })
  expect(start.counts(put)).toBe(false)
  const growth = new MembershipGrowth(start)
  growth.addAuth(adopt as AuthEntry)
  growth.addLinkIfNeeded(put)
  expect(growth.membership.counts(put)).toBe(true)
})
