import { expect, test } from 'vitest'
import { maxContentTypeBytes, maxNameBytes } from '../limits.ts'
import { validateContentType, validateName } from './index.ts'

const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
const tooLarge = expect.objectContaining({ code: 'TOO_LARGE' })

test('keeps any other name byte for byte', () => {
  const names = [
    'a',
    '.',
    '..',
    '/',
    'a/../b',
    ' a ',
    'C:\\x',
    'e\u0301',
    '\u00e9',
    '\u202egpj.exe',
    '\ufeff',
    '\u200b',
    '😀',
    '\u0080',
    '\u2028',
    '\uffff',
    '__proto__',
    'x'.repeat(maxNameBytes),
    'é'.repeat(maxNameBytes / 2),
    '😀'.repeat(maxNameBytes / 4),
  ]
  for (const name of names) expect(validateName(name)).toBe(name)
})

test('refuses names that are no strings, empty, too long, ill-formed, or hold control characters', () => {
  for (const name of [undefined, null, 1, {}, ['a'], '', '\ud83d', 'a\udc00b', '\u0000', 'a\n', '\u001f', '\u007f']) {
    expect(() => validateName(name)).toThrow(invalid)
  }
  for (const name of ['x'.repeat(maxNameBytes + 1), 'é'.repeat(maxNameBytes / 2 + 1)]) {
    expect(() => validateName(name)).toThrow(tooLarge)
  }
})

test('takes media types with parameters as they are', () => {
  const types = [
    'text/plain',
    'text/plain; charset=utf-8',
    'text/plain;charset="utf-8"',
    'application/vnd.api+json',
    'IMAGE/SVG+XML',
    'multipart/form-data; boundary="a b\\"c"',
    `a/${'b'.repeat(127)}`,
    'a/b;',
  ]
  for (const type of types) expect(validateContentType(type)).toBe(type)
})

test('refuses what is no media type, quickly whatever it is', () => {
  const wrong = [
    undefined,
    5,
    '',
    'text',
    'text/',
    '/plain',
    'text/plain\r\nx: y',
    'a b/c',
    'a/b; c',
    'a/b; c="',
    'é/b',
  ]
  for (const type of wrong) expect(() => validateContentType(type)).toThrow(invalid)
  expect(() => validateContentType(`a/${'b'.repeat(128)}`)).toThrow(invalid)
  expect(() => validateContentType(`a/b${'; c=d'.repeat(90)}; !@`)).toThrow(invalid)
  expect(() => validateContentType(`a/b; c="${'x'.repeat(maxContentTypeBytes)}"`)).toThrow(tooLarge)
})
