import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AgentKey } from '../src/identity/index.ts'
import { CliPlace } from './support/cli-process.ts'

const offline = ['--network', 'offline']
const bob = new AgentKey(new Uint8Array(32).fill(2)).did

describe('groups through the CLI', () => {
  let place: CliPlace
  beforeAll(async () => {
    place = await CliPlace.create()
  })
  afterAll(async () => {
    await place?.[Symbol.asyncDispose]()
  })

  test('are made and filled, and given roles', async () => {
    const created = await place.json<{ id: string }>(['group', 'create', 'data-team'])
    expect(created).toMatchObject({ name: 'data-team', role: 'owner', members: 1 })
    await place.json(['agent', 'add', 'bob', bob])
    const added = await place.json(['group', 'add', 'data-team', 'bob', '--admin', ...offline])
    expect(added).toMatchObject({ group: created.id, added: [{ did: bob, role: 'admin', name: 'bob', told: false }] })
    expect(await place.json(['group', 'members', created.id])).toHaveLength(2)
    const table = await place.run(['group', 'ls'])
    expect(table.stdout.toString()).toMatch(/data-team +owner +2 +grp_/)
    const { ticket } = await place.json<{ ticket: string }>(['group', 'ticket', 'data-team'])
    expect(await place.json(['agent', 'add', 'the-team', ticket])).toEqual({ name: 'the-team', group: created.id })

    const granted = await place.json(['ns', 'grant', '--group', 'data-team', 'writer', ...offline])
    expect(granted).toMatchObject({ group: created.id, role: 'writer', members: 2 })
    expect(await place.json(['ns', 'members'])).toHaveLength(2)
    expect((await place.run(['ns', 'revoke', '--group', 'data-team', ...offline])).exitCode).toBe(0)
    expect(await place.json(['ns', 'members'])).toHaveLength(1)
  })

  test('are emptied and left', async () => {
    const created = await place.json<{ id: string }>(['group', 'create', 'ml-team'])
    await place.json(['group', 'add', 'ml-team', bob, ...offline])
    const removed = await place.json(['group', 'rm', 'ml-team', bob, ...offline])
    expect(removed).toEqual({ group: created.id, removed: [bob], told: false })
    const status = await place.json<{ groups: { name: string }[] }>(['status', ...offline])
    expect(status.groups.find(({ name }) => name === 'ml-team')).toMatchObject({
      members: 1,
      owed: { rotation: false, boxes: [], keys: [] },
    })
    expect((await place.run(['group', 'leave', 'ml-team'])).exitCode).toBe(2)
    await place.json(['group', 'leave', 'ml-team', '--yes'])
    expect((await place.run(['group', 'members', 'ml-team'])).exitCode).toBe(4)
  })
})
