import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { isHubError } from '../../src/errors.ts'
import { formatSwarmKey } from '../network/index.ts'
import { networkStart } from './network-options.ts'

const listen = ['/ip4/127.0.0.1/tcp/4001']
const everything = {
  ARTIFACT_HUB_NETWORK: 'public',
  ARTIFACT_HUB_LISTEN: '/ip4/127.0.0.1/tcp/1  /ip4/127.0.0.1/tcp/2',
  ARTIFACT_HUB_ANNOUNCE: '/dns4/hub.example.org/tcp/4001',
  ARTIFACT_HUB_BOOTSTRAP: '/ip4/127.0.0.1/tcp/3/p2p/x',
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return await work.then(
    () => undefined,
    (error: unknown) => (isHubError(error) ? error.code : String(error)),
  )
}

describe('the network that a command starts with', () => {
  test('is none for what needs only the disk, whatever the environment says', async () => {
    expect(await networkStart({}, 'disk', {})).toEqual({ network: 'offline' })
    expect(await networkStart({}, 'disk', everything)).toEqual({ network: 'offline' })
  })

  test('is the one nearby for what needs peers', async () => {
    expect(await networkStart({}, 'peers', {})).toMatchObject({ network: 'lan', listen: undefined })
  })

  test('is there for any command that is given an option of it', async () => {
    expect(await networkStart({ listen }, 'disk', {})).toMatchObject({ network: 'lan', listen })
    expect(await networkStart({ network: 'public' }, 'disk', {})).toMatchObject({ network: 'public' })
  })

  test('takes from the environment what the options do not say', async () => {
    const start = await networkStart({ listen }, 'peers', everything)
    const announce = ['/dns4/hub.example.org/tcp/4001']
    expect(start).toMatchObject({ network: 'public', listen, announce, bootstrap: ['/ip4/127.0.0.1/tcp/3/p2p/x'] })
    const elsewhere = ['/ip4/203.0.113.7/tcp/1']
    expect(await networkStart({ announce: elsewhere }, 'disk', everything)).toMatchObject({ announce: elsewhere })
    const { listen: both } = await networkStart({}, 'peers', everything)
    expect(both).toEqual(['/ip4/127.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/2'])
    expect(await codeOf(networkStart({}, 'peers', { ARTIFACT_HUB_NETWORK: 'moon' }))).toBe('INVALID_ARGUMENT')
  })

  test('is none when an option or the environment says offline', async () => {
    expect(await networkStart({ network: 'offline' }, 'peers', everything)).toEqual({ network: 'offline' })
    expect(await networkStart({}, 'peers', { ARTIFACT_HUB_NETWORK: 'offline' })).toEqual({ network: 'offline' })
    expect(await codeOf(networkStart({ network: 'offline', listen }, 'peers', {}))).toBe('INVALID_ARGUMENT')
  })

  test('is private with a key, and only with one', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'artifact-hub-key-'))
    const networkKeyFile = join(folder.path, 'key')
    const key = new Uint8Array(32).fill(7)
    await writeFile(networkKeyFile, formatSwarmKey(key))
    expect(await networkStart({ networkKeyFile }, 'disk', {})).toMatchObject({ network: 'private', networkKey: key })
    const inEnvironment = { ARTIFACT_HUB_NETWORK_KEY_FILE: networkKeyFile }
    expect(await networkStart({}, 'peers', inEnvironment)).toMatchObject({ network: 'private', networkKey: key })
    expect(await codeOf(networkStart({ network: 'private' }, 'disk', {}))).toBe('INVALID_ARGUMENT')
    expect(await codeOf(networkStart({ network: 'lan', networkKeyFile }, 'disk', {}))).toBe('INVALID_ARGUMENT')
    await writeFile(networkKeyFile, 'no key')
    expect(await codeOf(networkStart({ networkKeyFile }, 'disk', {}))).toBe('INVALID_ARGUMENT')
    expect(await codeOf(networkStart({ networkKeyFile: join(folder.path, 'none') }, 'disk', {}))).toBe('NOT_FOUND')
  })
})
