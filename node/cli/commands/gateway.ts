import { readFile } from 'node:fs/promises'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { GatewayOptions } from '../../gateway/gateway-options.ts'
import { type CommandGroup, collect } from '../command.ts'
import type { Session } from '../session.ts'
import { parseDuration } from '../text/index.ts'
import { stayOnline } from './run.ts'

/** A node that serves links over HTTP: `gateway`. */
export const gatewayCommands: CommandGroup = (program, act) => {
  program
    .command('gateway')
    .description('serve links over HTTP, until Ctrl-C: of this agent, its namespaces and its contacts')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <number>', 'TCP port', '8080')
    .option('--public-url <url>', 'what stands before /a/… in links, behind a proxy or under a name')
    .option('--admin-port <number>', 'serve /metrics, /healthz and /readyz there, on 127.0.0.1')
    .option('--tls-cert <path>', 'PEM file: HTTPS and HTTP/2; needs --tls-key')
    .option('--tls-key <path>', 'PEM file')
    .option(
      '--trust-proxy <address>',
      'a proxy (address or CIDR) whose X-Forwarded-For is believed; may be given again',
      collect,
    )
    .option('--open', 'serve links of anyone, within the limits')
    .option('--clock-skew <duration>', 'how far an issuer’s clock may be from ours', '60s')
    .addHelpText('after', helpEnd)
    .action(act(gateway))
}

const helpEnd = `
It stays on the network as \`run\` does, and tells the same. Behind a proxy that ends TLS:
  artifact-hub gateway --port 8080 --public-url https://files.example.org --trust-proxy 127.0.0.1`

interface CommandOptions {
  readonly host: string
  readonly port: string
  readonly publicUrl?: string
  readonly adminPort?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly trustProxy?: readonly string[]
  readonly open?: boolean
  readonly clockSkew: string
}

async function gateway(session: Session, options: CommandOptions): Promise<void> {
  const { host, publicUrl, adminPort, tlsCert, tlsKey, trustProxy, open } = options
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new ArtifactHubError('INVALID_ARGUMENT', '--tls-cert and --tls-key go together')
  const settings: GatewayOptions = {
    host,
    port: portOf(options.port, '--port'),
    publicUrl,
    admin: adminPort === undefined ? undefined : { port: portOf(adminPort, '--admin-port') },
    tls:
      tlsCert === undefined || tlsKey === undefined
        ? undefined
        : { cert: await readPem(tlsCert), key: await readPem(tlsKey) },
    trustProxy,
    open,
    clockSkewSeconds: parseDuration(options.clockSkew, '--clock-skew') / 1000,
  }
  await stayOnline(session, { gateway: settings })
}

function portOf(text: string, option: string): number {
  const port = Number(text)
  if (/^[0-9]{1,5}$/.test(text) && port <= 65_535) return port
  throw new ArtifactHubError('INVALID_ARGUMENT', `${option} must be a port, 0 to 65535`)
}

async function readPem(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new ArtifactHubError('NOT_FOUND', `cannot read ${path}`, { details: { path }, cause })
  }
}
