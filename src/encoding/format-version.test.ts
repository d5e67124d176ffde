import { expect, test } from 'vitest'
import { requireFormatVersion } from './format-version.ts'

test('takes the one version that is known', () => {
  requireFormatVersion(1, 1, 'this')
})

test.each([
  [2, 'UNSUPPORTED_FORMAT', /^this was made by a newer release/],
  [Number.MAX_SAFE_INTEGER, 'UNSUPPORTED_FORMAT', /newer release/],
  [0, 'UNSUPPORTED_FORMAT', /before the formats were settled/],
  [-1, 'CORRUPT', /does not name/],
  [1.5, 'CORRUPT', /does not name/],
  ['1', 'CORRUPT', /does not name/],
  [null, 'CORRUPT', /does not name/],
  [undefined, 'CORRUPT', /does not name/],
])('refuses %s', (version, code, message) => {
  expect(() => requireFormatVersion(version, 1, 'this')).toThrow(
    expect.objectContaining({ code, message: expect.stringMatching(message) }),
  )
})
