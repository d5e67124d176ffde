import { readFile } from 'node:fs/promises'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { ArtifactHubNode, StartNodeOptions } from '../node-types.ts'
import { askPassphrase, canAsk } from './prompt.ts'

/** Names a file whose first line is the passphrase of `identity.key`. An argument would show in the list of processes. */
const passphraseFileVariable = 'ARTIFACT_HUB_PASSPHRASE_FILE'

/** A started node, and the passphrase that opened it, so that nobody is asked for it again. */
export interface OpenedNode {
  readonly node: ArtifactHubNode
  readonly passphrase: string | undefined
}

/**
 * Starts the node of a data directory. Without a passphrase in the options it comes from the file that the environment names;
 * without one, and only if the identity asks for it, from the terminal.
 * @throws NOT_FOUND (the passphrase file), and what `startNode` throws
 */
export async function openNode(options: StartNodeOptions & { signal: AbortSignal }): Promise<OpenedNode> {
  // Everything heavy hangs off this import; `--help` and usage errors never pay for it.
  const { startNode } = await import('../index.ts')
  const given = options.passphrase ?? (await passphraseFromFile())
  try {
    return { node: await startNode({ ...options, passphrase: given }), passphrase: given }
  } catch (error) {
    if (!isHubError(error, 'ACCESS_DENIED') || given !== undefined || !canAsk()) throw error
  }
  const passphrase = await askPassphrase(`Passphrase of ${options.dataDir}: `, options.signal)
  return { node: await startNode({ ...options, passphrase }), passphrase }
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
