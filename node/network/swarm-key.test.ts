import { expect, test } from 'vitest'
import { formatSwarmKey, parseSwarmKey } from './swarm-key.ts'

const key = Uint8Array.from({ length: 32 }, (_, at) => at)
const text = '/key/swarm/psk/1.0.0/\n/base16/\n000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n'

test('a network key is written as a swarm.key file, and read from one', () => {
  expect(formatSwarmKey(key)).toBe(text)
  expect(parseSwarmKey(text)).toEqual(key)
  expect(
    parseSwarmKey(
      text
        .replaceAll('\n', '\r\n')
        .toUpperCase()
        .replace('/KEY/SWARM/PSK', '/key/swarm/psk')
        .replace('/BASE16/', '/base16/'),
    ),
  ).toEqual(key)
})

test.each([
  ['nothing', ''],
  ['another version', text.replace('1.0.0', '2.0.0')],
  ['another base', text.replace('base16', 'base64')],
  ['a short key', text.replace('0001', '')],
  ['a long key', text.replace('0001', '000001')],
  ['no hex', text.replace('0001', 'xx01')],
])('refuses %s', (_, wrong) => {
  expect(() => parseSwarmKey(wrong)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})

test('refuses to write a key of another length', () => {
  expect(() => formatSwarmKey(key.subarray(1))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})
