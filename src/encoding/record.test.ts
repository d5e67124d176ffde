import { expect, it } from 'vitest'
import { record } from './record.ts'

it('has the fields in an object of its own: the literal itself is what V8 would make among old objects', () => {
  const fields = { keyId: new Uint8Array(2), label: undefined }
  const made = record(fields)
  expect(made).toStrictEqual(fields)
  expect(made).not.toBe(fields)
  expect(made.keyId).toBe(fields.keyId)
})
