/** Packs the package as it would be published and has publint look at the tarball. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { packCopy } from './pack-copy.ts'

const directory = mkdtempSync(join(tmpdir(), 'artifact-hub-publint-'))
try {
  const { tarball } = packCopy(directory)
  const bytes = readFileSync(tarball)
  const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(bytes).buffer }, strict: true })
  for (const message of messages) console.error(`publint: ${formatMessage(message, pkg)}`)
  if (messages.length > 0) process.exitCode = 1
} finally {
  rmSync(directory, { recursive: true, force: true })
}
