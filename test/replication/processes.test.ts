import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { MemberProcess } from './member-process.ts'

const members = 8
/** Writes of each member between two kills. */
const steps = 6
const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

/** A bound on hangs: it takes half a minute where nothing else runs. */
const timeoutMs = 400_000

test(`${members} processes that write at random and are killed at random converge, seed ${seed}`, {
  timeout: timeoutMs,
}, async () => {
  const random = numbers(seed)
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-processes-'))
  await using cleanUp = new AsyncDisposableStack()
  cleanUp.defer(() => rm(folder, { recursive: true, force: true }))
  const ports = await freePorts(members)
  const written: string[] = []
  const deleted = new Set<string>()
  const all = ports.map((port, at) => {
    const member = new MemberProcess(join(folder, String(at)), port, (line) => {
      if (line.wrote !== undefined) written.push(String(line.wrote))
      if (line.deleting !== undefined) deleted.add(String(line.deleting))
    })
    return cleanUp.use(member)
  })
  const [owner, ...others] = all as [MemberProcess, ...MemberProcess[]]
  await Promise.all(all.map((member) => member.start()))
  await owner.ask({ do: 'create' })
  const ticket = (await owner.ask({ do: 'grant', agents: others.map(({ did }) => did) })) as string
  await Promise.all(others.map((member) => member.ask({ do: 'join', ticket })))

  // Each is killed once at some time of its work, all in one stretch of time, and works again.
  await Promise.all(
    all.map(async (member, at) => {
      const work = member.ask({ do: 'work', steps, seed: seed + at }).catch(() => {})
      const writes = Math.floor(random() * steps)
      const enough = Promise.withResolvers<void>()
      const before = written.length
      const timer = setInterval(() => written.length - before >= writes * 4 && enough.resolve(), 5)
      await Promise.race([work, enough.promise])
      clearInterval(timer)
      await member.kill()
      await work
      await member.start()
      await member.ask({ do: 'work', steps, seed: seed + members + at })
    }),
  )

  // Who found nobody while the others were dead tries again after a minute at most.
  const state = await vi.waitFor(
    async () => {
      const states = await Promise.all(all.map((member) => member.ask({ do: 'state' })))
      for (const one of states) expect(one).toEqual(states[0])
      return states[0] as { readonly logHash: string; readonly list: readonly string[] }
    },
    { timeout: 120_000, interval: 100 },
  )
  expect(state.logHash).toMatch(/^[0-9a-f]{64}$/)
  const ids = new Set(state.list.map((line) => line.split(' ')[0]))
  // Nothing that was acknowledged is lost, unless somebody deleted it.
  const lost = written.filter((line) => !ids.has(line.split(' ')[0]) && !deleted.has(line.split(' ')[0] as string))
  expect(lost).toEqual([])
  expect(written.length).toBeGreaterThan(members * steps * 0.8)
  // Every artifact is readable everywhere, wherever it was written.
  const read = await Promise.all(all.map((member) => member.ask({ do: 'read' })))
  expect(read).toEqual(all.map(() => state.list.length))
})

/** Ports that were free a moment ago: a member that is killed comes back where the others look for it. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
