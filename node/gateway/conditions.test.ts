import { expect, test } from 'vitest'
import { conditionOf, rangeCounts } from './conditions.ts'

const etag = '"bafy"'

test.each([
  [{}, 'send'],
  [{ 'if-none-match': '"bafy"' }, 'not-modified'],
  [{ 'if-none-match': 'W/"bafy"' }, 'not-modified'],
  [{ 'if-none-match': '"other", "bafy"' }, 'not-modified'],
  [{ 'if-none-match': '"other",W/"bafy" ' }, 'not-modified'],
  [{ 'if-none-match': ' * ' }, 'not-modified'],
  [{ 'if-none-match': '"other"' }, 'send'],
  [{ 'if-none-match': 'bafy' }, 'send'],
  [{ 'if-match': '"bafy"' }, 'send'],
  [{ 'if-match': '*' }, 'send'],
  [{ 'if-match': '"other", "bafy"' }, 'send'],
  // Weak tags never match strongly.
  [{ 'if-match': 'W/"bafy"' }, 'failed'],
  [{ 'if-match': '"other"' }, 'failed'],
  [{ 'if-match': '"other"', 'if-none-match': '"bafy"' }, 'failed'],
  [{ 'if-match': '"bafy"', 'if-none-match': '"bafy"' }, 'not-modified'],
])('%j', (headers, condition) => {
  expect(conditionOf(headers, etag)).toBe(condition)
})

test('a range counts only for the content that If-Range names strongly', () => {
  expect(rangeCounts({}, etag)).toBe(true)
  expect(rangeCounts({ 'if-range': '"bafy"' }, etag)).toBe(true)
  for (const other of ['W/"bafy"', '"other"', 'bafy', '*', 'Sat, 29 Oct 1994 19:43:31 GMT', '']) {
    expect(rangeCounts({ 'if-range': other }, etag), other).toBe(false)
  }
})
