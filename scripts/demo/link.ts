import { execFile } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { formatBytes } from '../../node/cli/text/index.ts'
import { Agent } from './agent.ts'
import { must, rate, say, seconds, sha256Of, step, timed, until } from './show.ts'

const run = promisify(execFile)

/**
 * A node with a gateway serves a link to plain curl.
 * @throws when anything is not as promised, or curl is not here
 */
export async function serveLinks(folder: string, file: string): Promise<void> {
  step(`A link to ${basename(file)}, fetched by plain curl`)
  await using stack = new AsyncDisposableStack()
  const grace = stack.use(await Agent.start('grace', join(folder, 'grace'), 'gateway'))
  const { id: artifactId } = await grace.ask('createFile', { path: file })
  const { url, jti, expiresAt } = await grace.ask('link', { artifactId, expiresIn: 600 })
  const [address = '', secret = ''] = url.split('?')
  say(`${address}?${secret.slice(0, 24)}… of ${url.length} characters, until ${expiresAt.toLocaleTimeString('en-GB')}`)
  const out = join(folder, 'by-curl')
  const { value: status, ms } = await timed(() => curl(url, '-o', out))
  must(status === 200, 'the link gives the file')
  const { size } = await stat(file)
  must((await sha256Of(out)) === (await sha256Of(file)), 'what curl got is what was stored')
  say(`200: ${formatBytes(size)} in ${seconds(ms)}: ${rate(size, ms)}, decrypted on the way, the same SHA-256`)

  const range = join(folder, 'range')
  must((await curl(url, '-r', '1000-1999', '-o', range)) === 206, 'a range is a range')
  must((await stat(range)).size === 1_000, 'a range has its length')
  say('206: bytes 1000 to 1999')

  step('A link that has expired, and one that was taken back')
  const short = await grace.ask('link', { artifactId, expiresIn: 1 })
  await until('the link expires', async () => (await curl(short.url, '-o', range)) === 403)
  say(`403 after a second: ${await codeOf(short.url)}`)
  await grace.ask('revokeLink', { jti })
  must((await curl(url, '-o', range)) === 403, 'a link that was revoked gives nothing')
  say(`403 at once: ${await codeOf(url)}`)
}

/** The status that curl got. */
async function curl(url: string, ...options: readonly string[]): Promise<number> {
  const { stdout } = await run('curl', ['-s', '-w', '%{http_code}', ...options, url])
  return Number(stdout)
}

/** The code in the problem that a gateway answers with. */
async function codeOf(url: string): Promise<string> {
  const { stdout } = await run('curl', ['-s', url])
  return (JSON.parse(stdout) as { code: string }).code
}
