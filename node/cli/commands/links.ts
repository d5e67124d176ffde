import encodeQR from 'qr'
import type { GatewayRef, ListedUrl } from '../../../sdk/link-client.ts'
import type { SignedUrl } from '../../../sdk/signed-url.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { type CommandGroup, collect } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { secretOf } from '../standard-input.ts'
import { fieldLines, formatTime, parseCount, parseDuration, parseMoment, parseVersion } from '../text/index.ts'
import { decodeLink, inspectLink } from './inspect-link.ts'

interface UrlOptions {
  readonly version?: string
  readonly expires?: string
  readonly from?: string
  readonly for?: string[]
  readonly once?: boolean
  readonly uses?: string
  readonly filename?: string
  readonly inline?: boolean
  readonly ip?: string
  readonly qr?: boolean
}

const maxUses = 2 ** 32 - 1

/** Links: `url` makes one, `urls` lists them, `url revoke` ends one, `url inspect` says what one allows. */
export const linkCommands: CommandGroup = (program, act) => {
  const group = program
    .command('url')
    .description('make a link: whoever has it downloads the artifact from a gateway, until it expires')
    .argument('<id>', 'artifact')
    .option(
      '--version <version>',
      'number, version id, or latest to follow the artifact (default: the current version)',
    )
    .option('--expires <duration>', 'how long it is good: 30m, 12h, up to 7d (default: 1h)')
    .option('--from <moment>', 'not good before this date or time, or so long from now: 2026-11-03T14:05, 2h')
    .option(
      '--for <gateway>',
      'who serves it: a contact, a DID or a ticket, or any of them =URL; again for more',
      collect,
    )
    .option('--once', 'each byte may be downloaded once')
    .option('--uses <count>', 'each byte may be downloaded so many times')
    .option('--filename <name>', 'what it is saved as (default: the last part of the artifact’s name)')
    .option('--inline', 'browsers show it, where that is safe, instead of saving it')
    .option('--ip <address>', 'serve this IP address, or CIDR prefix, only')
    .option('--qr', 'print it as a QR code too')
    .addHelpText('after', urlHelp)
    .action(act(create))
  group
    .command('revoke')
    .description('end a link before its time')
    .argument('<jti>', 'its name, as `urls` prints it, or the link itself; - reads that from standard input')
    .addHelpText('after', secretHelp)
    .action(act(revoke))
  group
    .command('inspect')
    .description('say what a link allows, after checking its signature; asks nobody')
    .argument('<url>', 'the link; - reads it from standard input')
    .addHelpText('after', secretHelp)
    .action(act(inspectLink))
  program
    .command('urls')
    .description('list the links that were made here and have not expired, without what makes them work')
    .argument('[id]', 'only those of this artifact')
    .action(act(list))
}

const secretHelp = `
A link is a secret, and whoever lists the processes of this machine sees arguments. \`-\` keeps it out of there:
  artifact-hub url inspect - < link.txt`

const urlHelp = `
A link is as good as the file: send it to nobody who should not have it. Without --for it points to this node’s own gateway, where it was when
it ran last. A gateway of somebody else is named with its URL unless its ticket told where it is, and it fetches the content from this
agent: --listen with the address that \`run\` uses puts that into the link.

Examples:
  artifact-hub url report.pdf --expires 2d
  artifact-hub url report.pdf --for gw=https://files.example.org --once --qr`

async function create(session: Session, options: UrlOptions, reference: string): Promise<void> {
  const client = await session.client()
  const { namespace, signal } = session
  const artifactId = await resolveArtifactId(client, reference, { namespace, signal })
  if (options.once === true && options.uses !== undefined) throw invalid('--once is --uses 1: give one of them')
  const link = await client.artifact.getSignedUrl({
    artifactId,
    version: options.version === undefined ? undefined : parseVersion(options.version),
    expiresIn: options.expires === undefined ? undefined : wholeSeconds(options.expires),
    notBefore: options.from === undefined ? undefined : startOf(options.from),
    gateways: options.for?.map(gatewayOf),
    maxUses:
      options.once === true
        ? 1
        : options.uses === undefined
          ? undefined
          : parseCount(options.uses, '--uses', { min: 1, max: maxUses }),
    filename: options.filename,
    disposition: options.inline === true ? 'inline' : undefined,
    ip: options.ip,
    signal,
  })
  const code = options.qr === true && !session.json ? `${encodeQR(link.url, 'ascii', { ecc: 'low' })}\n` : ''
  await session.result(linkJson(link), `${link.url}\n${code}`)
  session.note(`good until ${formatTime(link.expiresAt)}; \`artifact-hub url revoke ${link.jti}\` ends it sooner`)
}

async function revoke(session: Session, _options: unknown, reference: string): Promise<void> {
  const client = await session.client()
  const { namespace, signal } = session
  const jti = jtiOf(await secretOf(session, reference))
  await client.artifact.revokeSignedUrl({ jti, namespace, signal })
  await session.result({ revoked: { jti } }, fieldLines([['revoked', jti]]))
  if (!session.isOnline)
    session.note('gateways elsewhere learn of it when this agent is on the network: `run` or `sync`')
}

async function list(session: Session, _options: unknown, reference: string | undefined): Promise<void> {
  const client = await session.client()
  const { namespace, signal } = session
  const artifactId =
    reference === undefined ? undefined : await resolveArtifactId(client, reference, { namespace, signal })
  const links = await client.artifact.listSignedUrls({ artifactId, signal })
  const table = session.table<ListedUrl>([
    { title: 'JTI', cell: (row) => row.link.jti },
    { title: 'ARTIFACT', cell: (row) => row.artifactId, shrinkTo: 12 },
    { title: 'FILE', cell: (row) => row.filename ?? '', shrinkTo: 12 },
    { title: 'VERSION', cell: (row) => (row.cid === undefined ? 'latest' : 'pinned') },
    { title: 'EXPIRES', cell: (row) => formatTime(row.link.expiresAt, 'short') },
    { title: 'STATE', cell: (row) => row.state },
  ])
  await session.result(links.map(listedJson), links.length === 0 ? '' : table.render(links))
  if (links.length === 0) session.note('no link was made here that has not expired')
}

/** By name, or by the link itself. */
function jtiOf(reference: string): string {
  return /^https?:/i.test(reference) ? decodeLink(reference).jti : reference.toLowerCase()
}

function gatewayOf(text: string): GatewayRef {
  const match = /^(.+?)=(https?:\/\/.*)$/i.exec(text)
  const [, agent, url] = match ?? []
  return agent === undefined || url === undefined ? text : { agent, url }
}

/** Here a duration is ahead: what it is good for has not begun. */
function startOf(text: string): Date {
  const isDuration = /^[0-9.]+[a-z]/.test(text)
  return isDuration ? new Date(Date.now() + parseDuration(text, '--from')) : parseMoment(text, Date.now())
}

function wholeSeconds(text: string): number {
  return Math.ceil(parseDuration(text, '--expires') / 1000)
}

/** With the URL: whoever asked for a link is given it. */
function linkJson({ url, jti, notBefore, expiresAt }: SignedUrl): Record<string, unknown> {
  return { url, jti, notBefore: notBefore.toISOString(), expiresAt: expiresAt.toISOString() }
}

/** Without it: lists end up in logs. */
function listedJson({ link, ...row }: ListedUrl): Record<string, unknown> {
  const { artifactId, namespace, cid, filename, gateways, ip, maxUses, state } = row
  return {
    jti: link.jti,
    artifactId,
    namespace,
    cid: cid ?? null,
    filename: filename ?? null,
    gateways,
    ip: ip ?? null,
    maxUses: maxUses ?? null,
    notBefore: link.notBefore.toISOString(),
    expiresAt: link.expiresAt.toISOString(),
    state,
  }
}

function invalid(message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', message)
}
