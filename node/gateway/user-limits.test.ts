import { expect, test } from 'vitest'
import { clientName, UserLimits } from './user-limits.ts'

const never = new AbortController().signal

test('requests at once are bounded for each user by itself', () => {
  const limits = new UserLimits({ concurrent: 2, requestsPerSecond: 100, bytesPerSecond: 100 }, () => 0)
  const first = limits.admit('a')
  limits.admit('a')
  expect(() => limits.admit('a')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }))
  limits.admit('b')
  first[Symbol.dispose]()
  limits.admit('a')
  expect(() => limits.admit('a')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }))
})

test('requests in a second are bounded, and come back with time', () => {
  let nowMs = 0
  const limits = new UserLimits({ concurrent: 100, requestsPerSecond: 4, bytesPerSecond: 100 }, () => nowMs)
  for (let count = 0; count < 4; count++) limits.admit('a')
  expect(() => limits.admit('a')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }))
  nowMs = 250
  limits.admit('a')
  expect(() => limits.admit('a')).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }))
})

test('bytes wait for their time', async () => {
  let nowMs = 0
  const limits = new UserLimits({ concurrent: 1, requestsPerSecond: 1, bytesPerSecond: 1_000 }, () => nowMs)
  const admission = limits.admit('a')
  expect(admission.pace(1_000, never)).toBeUndefined()
  const wait = admission.pace(20, never)
  expect(wait).toBeInstanceOf(Promise)
  await wait
  nowMs = 1_020
  expect(admission.pace(1_000, never)).toBeUndefined()
})

test('a wait ends with its request', async () => {
  const limits = new UserLimits({ concurrent: 1, requestsPerSecond: 1, bytesPerSecond: 1 }, () => 0)
  const stop = new AbortController()
  const wait = limits.admit('a').pace(3_600, stop.signal)
  stop.abort()
  await expect(wait).rejects.toMatchObject({ name: 'AbortError' })
})

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:0DB8:0001::1', '2001:db8:1:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('the client at %s', (address, name) => {
  expect(clientName(address)).toBe(name)
})
