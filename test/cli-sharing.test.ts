import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ErrorCode } from '../src/errors.ts'
import { AgentKey } from '../src/identity/index.ts'
import { CliPlace, errorOf, Staying } from './support/cli-process.ts'
import { keysIn, spellings } from './support/keys-in.ts'

interface Introduction {
  did: string
  ticket: string
}

interface Shown {
  id: string
  name: string
  shares: { with: { name: string | null } }[]
}

interface Told {
  artifactId: string
  kind: string
  reason?: string
}

let alice: CliPlace
let bob: CliPlace
/** All that Alice’s commands were given and said. */
const said: string[] = []
const stranger = new AgentKey(Buffer.alloc(32, 'a stranger')).did

/** A command of Alice’s that succeeds. */
async function say<T>(...args: string[]): Promise<T> {
  const done = await alice.run([...args, '--json'])
  said.push(args.join(' '), done.stdout.toString(), done.stderr)
  if (done.exitCode !== 0) throw new Error(`${args.join(' ')} exited with ${done.exitCode}: ${done.stderr}`)
  return done.json() as T
}

/** One that is refused. */
async function refused(...args: string[]): Promise<[number | null, string]> {
  const done = await alice.run([...args, '--json'])
  said.push(done.stdout.toString(), done.stderr)
  expect(done.stdout.toString()).toBe('')
  return [done.exitCode, errorOf(done).code]
}

/** An address that is free to listen on. */
async function placeOf(place: CliPlace): Promise<string> {
  const run = new Staying(place, ['run'])
  const { addresses } = await run.next<{ addresses: string[] }>()
  await run.stop('SIGTERM')
  return addresses[0]?.replace(/\/p2p\/.*/, '') ?? ''
}

const withoutTimes = (value: unknown) => JSON.stringify(value, (key, one) => (key === 'startedAt' ? undefined : one))

beforeAll(async () => {
  ;[alice, bob] = await Promise.all([CliPlace.create(), CliPlace.create()])
  await alice.json(['put', '-', '--name', 'report.txt'], { input: 'the first version' })
  await bob.json(['agent', 'add', 'alice', (await alice.json<{ did: string }>(['id'])).did])
})

afterAll(async () => {
  await Promise.all([alice, bob].map((place) => place?.[Symbol.asyncDispose]()))
})

describe('single artifacts through the CLI', () => {
  test('are shared for years, read, and taken back', async () => {
    await using run = new Staying(bob, ['run'])
    const { ticket, did } = await run.next<Introduction>()
    await say('agent', 'add', 'bob', ticket)
    const [share] = await say<{ id: string; expiresAt: string; createdAt: string }[]>(
      ...['share', 'report.txt', '--with', 'bob', '--expires', '52w', '--message', 'für dich'],
    )
    const days = (Date.parse(share?.expiresAt ?? '') - Date.parse(share?.createdAt ?? '')) / 86_400_000
    expect(Math.round(days)).toBe(364)
    expect(await say('access', 'report.txt')).toMatchObject([
      { through: 'member', role: 'owner', told: null },
      { through: 'share', name: 'bob', id: did, shareId: share?.id, told: 'taken' },
    ])
    const mine = await say<{ items: Shown[] }>('shared', '--by-me')
    expect(mine.items.map(({ name, shares }) => [name, shares.map((one) => one.with.name)])).toEqual([
      ['report.txt', ['bob']],
    ])
    expect(await say('shared')).toEqual({ items: [], nextCursor: null })
    expect(await run.stop('SIGTERM')).toBe(0)
    const { items } = await bob.json<{ items: Shown[] }>(['shared'])
    expect(items).toMatchObject([{ name: 'report.txt', shares: [{ message: 'für dich' }] }])
    expect((await bob.run(['shared'])).stdout.toString()).toMatch(/ alice\n$/)
    // By its name, as what is his own.
    const text = await bob.run(['cat', 'report.txt'])
    expect([text.stdout.toString(), text.stderr]).toEqual(['the first version', ''])

    const ended = await alice.run(['unshare', 'report.txt', '--with', 'bob'])
    expect([ended.exitCode, ended.stderr]).toEqual([0, expect.stringContaining('stores its full size again')])
    expect(await say('access', 'report.txt')).toMatchObject([{ through: 'member' }])
    expect(await refused('unshare', 'report.txt', '--with', 'bob')).toEqual([4, 'NOT_FOUND'])
  })

  test('are shared with a group by who is not in it: somebody of it has taken that before the command ends', async () => {
    await bob.json(['group', 'create', 'data-team'])
    const listen = ['--listen', await placeOf(bob)]
    const { ticket } = await bob.json<{ ticket: string }>(['group', 'ticket', 'data-team', ...listen])
    await bob.json(['agent', 'add', 'somebody', stranger])
    await say('agent', 'add', 'their-team', ticket)
    expect(await refused('share', 'report.txt', '--group', 'their-team')).toEqual([10, 'UNAVAILABLE'])
    await using again = new Staying(bob, ['run', ...listen])
    await again.next()
    await say('share', 'report.txt', '--group', 'their-team')
    const rows = await say<{ through: string }[]>('access', 'report.txt')
    expect(rows.filter(({ through }) => through === 'group')).toMatchObject([{ name: 'their-team', told: 'taken' }])
    await say('share', 'report.txt', '--group', 'their-team', '--message', 'once more')
    const { stdout } = await alice.run(['shared', '--by-me'])
    expect(stdout.toString().match(/their-team/g)).toHaveLength(1)
    await say('unshare', 'report.txt', '--group', 'their-team')
  })

  test('are taken back, and who is on the network has heard of it before the command ends: by unshare and by removal from a group', async () => {
    const listen = ['--listen', await placeOf(bob)]
    const { ticket } = await bob.json<{ ticket: string }>(['agent', 'ticket', ...listen])
    await say('agent', 'add', 'bob', ticket)
    await alice.json(['put', '-', '--name', 'lent.txt'], { input: 'for a while' })
    const { id: artifactId } = await say<{ id: string }>('info', 'lent.txt')
    await say('group', 'create', 'short-team')
    await using watching = new Staying(bob, ['watch', '--all', ...listen])
    // Before it is on the network nobody can tell it anything, however long a command stays.
    await say('ping', 'bob', '--timeout', '2m')
    const told = async () => {
      const { kind, reason } = await watching.until<Told>((one) => one.artifactId === artifactId)
      return [kind, reason]
    }
    await say('share', 'lent.txt', '--with', 'bob')
    expect(await told()).toEqual(['shared', undefined])
    await say('unshare', 'lent.txt', '--with', 'bob')
    expect(await told()).toEqual(['unshared', 'REVOKED'])

    await say('group', 'add', 'short-team', 'bob')
    await say('share', 'lent.txt', '--group', 'short-team')
    expect(await told()).toEqual(['shared', undefined])
    await say('unshare', 'lent.txt', '--group', 'short-team')
    expect(await told()).toEqual(['unshared', 'REVOKED'])
    await say('share', 'lent.txt', '--group', 'short-team')
    expect(await told()).toEqual(['shared', undefined])
    expect(await say('group', 'rm', 'short-team', 'bob')).toMatchObject({ removed: ['bob'], told: true })
    expect(await told()).toEqual(['unshared', 'GROUP_EPOCH'])
  })

  const wrong: [string[], ErrorCode][] = [
    [['share', 'report.txt'], 'INVALID_ARGUMENT'],
    [['share', 'no-such-thing', '--with', stranger], 'NOT_FOUND'],
    [['share', 'report.txt', '--with', 'nobody'], 'NOT_FOUND'],
    [['share', 'report.txt', '--group', 'no-group'], 'NOT_FOUND'],
    [['share', 'report.txt', '--group', stranger], 'NOT_FOUND'],
    ...['-5', '0s', 'soon'].map((text): [string[], ErrorCode] => [
      ['share', 'report.txt', '--with', stranger, '--expires', text],
      'INVALID_ARGUMENT',
    ]),
    [['share', 'report.txt', '--with', stranger, '--expires', '400000d'], 'INVALID_ARGUMENT'],
    [['share', 'report.txt', '--with', stranger, '--message', 'x'.repeat(1_025)], 'TOO_LARGE'],
    [['unshare', 'report.txt', '--with', stranger], 'NOT_FOUND'],
    [['access', 'no-such-thing'], 'NOT_FOUND'],
    [['inbox', 'accept', 'nonsense'], 'INVALID_ARGUMENT'],
    [['inbox', 'drop', '0'.repeat(32)], 'NOT_FOUND'],
    [['group', 'join', 'nonsense'], 'INVALID_ARGUMENT'],
  ]
  test('what is wrong is refused, each with its code, and changes nothing', async () => {
    const before = [await say('access', 'report.txt'), await say('status')]
    const told: [string, string][] = []
    for (const [args] of wrong) told.push([args.join(' '), (await refused(...args, '--network', 'offline'))[1]])
    expect(told).toEqual(wrong.map(([args, code]) => [args.join(' '), code]))
    const after = [await say('access', 'report.txt'), await say('status')]
    expect(after.map(withoutTimes)).toEqual(before.map(withoutTimes))
  })

  test('no key is in anything that is said meanwhile, nor in what commands are given', async () => {
    await say('group', 'create', 'ml-team')
    await say('group', 'add', 'ml-team', stranger, '--network', 'offline')
    await say('update', 'report.txt', '--meta', 'kind=report')
    for (const command of ['status', 'agent ls', 'group ls', 'ns ls', 'ns members', 'group members ml-team'])
      await say(...command.split(' '))
    for (const command of ['ls', 'inbox ls', 'shared --by-me', 'versions report.txt', 'info report.txt', 'check', 'du'])
      await say(...command.split(' '))
    const file = join(alice.folder, 'team.key')
    said.push(JSON.stringify(await alice.json(['network-key', file])))
    const keys = await keysIn(alice.dataDir)
    keys.set('network key', Buffer.from((await readFile(file, 'utf8')).trim().split('\n').at(-1) ?? '', 'hex'))
    expect(keys.size).toBeGreaterThan(15)
    const text = said.join('\n')
    const found = [...keys].filter(([, key]) => spellings(key).some((one) => one !== '' && text.includes(one)))
    expect(found.map(([what]) => what)).toEqual([])
  })
})
