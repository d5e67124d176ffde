import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { describeFormats, fixtureUrl } from './format.test-helper.ts'

test('the bytes of every content format are the frozen ones', async () => {
  expect(await describeFormats()).toEqual(JSON.parse(await readFile(fixtureUrl, 'utf8')))
})
