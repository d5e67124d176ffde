/**
 * Keys stay where they are: two nodes share, group, link and fail, and whatever they say meanwhile is kept. Then the logs are opened from
 * the inside, and every key in them is looked for in all that was said and all that is on the disk, in every spelling.
 */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type Logger, startNode } from '../../node/index.ts'
import { seededBytes } from '../client/contract-support.ts'
import { ask } from '../gateway/ask.ts'
import { eventually } from '../replication/nodes.ts'
import { keysIn, spellings } from '../support/keys-in.ts'

const passphrase = 'a passphrase that stands nowhere else'
const networkKey = new Uint8Array(Buffer.from('the key of a private network, 32'))

/** All that was said, and by whom it was heard. */
const said: { where: string; text: string }[] = []
const say = (where: string, ...values: unknown[]): void => {
  for (const value of values) {
    const shown = inspect(value, { depth: 20, showHidden: true, maxArrayLength: 1_000, maxStringLength: null })
    const text = `${shown}\n${inspect(value)}\n${String(value)}\n${JSON.stringify(value) ?? ''}`
    // Bytes as numbers come in columns, and in JSON by their places.
    said.push({ where, text: `${text}\n${text.replace(/\s+/g, '').replace(/"\d+":/g, '')}` })
  }
}
const level =
  (name: string) =>
  (message: string, fields?: object): void =>
    say(`log, ${name}`, message, fields)
const logger: Logger = { debug: level('debug'), info: level('info'), warn: level('warn'), error: level('error') }
const failing = async (work: Promise<unknown>): Promise<void> => {
  const error = await work.then(
    () => expect.fail('it should have failed'),
    (reason: unknown) => reason as Error & { details?: unknown },
  )
  say('error', error, error.message, error.stack, error.details, { ...error })
}

/** What nobody may find, by what it is. */
const secrets = new Map<string, Uint8Array>()
/** What lets its holder in and is given to whoever asked for it: not for logs. */
const tokens: string[] = []
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-secrets-'))
  for (const name of ['log', 'error', 'warn', 'info', 'debug'] as const)
    vi.spyOn(console, name).mockImplementation((...values) => say(`console.${name}`, ...values))
  const common = { network: 'private', networkKey, logger, listen: ['/ip4/127.0.0.1/tcp/0'] } as const
  const start = async (name: string, more = {}) => await startNode({ dataDir: join(folder, name), ...common, ...more })
  const alice = await start('alice', { passphrase, gateway: {} })
  const bob = await start('bob')
  const { client } = alice
  try {
    await client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
    await bob.client.agent.add({ name: 'alice', ticket: await client.agent.ticket() })
    const made = await client.artifact.create({ name: 'large.bin', data: seededBytes('secrets', 1_500_000) })
    const note = await client.artifact.createSnippet({ name: 'note', content: 'a note', metadata: { of: 'somebody' } })
    say('result', made, note)
    const group = await client.group.create({ name: 'team' })
    say('result', group, await client.group.add({ group: 'team', agents: ['bob'] }))
    const artifactId = made.id
    say('result', await client.artifact.share({ artifactId, withAgents: ['bob'], withGroups: ['team'], message: 'hi' }))
    await eventually(async () => await bob.client.artifact.get({ artifactId }))
    say('result', await bob.client.artifact.get({ artifactId }), await bob.client.artifact.listShared())
    await bob.client.artifact.download({ artifactId })
    for (const version of [undefined, 'latest'] as const) {
      const link = await client.artifact.getSignedUrl({ artifactId, version })
      tokens.push(new URL(link.url).searchParams.get('cap') ?? expect.fail('it carries one'))
      expect((await ask(link.url)).status).toBe(200)
      expect((await ask(link.url.replace('cap=', 'cap=A'))).status).toBe(403)
      said.push({
        where: 'printed link',
        text: `${inspect(link)} ${inspect({ link }, { depth: 9, showHidden: true })}`,
      })
    }
    await client.artifact.update({ artifactId, name: 'larger.bin' })
    await client.namespace.create({ name: 'work' })
    await client.namespace.grant({ namespace: 'work', group: 'team', role: 'writer' })
    await bob.client.namespace.join({ ticket: await client.namespace.ticket({ namespace: 'work' }) })
    say('result', await client.artifact.access({ artifactId }), await client.artifact.listShared({ by: 'me' }))
    say(
      'result',
      await client.group.members({ group: 'team' }),
      await client.agent.list(),
      await client.namespace.list(),
    )

    await failing(bob.client.artifact.update({ artifactId, name: 'mine' }))
    await failing(bob.client.artifact.share({ artifactId, withAgents: ['alice'] }))
    await failing(client.artifact.share({ artifactId, withAgents: ['nobody'] }))
    await failing(client.artifact.get({ artifactId: 'art_wrong' }))
    await failing(startNode({ dataDir: join(folder, 'alice'), ...common, passphrase }))
    await client.artifact.unshare({ artifactId, agents: ['bob'], groups: ['team'] })
    await client.group.remove({ group: 'team', agents: ['bob'] })
    await eventually(async () => await failing(bob.client.artifact.get({ artifactId })))
    await client.artifact.update({ artifactId, data: seededBytes('secrets, again', 1_000) })
    for (const node of [alice, bob]) {
      say('status', await node.status(), await node.du(), await node.peers(), await node.check({ readData: true }))
      say('status', await node.gc({ now: true }), node.gateway)
      say(
        'object',
        node,
        node.client,
        node.client.artifact,
        node.client.group,
        node.client.namespace,
        node.client.inbox,
      )
    }
  } finally {
    for (const node of [alice, bob]) await node.close()
  }
  await failing(startNode({ dataDir: join(folder, 'alice'), ...common }))
  await failing(startNode({ dataDir: join(folder, 'alice'), ...common, passphrase: 'another one' }))
  vi.restoreAllMocks()
})

afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8)

async function filesUnder(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}

describe('whatever two nodes say and do while they share', () => {
  test('the files that hold keys are their owner’s alone', async () => {
    for (const name of ['alice', 'bob']) {
      expect(await modeOf(join(folder, name))).toBe('700')
      expect(await modeOf(join(folder, name, 'db'))).toBe('700')
      expect(await modeOf(join(folder, name, 'packs'))).toBe('700')
      expect(await modeOf(join(folder, name, 'identity.key'))).toBe('600')
    }
  })

  test('no key is in it, nor in the clear on the disk', async () => {
    const onDisk: { where: string; text: string }[] = []
    for (const name of ['alice', 'bob']) {
      for (const path of await filesUnder(join(folder, name))) {
        // Without a passphrase this one holds the seed, as it should.
        if (path === join(folder, 'bob', 'identity.key')) continue
        onDisk.push({ where: path.slice(folder.length), text: (await readFile(path)).toString('latin1') })
      }
    }
    for (const [what, bytes] of [
      ...(await keysIn(join(folder, 'alice'), passphrase)),
      ...(await keysIn(join(folder, 'bob'))),
    ])
      secrets.set(what, bytes)
    secrets.set('network key', networkKey)
    expect(secrets.size).toBeGreaterThan(25)
    const found: string[] = []
    for (const [what, bytes] of secrets) {
      expect(bytes).toHaveLength(32)
      const spelled = spellings(bytes)
      for (const { where, text } of said) if (spelled.some((one) => text.includes(one))) found.push(`${what}: ${where}`)
      const raw = [0, 16].map((at) => Buffer.from(bytes.subarray(at, at + 16)).toString('latin1'))
      for (const { where, text } of onDisk) if (raw.some((one) => text.includes(one))) found.push(`${what}: ${where}`)
    }
    for (const { where, text } of [...said, ...onDisk])
      if (text.includes(passphrase)) found.push(`passphrase: ${where}`)
    expect([...new Set(found)]).toEqual([])
  })

  test('no link’s token is in it: the URL is given to who asked for it, and to nobody else', () => {
    expect(tokens).toHaveLength(2)
    for (const token of tokens) {
      for (const { where, text } of said) if (text.includes(token.slice(40, 140))) expect.fail(`a token: ${where}`)
    }
  })

  test('what was kept is what would have been found', () => {
    const bytes = new Uint8Array(32).map((_, at) => at * 7 + 1)
    const before = said.length
    const buffer = Buffer.from(bytes)
    say('here', bytes, buffer, buffer.toString('hex'), buffer.toString('base64'), { deep: { a: [bytes] } })
    say('here', new Map([['key', `z${buffer.toString('base64url')}`]]), new Error(buffer.toString('hex')))
    const heard = said.splice(before)
    for (const { text } of heard) expect(spellings(bytes).some((one) => text.includes(one))).toBe(true)
    // Beside others, in base64 of all of them.
    for (const ahead of [1, 2, 3]) {
      const text = Buffer.concat([new Uint8Array(ahead), bytes]).toString('base64')
      expect(spellings(bytes).some((one) => text.includes(one))).toBe(true)
    }
    expect(said.filter(({ where }) => where.startsWith('log, debug')).length).toBeGreaterThan(0)
    expect(said.filter(({ where }) => where === 'error').length).toBeGreaterThan(6)
  })
})
