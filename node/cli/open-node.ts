import { readFile } from 'node:fs/promises'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { ArtifactHubNode } from '../node-types.ts'
import { askPassphrase, canAsk } from './prompt.ts'

/** Names a file whose first line is the passphrase of `identity.key`. An argument would show in the list of processes. */
const passphraseFileVariable = 'ARTIFACT_HUB_PASSPHRASE_FILE'

/**
 * Starts the node of a data directory. The passphrase comes from the file that the environment names; without one, and only if
 * the identity asks for it, from the terminal.
 * @throws NOT_FOUND (the passphrase file), and what `startNode` throws
 */
export async function openNode(dataDir: string, signal: AbortSignal): Promise<ArtifactHubNode> {
  // Everything heavy hangs off this import; `--help` and usage errors never pay for it.
  const { startNode } = await import('../index.ts')
  const passphrase = await passphraseFromFile()
  try {
    return await startNode({ dataDir, passphrase, signal })
  } catch (error) {
    if (!isHubError(error, 'ACCESS_DENIED') || passphrase !== undefined || !canAsk()) throw error
  }
  return await startNode({ dataDir, passphrase: await askPassphrase(`Passphrase of ${dataDir}: `, signal), signal })
}

async function passphraseFromFile(): Promise<string | undefined> {
  const path = process.env[passphraseFileVariable]
  if (!path) return undefined
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ArtifactHubError('NOT_FOUND', `cannot read the file that ${passphraseFileVariable} names: ${path}`, {
      details: { path },
      cause,
    })
  }
  const passphrase = text.split(/\r?\n/, 1)[0]
  if (!passphrase) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `the first line of ${path} is empty; put the passphrase there`, {
      details: { path },
    })
  }
  return passphrase
}
