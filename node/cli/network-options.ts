import { readFile } from 'node:fs/promises'
import { ArtifactHubError } from '../../src/errors.ts'
import type { NetworkMode } from '../network/index.ts'
import type { StartNodeOptions } from '../node-types.ts'

/** The choices of `--network`. */
export const networkModes = ['offline', 'lan', 'private', 'public'] as const satisfies readonly NetworkMode[]

/** Options of the whole program that say whom its node talks to. */
export interface NetworkOptions {
  readonly network?: NetworkMode | undefined
  readonly listen?: readonly string[] | undefined
  readonly announce?: readonly string[] | undefined
  readonly bootstrap?: readonly string[] | undefined
  /** Relays to be reachable through. */
  readonly viaRelay?: readonly string[] | undefined
  /** A `swarm.key` file: an argument would show in the list of processes. */
  readonly networkKeyFile?: string | undefined
}

/** What a command needs of its node: what is on this disk, or other nodes too. */
export type Need = 'disk' | 'peers'

/** What `startNode` is told about the network. */
export type NetworkStart = Pick<
  StartNodeOptions,
  'network' | 'listen' | 'announce' | 'bootstrap' | 'relays' | 'networkKey'
>

/**
 * The network that a command's node starts with. Any network option asks for one; otherwise there is one only for commands
 * that need peers. Then the environment says what options do not. A key means `private`, and the default is `lan`.
 *
 * @throws INVALID_ARGUMENT for options that do not go together and a file that holds no key, NOT_FOUND for one that is not there
 */
export async function networkStart(
  options: NetworkOptions,
  need: Need,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<NetworkStart> {
  const given = givenOf(options)
  const isAsked = Object.keys(given).length > 0
  if (!isAsked && need === 'disk') return { network: 'offline' }
  if (given.network === 'offline') {
    if (Object.keys(given).length > 1) throw invalid('--network offline goes with no other option of the network')
    return { network: 'offline' }
  }
  const asked = { ...fromEnvironment(environment), ...given }
  const { network, listen, announce, bootstrap, viaRelay: relays, networkKeyFile } = asked
  const mode = network ?? (networkKeyFile === undefined ? 'lan' : 'private')
  if (mode === 'offline') return { network: 'offline' }
  if ((mode === 'private') !== (networkKeyFile !== undefined))
    throw invalid('--network private needs --network-key-file, and nothing else takes it')
  const networkKey = networkKeyFile === undefined ? undefined : await readNetworkKey(networkKeyFile)
  return { network: mode, listen, announce, bootstrap, relays, networkKey }
}

function givenOf({ network, listen, announce, bootstrap, viaRelay, networkKeyFile }: NetworkOptions): NetworkOptions {
  return {
    ...(network !== undefined && { network }),
    ...(listen !== undefined && { listen }),
    ...(announce !== undefined && { announce }),
    ...(bootstrap !== undefined && { bootstrap }),
    ...(viaRelay !== undefined && { viaRelay }),
    ...(networkKeyFile !== undefined && { networkKeyFile }),
  }
}

function fromEnvironment(environment: Readonly<Record<string, string | undefined>>): NetworkOptions {
  const network = environment.ARTIFACT_HUB_NETWORK || undefined
  const mode = networkModes.find((known) => known === network)
  if (network !== undefined && mode === undefined)
    throw invalid(`ARTIFACT_HUB_NETWORK must be one of ${networkModes.join(', ')}`)
  return {
    network: mode,
    listen: words(environment.ARTIFACT_HUB_LISTEN),
    announce: words(environment.ARTIFACT_HUB_ANNOUNCE),
    bootstrap: words(environment.ARTIFACT_HUB_BOOTSTRAP),
    networkKeyFile: environment.ARTIFACT_HUB_NETWORK_KEY_FILE || undefined,
  }
}

function words(text: string | undefined): readonly string[] | undefined {
  const found = text?.split(/\s+/).filter((word) => word !== '')
  return found?.length ? found : undefined
}

async function readNetworkKey(path: string): Promise<Uint8Array> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ArtifactHubError('NOT_FOUND', `cannot read the network key file ${path}`, { details: { path }, cause })
  }
  const { parseSwarmKey } = await import('../network/index.ts')
  try {
    return parseSwarmKey(text)
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} holds no network key: \`network-key\` makes one`, {
      details: { path },
      cause,
    })
  }
}

function invalid(message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', message)
}
