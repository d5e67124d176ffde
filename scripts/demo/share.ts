import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { isHubError } from 'artifact-hub'
import { formatBytes } from '../../node/cli/text/index.ts'
import { Agent } from './agent.ts'
import { must, rate, say, seconds, sha256Of, shown, step, timed, until } from './show.ts'

const team = 'team'
/** Milliseconds that agents who are connected may take to hear of something. */
const momentsMs = 10_000

/** The agents of this part; `replica` has no keys. */
interface Agents {
  readonly alice: Agent
  readonly bob: Agent
  readonly carol: Agent
  readonly replica: Agent
}

/**
 * Three agents and a replica, each a process with a data directory of its own, share a namespace over 127.0.0.1.
 * @throws when anything is not as promised
 */
export async function shareBetweenAgents(folder: string, file: string): Promise<void> {
  step('Start three agents and a replica, each in a process of its own')
  await using stack = new AsyncDisposableStack()
  const start = async (name: string): Promise<Agent> => stack.use(await Agent.start(name, join(folder, name)))
  const { value: agents, ms } = await timed(async () => {
    const [alice, bob, carol, replica] = await Promise.all(['alice', 'bob', 'carol', 'replica'].map(start))
    return { alice, bob, carol, replica } as Agents
  })
  for (const { name, did } of Object.values(agents) as Agent[]) say(`${name}: ${did}`)
  say(`all four in ${seconds(ms)}`)

  await shareNamespace(agents)
  await writeAndSee(agents)
  const shared = await storeWithCopy(agents, file)
  await readFromReplica(agents, shared, { file, out: join(folder, 'from-the-replica') })
  await removeMember(agents)
}

async function shareNamespace({ alice, bob, carol, replica }: Agents): Promise<void> {
  step('Alice makes a namespace and grants roles; the others join with its ticket')
  await alice.ask('createNamespace', { name: team })
  const grants = [
    [bob, 'writer'],
    [carol, 'reader'],
    [replica, 'replica'],
  ] as const
  const { ms } = await timed(async () => {
    for (const [agent, role] of grants) {
      await alice.ask('addContact', { name: agent.name, ticket: await agent.ask('ticket', undefined) })
      await alice.ask('grant', { namespace: team, agent: agent.name, role })
    }
    // Made after the grants, it names all of their nodes.
    const ticket = await alice.ask('namespaceTicket', { namespace: team })
    say(`ticket ${ticket.slice(0, 40)}… of ${ticket.length} characters: an id and addresses, no right to anything`)
    await Promise.all(grants.map(([agent]) => agent.ask('join', { ticket })))
  })
  for (const { name, did, role } of await carol.ask('members', { namespace: team }))
    say(`${role.padEnd(7)} ${name ?? did}`)
  say(`granted and joined in ${seconds(ms)}`)
}

async function writeAndSee({ alice, bob, carol, replica }: Agents): Promise<void> {
  step('Bob writes; Alice and Carol see it, the replica cannot')
  const name = 'finding.txt'
  await Promise.all([alice, carol].map((agent) => agent.ask('lookOut', { namespace: team, name })))
  const content = 'It was the temperature.'
  const { value: written, atMs } = await bob.askWhen('createSnippet', { namespace: team, name, content })
  for (const agent of [alice, carol]) {
    const afterMs = ((await agent.ask('seen', { name })) ?? Number.NaN) - atMs
    must(afterMs < momentsMs, `${agent.name} sees within moments what Bob wrote`)
    must((await agent.ask('download', { artifactId: written.id })) === content, `${agent.name} reads what Bob wrote`)
    say(`${agent.name} sees it ${Math.max(0, afterMs).toFixed(1)} ms after Bob's call returned, and reads it`)
  }
  await until('the replica has the entry', async () => {
    const [here, there] = await Promise.all([replica, bob].map((agent) => agent.ask('standing', { namespace: team })))
    return here?.entries === there?.entries
  })
  must((await replica.ask('list', { namespace: team })).length === 0, 'a replica cannot read names')
  say('the replica has the entry too, and lists nothing: it has no keys')
}

async function storeWithCopy({ alice, replica }: Agents, file: string): Promise<{ id: string; name: string }> {
  step(`Alice stores ${file}, and waits until another node has it on its disk`)
  const { size } = await stat(file)
  const { value, ms } = await shown('storing', (onProgress) =>
    alice.ask('uploadFile', { namespace: team, path: file, replicas: 1 }, onProgress),
  )
  must(value.replicas?.confirmed.includes(replica.did) === true, 'the replica confirms its copy')
  say(`${formatBytes(size)} stored here and there in ${seconds(ms)}: ${rate(size, ms)}`)
  return { id: value.id, name: value.name }
}

async function readFromReplica(
  { alice, bob, carol, replica }: Agents,
  { id, name }: { id: string; name: string },
  { file, out }: { file: string; out: string },
): Promise<void> {
  step('Alice goes offline; Carol reads it from the replica, who cannot')
  await alice.stop()
  say('the process of Alice has ended')
  const { versions, unreachable } = await carol.ask('where', { artifactId: id })
  const holders = versions[0]?.nodes ?? []
  const names = new Map([alice, bob, carol, replica].map((agent) => [agent.did, agent.name]))
  for (const { did, holds } of holders) say(`${names.get(did)}: ${holds}`)
  must(unreachable.includes(alice.did), 'Alice cannot be reached')
  must(
    holders.every(({ did, holds }) => (holds === 'all') === (did === replica.did)),
    'only the replica has it',
  )
  const { ms } = await shown('fetching', (onProgress) =>
    carol.ask('downloadFile', { artifactId: id, path: out }, onProgress),
  )
  const { size } = await stat(out)
  must((await sha256Of(out)) === (await sha256Of(file)), 'what Carol fetched is what Alice stored')
  say(`${name}: ${formatBytes(size)} in ${seconds(ms)}: ${rate(size, ms)}, the same SHA-256 as ${basename(file)}`)
  const refused = await replica.ask('download', { artifactId: id }).catch((error: unknown) => error)
  must(isHubError(refused), 'the replica cannot read what it stores')
  say(`the replica itself: ${refused.code}`)
}

async function removeMember({ alice, bob, carol, replica }: Agents): Promise<void> {
  step('Alice comes back and removes Bob, who is away and goes on writing: it counts nowhere')
  await bob.goOffline()
  await alice.goOnline()
  await alice.ask('revoke', { namespace: team, agent: 'bob' })
  const late = await bob.ask('createSnippet', { namespace: team, name: 'late.txt', content: 'Nobody told me.' })
  must(
    (await bob.ask('list', { namespace: team })).some(({ id }) => id === late.id),
    'Bob himself lists it',
  )
  say('Bob, offline, knows nothing of it, and writes late.txt')
  await bob.goOnline()
  const refused = await until('Bob is turned away', async () => {
    const failure = await bob.ask('list', { namespace: team }).then(
      () => undefined,
      (error: unknown) => error,
    )
    return isHubError(failure, 'ACCESS_DENIED') ? failure : undefined
  })
  say(`Bob is back, and learns that he is a member no more: ${refused.message}`)
  const name = 'after.txt'
  await carol.ask('lookOut', { namespace: team, name })
  const after = await alice.ask('createSnippet', { namespace: team, name, content: 'Between us.' })
  await carol.ask('seen', { name })
  for (const agent of [alice, carol]) {
    const listed = await agent.ask('list', { namespace: team })
    must(
      listed.some(({ id }) => id === after.id),
      `${agent.name} lists what was written since`,
    )
    must(
      listed.every(({ id }) => id !== late.id),
      `${agent.name} does not list what a removed member wrote`,
    )
    say(`${agent.name} lists ${listed.map((one) => one.name).join(', ')}`)
  }
  for (const { id } of [after, late]) {
    const denied = await bob.ask('download', { artifactId: id }).catch((error: unknown) => error)
    must(isHubError(denied), 'Bob gets nothing any more')
  }
  say('Bob is not given what was written since, nor what he has of before')
  const members = await replica.ask('members', { namespace: team })
  must(
    members.every(({ did }) => did !== bob.did),
    'the replica knows that Bob was removed',
  )
}
