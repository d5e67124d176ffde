/**
 * Reads vitest's JSON results (first argument) and its exit code (second), names every test that was skipped, and ends
 * with the line `N passed, N failed`. A skipped test, a file that did not load and an error outside any test each count
 * as a failure, and with any failure it exits 1.
 */
import { readFileSync } from 'node:fs'
import { z } from 'zod'

const results = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
})

const [path, exitCode] = process.argv.slice(2)
if (path === undefined || exitCode === undefined) throw new Error('usage: ci-summary.ts RESULTS EXIT-CODE')

let passed = 0
let failed = 0
for (const file of results.parse(JSON.parse(readFileSync(path, 'utf8'))).testResults) {
  const before = failed
  for (const test of file.assertionResults) {
    if (test.status === 'passed') {
      passed++
      continue
    }
    failed++
    if (test.status !== 'failed') console.log(`not run (${test.status}): ${file.name}: ${test.fullName}`)
  }
  if (file.status === 'failed' && failed === before) {
    failed++
    console.log(`failed outside its tests: ${file.name}`)
  }
}
if (failed === 0 && exitCode !== '0') {
  failed++
  console.log(`vitest exited with ${exitCode} although no test failed`)
}
if (failed > 0) process.exitCode = 1
console.log(`${passed} passed, ${failed} failed`)
