import { Command, Option } from 'commander'
import { type ErrorCode, errorTable } from '../../src/errors.ts'
import { type Act, collect } from './command.ts'
import {
  agentCommands,
  browseCommands,
  gatewayCommands,
  groupCommands,
  linkCommands,
  maintenanceCommands,
  namespaceCommands,
  networkCommands,
  readCommands,
  removeCommands,
  runCommands,
  sharingCommands,
  watchCommands,
  writeCommands,
} from './commands/index.ts'
import { networkModes } from './network-options.ts'

/** Every command with its options; an action runs through `act`. Errors are thrown, not printed. */
export function buildProgram(act: Act): Command {
  const program = new Command('artifact-hub')
    .description('Versioned, encrypted storage for files and data that AI agents share peer to peer.')
    .exitOverride()
    .configureOutput({ outputError: () => {} })
    .configureHelp({ showGlobalOptions: true })
    .option('--data-dir <path>', 'where the agent keeps everything (default: $ARTIFACT_HUB_DIR, else ~/.artifact-hub)')
    .option('--ns <name>', 'namespace to work in, by name or id (default: the current one)')
    .option('--json', 'one JSON document on standard output; an error is one on standard error')
    .option('-q, --quiet', 'no progress and no remarks')
    .addOption(
      new Option(
        '--network <mode>',
        'whom to talk to (default: nobody, and lan for commands that need others)',
      ).choices(networkModes),
    )
    .option('--listen <multiaddr>', 'where to be dialled: /ip4/0.0.0.0/tcp/4001; may be given again', collect)
    .option(
      '--announce <multiaddr>',
      'where others reach it, behind a router or cloud that passes a port on; may be given again',
      collect,
    )
    .option('--bootstrap <multiaddr>', 'a node to stay connected to, ending in /p2p/…; may be given again', collect)
    .option('--via-relay <multiaddr>', 'a relay to be reachable through, behind NAT; may be given again', collect)
    .option('--network-key-file <path>', 'the key of a private network (made by network-key)')
    .addHelpText('after', helpEnd)
  for (const group of [
    writeCommands,
    readCommands,
    browseCommands,
    removeCommands,
    linkCommands,
    namespaceCommands,
    agentCommands,
    groupCommands,
    sharingCommands,
    networkCommands,
    watchCommands,
    runCommands,
    gatewayCommands,
    maintenanceCommands,
  ]) {
    group(program, act)
  }
  return program
}

const exitCodes = (Object.keys(errorTable) as ErrorCode[])
  .map((code) => `  ${String(errorTable[code].exitCode).padStart(3)}  ${code}: ${errorTable[code].means}`)
  .join('\n')

const helpEnd = `
artifact-hub --version (or -V) prints the release.
An artifact (ID) is named by its id, by its name if only one has it, or by the first characters of its id.
Sizes: 1500, 10MB (decimal), 10MiB (binary). Times: 2h, 7d, 2026-11-03, 2026-11-03T14:05.
With --json a result is one JSON document on standard output, and an error is
  {"error":{"code","message","retryable","details","hint"?}} on standard error.

An agent is named by its name here, its DID or its ticket.
Commands that need only this disk start no network, unless an option such as --network or --listen asks for one.

Environment:
  ARTIFACT_HUB_DIR              the data directory
  ARTIFACT_HUB_PASSPHRASE_FILE  a file whose first line is the passphrase of the identity
                                (given the first time, it protects the identity from then on)
  ARTIFACT_HUB_NETWORK, ARTIFACT_HUB_LISTEN, ARTIFACT_HUB_ANNOUNCE, ARTIFACT_HUB_BOOTSTRAP,
  ARTIFACT_HUB_NETWORK_KEY_FILE what --network, --listen, --announce, --bootstrap and --network-key-file
                                are for commands that start the network (lists: space between)
  ARTIFACT_HUB_DEBUG            print stack traces
  NO_COLOR                      no colours

Exit codes:
    0  success
${exitCodes}
  130  interrupted (141: the reader of the output went away, 143: terminated)

Examples:
  artifact-hub put report.pdf --meta author=me
  tar c src | artifact-hub put - --name src.tar
  artifact-hub ls --where author=me --since 7d
  artifact-hub get report.pdf -o /tmp/report.pdf
  artifact-hub url report.pdf --expires 2d
  artifact-hub agent add bob ahub1… && artifact-hub ns grant bob writer
  artifact-hub run --listen /ip4/0.0.0.0/tcp/4001
  artifact-hub ns join ahub1… --name team && artifact-hub ls --ns team
`
