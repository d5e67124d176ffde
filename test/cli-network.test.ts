import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AgentKey, formatTicket } from '../src/identity/index.ts'
import { CliPlace, errorOf, Staying } from './support/cli-process.ts'

interface Introduction {
  did: string
  addresses: string[]
  ticket: string
  namespaces: { id: string; name: string; ticket: string }[]
}

interface Change {
  namespace: string
  name: string
  role: string | null
  artifacts: number
  contentsToFetch: number
}

const large = randomBytes(3_000_000)

let owner: CliPlace
let reader: CliPlace
let writer: CliPlace
let dids: { owner: string; reader: string; writer: string }

async function didAndTicket(place: CliPlace): Promise<{ did: string; ticket: string }> {
  const { ticket } = await place.json<{ ticket: string }>(['agent', 'ticket'])
  return { did: (await place.json<{ did: string }>(['id'])).did, ticket }
}

beforeAll(async () => {
  ;[owner, reader, writer] = await Promise.all([CliPlace.create(), CliPlace.create(), CliPlace.create()])
  const [asOwner, asReader, asWriter] = await Promise.all([owner, reader, writer].map(didAndTicket))
  dids = { owner: asOwner?.did ?? '', reader: asReader?.did ?? '', writer: asWriter?.did ?? '' }
  await owner.json(['ns', 'create', 'team'])
  await owner.json(['agent', 'add', 'rita', asReader?.ticket ?? ''])
  await owner.json(['agent', 'add', 'walt', dids.writer])
  await owner.json(['put', '-', '--name', 'large.bin', '--ns', 'team'], { input: large })
  await owner.json(['ns', 'policy', 'eager', '--max-size', '10MB', '--ns', 'team'])
})

afterAll(async () => {
  await Promise.all([owner, reader, writer].map((place) => place[Symbol.asyncDispose]()))
})

describe('agents through the CLI', () => {
  test('have names, and keep their addresses when they are added again', async () => {
    expect(await owner.json(['agent', 'ls'])).toEqual([
      { name: 'rita', did: dids.reader, addresses: [] },
      { name: 'walt', did: dids.writer, addresses: [] },
    ])
    const taken = await owner.run(['agent', 'add', 'rita', dids.writer, '--json'])
    expect([taken.exitCode, errorOf(taken).code]).toEqual([5, 'ALREADY_EXISTS'])
    expect((await owner.run(['agent', 'rm', 'nobody'])).exitCode).toBe(4)
    await owner.json(['agent', 'add', 'gone', dids.reader])
    expect(await owner.json(['agent', 'rm', 'gone'])).toEqual({ removed: { name: 'gone' } })
    expect((await owner.run(['agent', 'add', 'x', 'ahub1nothing'])).exitCode).toBe(2)
  })

  test('are dialled where --listen says, and nowhere without it', async () => {
    expect(await owner.json(['id'])).toEqual({ did: dids.owner, addresses: [] })
    const { addresses } = await owner.json<{ addresses: string[] }>(['id', '--listen', '/ip4/127.0.0.1/tcp/0/ws'])
    expect(addresses).toEqual([expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/ws\/p2p\/12D3Koo/)])
    const refused = await owner.run(['id', '--listen', '/ip4/192.0.2.1/tcp/4001', '--json'])
    expect([refused.exitCode, errorOf(refused).code]).toEqual([2, 'INVALID_ARGUMENT'])
  })

  test('that take the connection and say nothing are given up when the time is up', async () => {
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    try {
      const { port } = silent.address() as AddressInfo
      const peer = { agent: new AgentKey(randomBytes(32)).publicKey, addresses: [`/ip4/127.0.0.1/tcp/${port}`] }
      const ticket = formatTicket({ kind: 'agent', id: peer.agent, peers: [peer] })
      const met = once(silent, 'connection')
      const pinging = owner.run(['ping', ticket, '--timeout', '1s', '--json'])
      await met
      const metMs = performance.now()
      const given = await pinging
      expect([given.exitCode, errorOf(given).code]).toEqual([10, 'UNAVAILABLE'])
      // Dialled to the end, it takes 10 s.
      expect(performance.now() - metMs).toBeLessThan(6_000)
    } finally {
      silent.close()
    }
  })
})

describe('a namespace shared through the CLI', () => {
  test('is known at once to a connected agent that is granted a role in it', async () => {
    await using run = new Staying(writer, ['run'])
    const { ticket } = await run.next<Introduction>()
    const { id } = await owner.json<{ id: string }>(['ns', 'create', 'new'])
    const grant = ['ns', 'grant', ticket, 'reader', '--ns', 'new']
    expect(await owner.json(grant)).toMatchObject({ did: dids.writer, role: 'reader', told: true })
    const { invitation } = await run.until<{ invitation?: unknown }>((line) => line.invitation !== undefined)
    expect(invitation).toEqual({ namespace: id, from: dids.owner })
  })

  test('is granted, joined, read from others, written with copies, watched, and left', async () => {
    const grant = ['ns', 'grant', '--ns', 'team', '--network', 'offline']
    expect(await owner.json([...grant, 'rita', 'reader'])).toMatchObject({
      did: dids.reader,
      role: 'reader',
      told: false,
    })
    expect((await owner.run([...grant, 'rita', 'emperor'])).exitCode).toBe(2)
    await using run = new Staying(owner, ['run'])
    const { did, addresses, ticket: agentTicket, namespaces } = await run.next<Introduction>()
    expect([did, addresses]).toEqual([dids.owner, [expect.stringContaining('/ip4/127.0.0.1/tcp/')]])
    const ticket = namespaces.find(({ name }) => name === 'team')?.ticket ?? ''

    // One process has the directory.
    expect((await owner.run(['ls'])).exitCode).toBe(11)
    const denied = await writer.run(['ns', 'join', ticket, '--json'])
    expect([denied.exitCode, errorOf(denied).code]).toEqual([3, 'ACCESS_DENIED'])

    expect(await reader.json(['ns', 'join', ticket, '--name', 'ours'])).toMatchObject({ name: 'ours', role: 'reader' })
    const { items } = await reader.json<{ items: { id: string }[] }>(['ls', '--ns', 'ours'])
    expect(items).toMatchObject([{ name: 'large.bin', sizeBytes: large.length }])

    const get = ['get', 'large.bin', '--ns', 'ours', '-o', 'copy.bin']
    const alone = await reader.run([...get, '--network', 'offline', '--json'])
    expect([alone.exitCode, errorOf(alone).code]).toEqual([10, 'UNAVAILABLE'])
    const range = await reader.run(['cat', 'large.bin', '--ns', 'ours', '--range', '2000000-2000099'])
    expect(range.stdout.equals(large.subarray(2_000_000, 2_000_100)), range.stderr).toBe(true)
    // A part is here, the rest is elsewhere: no byte comes twice.
    const whole = await reader.run(['cat', 'large.bin', '--ns', 'ours'])
    expect(whole.stdout.equals(large), whole.stderr).toBe(true)
    await reader.json([...get, '--network', 'offline'])
    expect(await readFile(join(reader.folder, 'copy.bin'))).toEqual(large)

    const where = await reader.json<{ versions: { nodes: unknown[] }[] }>([
      'where',
      'large.bin',
      '--ns',
      'ours',
      '--timeout',
      '30s',
    ])
    expect(where).toMatchObject({ artifactId: items[0]?.id, unreachable: [] })
    expect(where.versions[0]?.nodes).toEqual([
      { did: dids.reader, holds: 'all' },
      { did: dids.owner, holds: 'all' },
    ])
    expect(await reader.json(['peers', '--wait', '30s'])).toMatchObject([
      { did: dids.owner, reach: { state: 'direct' }, namespaces: ['ours'], connection: { encryption: 'tls' } },
    ])
    const { latenciesMs } = await reader.json<{ latenciesMs: number[] }>(['ping', agentTicket, '--count', '2'])
    expect(latenciesMs).toHaveLength(2)
    for (const ms of latenciesMs) expect(ms).toBeGreaterThan(0)
    const self = await reader.run(['ping', dids.reader, '--timeout', '1h', '--json'])
    expect([self.exitCode, errorOf(self).details.reason]).toEqual([10, 'self'])
    expect(await reader.json(['sync'])).toContainEqual(
      expect.objectContaining({ name: 'ours', synced: true, behind: 0, with: [dids.owner] }),
    )
    const status = await reader.json<{ namespaces: unknown[] }>(['status', '--network', 'lan', '--wait', '30s'])
    expect(status).toMatchObject({ network: 'lan', addresses: [expect.stringContaining('/tcp/')] })
    expect(status.namespaces).toContainEqual(
      expect.objectContaining({
        name: 'ours',
        role: 'reader',
        members: 2,
        forks: [],
        owed: { rotation: false, boxes: [], keys: [] },
      }),
    )
    expect((await reader.run(['put', 'copy.bin', '--ns', 'ours'])).exitCode).toBe(3)
    expect(await run.stop('SIGINT')).toBe(0)

    const lonely = await reader.run(['sync', '--timeout', '500ms', '--json'])
    expect([lonely.exitCode, errorOf(lonely).code]).toEqual([10, 'UNAVAILABLE'])
    const leave = ['ns', 'leave', 'ours']
    expect((await reader.run(leave)).exitCode).toBe(2)
    await reader.json([...leave, '--yes'])
    expect((await reader.run(['ls', '--ns', 'ours'])).exitCode).toBe(4)
  })

  test('tells of changes from a cursor on, keeps copies where asked to, and refuses whom it removed', async () => {
    const port = '/ip4/127.0.0.1/tcp/0'
    await owner.json(['ns', 'grant', 'walt', 'writer', '--ns', 'team', '--network', 'offline'])
    await using run = new Staying(owner, ['run'])
    const { namespaces, addresses } = await run.next<Introduction>()
    const ticket = namespaces.find(({ name }) => name === 'team')?.ticket ?? ''
    // The owner comes back where it was.
    const listen = addresses[0]?.replace(/\/p2p\/.*/, '') ?? port
    await writer.json(['ns', 'join', ticket, '--name', 'team'])
    await reader.json(['ns', 'join', ticket, '--name', 'team'])

    await using watching = new Staying(reader, ['watch', '--ns', 'team', '--count', '1'])
    // From the start of the watch on; it is there once its node has met the owner's.
    await run.until<{ name: string; peers: string[] }>(
      ({ name, peers }) => name === 'team' && peers.includes(dids.reader),
    )
    const put = await writer.json<{ id: string; replicas: unknown }>(
      ['put', '-', '--name', 'copied.bin', '--ns', 'team', '--replicas', '1'],
      { input: large.subarray(0, 200_000) },
    )
    expect(put.replicas).toEqual({ requested: 1, confirmed: [dids.owner] })
    const first = await watching.next<{ kind: string; cursor: string }>()
    expect(first).toMatchObject({ kind: 'created', artifactId: put.id, artifact: { name: 'copied.bin' } })

    await writer.json(['update', put.id, '--name', 'renamed.bin', '--ns', 'team'])
    await writer.json(['rm', put.id, '--yes', '--ns', 'team'])
    await writer.json(['sync'])
    const later = ['watch', put.id, '--ns', 'team', '--cursor', first.cursor, '--count', '2']
    await using again = new Staying(reader, later)
    expect(await again.next()).toMatchObject({ kind: 'updated', artifactId: put.id })
    expect(await again.next()).toMatchObject({ kind: 'deleted', artifactId: put.id, artifact: null })
    expect(await run.stop('SIGTERM')).toBe(0)

    await using replica = await CliPlace.create()
    const { did } = await replica.json<{ did: string }>(['id'])
    await owner.json(['ns', 'grant', did, 'replica', '--ns', 'team', '--network', 'offline'])
    await using back = new Staying(owner, ['run', '--listen', listen])
    await back.next()
    await using copying = new Staying(replica, ['replicate', ticket])
    await copying.next()
    // What its role stands in may come after what it is to hold.
    const held = ({ name, role, artifacts, contentsToFetch }: Change): boolean =>
      name === 'team' && role === 'replica' && artifacts > 0 && contentsToFetch === 0
    await copying.until<Change>(held)
    expect(await copying.stop('SIGINT')).toBe(0)
    expect(await replica.json(['ls', '--ns', 'team'])).toMatchObject({ items: [] })
    expect(await back.stop('SIGINT')).toBe(0)

    expect(await owner.json(['ns', 'revoke', 'walt', '--ns', 'team', '--network', 'offline'])).toMatchObject({
      told: false,
    })
    const members = await owner.json<{ did: string; role: string }[]>(['ns', 'members', '--ns', 'team'])
    expect(members.map((member) => [member.did, member.role]).sort()).toEqual(
      [
        [dids.owner, 'owner'],
        [dids.reader, 'reader'],
        [did, 'replica'],
      ].sort(),
    )
    await using last = new Staying(owner, ['run', '--listen', listen])
    await last.next()
    const late = ['put', '-', '--name', 'late', '--ns', 'team', '--replicas', '1', '--replica-timeout', '1s']
    const { replicas } = await writer.json<{ replicas: unknown }>(late, { input: 'nobody told me' })
    expect(replicas).toEqual({ requested: 1, confirmed: [] })
    expect(await last.stop('SIGINT')).toBe(0)
    const { items } = await owner.json<{ items: { name: string }[] }>(['ls', '--ns', 'team'])
    expect(items.map(({ name }) => name)).toEqual(['large.bin'])
    expect((await owner.run(['ns', 'adopt', 'not-a-hash', '--ns', 'team'])).exitCode).toBe(2)
  })

  test('denies whom it removed what they have of it, and says by whom', async () => {
    await using run = new Staying(owner, ['run'])
    const { ticket } = await run.next<Introduction>()
    // Whoever meets somebody of it learns it, and so does the command that brought that about.
    await writer.run(['ping', ticket, '--count', '1'])
    const told = await writer.run(['sync', '--ns', 'team', '--json'])
    expect(told.exitCode, told.stdout.toString()).toBe(3)
    expect(errorOf(told).code).toBe('ACCESS_DENIED')
    expect(errorOf(told).details).toMatchObject({ reason: 'REMOVED', by: dids.owner })
    const listed = await writer.run(['ls', '--ns', 'team'])
    expect(listed.exitCode).toBe(3)
    expect(listed.stderr).toContain(`${dids.owner} took its role away`)
    const { stdout } = await writer.run(['status'])
    expect(`${stdout}`).toMatch(
      /team: this agent was removed by .* kept out of reach, `ns leave` removes it, and nothing else/,
    )
    expect(await run.stop('SIGINT')).toBe(0)
  })
})

describe('a private network through the CLI', () => {
  test('is for those who have its key', async () => {
    expect(await owner.json(['network-key', 'team.key'])).toEqual({ path: 'team.key' })
    const key = join(owner.folder, 'team.key')
    expect((await stat(key)).mode & 0o777).toBe(0o600)
    expect((await owner.run(['network-key', 'team.key'])).exitCode).toBe(5)
    await using run = new Staying(owner, ['run', '--network-key-file', key])
    const { ticket } = await run.next<Introduction>()
    const ping = ['ping', ticket, '--count', '1']
    expect(await reader.json([...ping, '--network-key-file', key])).toMatchObject({ latenciesMs: [expect.any(Number)] })
    const outside = await reader.run([...ping, '--timeout', '1s', '--json'])
    expect([outside.exitCode, errorOf(outside).code]).toEqual([10, 'UNAVAILABLE'])
    await writeFile(join(reader.folder, 'bad.key'), 'nothing')
    expect((await reader.run([...ping, '--network-key-file', 'bad.key'])).exitCode).toBe(2)
  })
})
