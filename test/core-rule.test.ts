import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { coreRuleViolations } from './core-rule.ts'

test('the core has no sockets, files, clock or randomness of its own', () => {
  expect(coreRuleViolations(join(import.meta.dirname, '..'))).toEqual([])
})

const tree = mkdtempSync(join(tmpdir(), 'artifact-hub-core-'))
for (const folder of ['src', 'sdk', 'node', 'test', 'scripts']) mkdirSync(join(tree, folder))
afterAll(() => rmSync(tree, { recursive: true }))

function violationsOf(text: string): string[] {
  writeFileSync(join(tree, 'src/a.ts'), text)
  return coreRuleViolations(tree)
}

test.each([
  ["import { open } from 'node:fs/promises'", 'imports node:fs/promises'],
  ["import type { Socket } from 'node:net'", 'imports node:net'],
  ["export { Level } from 'level'", 'imports level'],
  ["import { randomBytes } from 'node:crypto'", 'uses randomBytes'],
  ["import { randomUUID as id } from 'node:crypto'", 'uses randomUUID'],
  ["import { generateKeyPairSync } from 'node:crypto'", 'uses generateKeyPairSync'],
  ["import nacl from 'tweetnacl'\nnacl.box.keyPair()", 'uses keyPair'],
  ["import * as c from 'node:crypto'\nc.randomFillSync(new Uint8Array(1))", 'uses randomFillSync'],
  ['export const n = Math.random()', 'uses Math.random'],
  ['export const now = Date.now()', 'uses Date.now'],
  ['export const now = new Date()', 'uses new Date()'],
  ['export const now = Date()', 'uses Date'],
  ['export const now = performance.now()', 'uses performance'],
  ['setTimeout(() => {}, 1)', 'uses setTimeout'],
  ['export const home = process.env.HOME', 'uses process'],
  ["export const page = fetch('/')", 'uses fetch'],
  ["export const worker = new Worker('a')", 'uses Worker'],
])('%s is refused', (text, violation) => {
  expect(violationsOf(text)).toContain(`src/a.ts ${violation}`)
})

test.each([
  "import { createHash } from 'node:crypto'",
  "import { CID } from 'multiformats/cid'",
  'export const then = (ms: number) => new Date(ms)',
  'export const draw = (ports: { random(bytes: number): Uint8Array }) => ports.random(16)',
  'export const draw = (random: (bytes: number) => Uint8Array) => random(16)',
  "import nacl from 'tweetnacl'\nexport const pair = nacl.box.keyPair.fromSecretKey(new Uint8Array(32))",
])('%s is accepted', (text) => {
  expect(violationsOf(text)).toEqual([])
})
