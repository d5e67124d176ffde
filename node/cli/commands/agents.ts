import type { Contact } from '../../../sdk/peer-client.ts'
import type { CommandGroup } from '../command.ts'
import type { Session } from '../session.ts'
import { fieldLines } from '../text/index.ts'

/** Who is who: `id`, and `agent …` for this agent's ticket and names for others. */
export const agentCommands: CommandGroup = (program, act) => {
  program
    .command('id')
    .description('print this agent’s DID, and with --network or --listen where it can be dialled')
    .action(act(id))
  const group = program.command('agent').description('other agents by name, and this one’s ticket')
  group
    .command('ticket')
    .description('print this agent’s ticket: one string with its DID and, with --listen, its addresses')
    .addHelpText('after', ticketHelp)
    .action(act(ticket))
  group
    .command('add')
    .description('give an agent a name on this node; again with a new ticket, it brings its addresses up to date')
    .argument('<name>', 'the name; every command takes it where an agent is meant')
    .argument('<agent>', 'its ticket or its DID')
    .addHelpText('after', '\nExample:\n  artifact-hub agent add bob ahub1…')
    .action(act(add))
  group.command('ls').description('list the agents that have a name here').action(act(list))
  group
    .command('rm')
    .description('forget an agent’s name; what it may do stays as it is')
    .argument('<name>', 'its name here')
    .action(act(remove))
}

const ticketHelp = `
A ticket gives no right to anything. It starts no network by itself: --listen with the address and port that \`run\` uses puts
that address into it; without one, others find this agent on their own network only.

Example:
  artifact-hub agent ticket --listen /ip4/192.0.2.7/tcp/4001`

async function id(session: Session): Promise<void> {
  const client = await session.client()
  const { did, addresses } = await client.agent.self({ signal: session.signal })
  await session.result({ did, addresses }, [did, ...addresses].map((line) => `${line}\n`).join(''))
}

async function ticket(session: Session): Promise<void> {
  const client = await session.client()
  const made = await client.agent.ticket({ signal: session.signal })
  await session.result({ ticket: made }, `${made}\n`)
}

async function add(session: Session, _options: unknown, name: string, agent: string): Promise<void> {
  const client = await session.client()
  const named = agent.startsWith('did:') ? { did: agent } : { ticket: agent }
  const contact = await client.agent.add({ name, ...named, signal: session.signal })
  await session.result(contactJson(contact), fieldLines([[contact.name, idOf(contact)]]))
}

async function list(session: Session): Promise<void> {
  const client = await session.client()
  const contacts = await client.agent.list({ signal: session.signal })
  const table = session.table<Contact>([
    { title: 'NAME', cell: (row) => row.name, shrinkTo: 16 },
    { title: 'ID', cell: idOf },
    { title: 'ADDRESSES', cell: (row) => (row.did === undefined ? '' : row.addresses.join(' ')), shrinkTo: 12 },
  ])
  await session.result(contacts.map(contactJson), contacts.length === 0 ? '' : table.render(contacts))
  if (contacts.length === 0) session.note('no agent has a name here: `artifact-hub agent add NAME TICKET` gives one')
}

async function remove(session: Session, _options: unknown, name: string): Promise<void> {
  const client = await session.client()
  await client.agent.remove({ name, signal: session.signal })
  await session.result({ removed: { name } }, fieldLines([['removed', name]]))
}

function idOf(contact: Contact): string {
  return contact.did ?? contact.group
}

function contactJson(contact: Contact): Record<string, unknown> {
  if (contact.did === undefined) return { name: contact.name, group: contact.group }
  const { name, did, addresses } = contact
  return { name, did, addresses }
}
