import { Argument, Option } from 'commander'
import type { Namespace, NamespaceUsage } from '../../../sdk/client.ts'
import { type PlanName, plans } from '../../../src/limits.ts'
import type { CommandGroup } from '../command.ts'
import type { Session } from '../session.ts'
import { fieldLines, formatBytes, formatCount, formatTime } from '../text/index.ts'
import { memberCommands } from './members.ts'
import { mustConfirm } from './remove.ts'

const planNames = Object.keys(plans) as PlanName[]

/** `ns …`: namespaces, and what they may hold. */
export const namespaceCommands: CommandGroup = (program, act) => {
  const group = program
    .command('ns')
    .description('namespaces: create, list, switch, delete, usage, plan, members, tickets')
  group
    .command('create')
    .description('create a namespace')
    .argument('<name>', 'its name on this node')
    .addOption(new Option('--plan <plan>', 'what it may hold').choices(planNames))
    .action(act(create))
  group.command('ls').description('list the namespaces').action(act(list))
  group
    .command('use')
    .description('make a namespace the current one')
    .argument('<namespace>', 'name or id')
    .action(act(use))
  group
    .command('rm')
    .description('delete a namespace from this node, with its log and its blocks')
    .argument('<namespace>', 'name or id')
    .option('-y, --yes', 'do not ask')
    .action(act(remove))
  group
    .command('usage')
    .description('show what a namespace holds against its plan')
    .argument('[namespace]', 'name or id (default: the current one)')
    .action(act(usage))
  group
    .command('plan')
    .description('set the plan of a namespace')
    .argument('<namespace>', 'name or id')
    .addArgument(new Argument('<plan>', 'the plan').choices(planNames))
    .action(act(setPlan))
  memberCommands(group, act)
}

async function create(session: Session, options: { plan?: PlanName }, name: string): Promise<void> {
  const client = await session.client()
  const created = await client.namespace.create({ name, plan: options.plan, signal: session.signal })
  await session.result(namespaceJson(created), namespaceLine(created))
  session.note('`artifact-hub ns use` makes it the current one; --ns NAME uses it once')
}

async function list(session: Session): Promise<void> {
  const client = await session.client()
  const all = await client.namespace.list({ signal: session.signal })
  const table = session.table<Namespace>([
    { title: '', cell: (row) => (row.current ? '*' : '') },
    { title: 'NAME', cell: (row) => row.name, shrinkTo: 16 },
    { title: 'PLAN', cell: (row) => row.plan },
    { title: 'CREATED', cell: (row) => formatTime(row.createdAt, 'short') },
    { title: 'ID', cell: (row) => row.id },
  ])
  await session.result(all.map(namespaceJson), table.render(all))
}

async function use(session: Session, _options: unknown, namespace: string): Promise<void> {
  const client = await session.client()
  const current = await client.namespace.use({ namespace, signal: session.signal })
  await session.result(namespaceJson(current), namespaceLine(current))
}

async function remove(session: Session, options: { yes?: boolean }, reference: string): Promise<void> {
  const client = await session.client()
  const { signal } = session
  const namespace = await client.namespace.get({ namespace: reference, signal })
  const { artifacts } = await client.namespace.usage({ namespace: namespace.id, signal })
  const held = formatCount(artifacts, 'artifact')
  await mustConfirm(session, options.yes, `Delete the namespace "${namespace.name}" and its ${held} from this node?`)
  await client.namespace.delete({ namespace: namespace.id, signal })
  await session.result(
    { deleted: { id: namespace.id, name: namespace.name } },
    fieldLines([['deleted', namespace.name]]),
  )
}

async function usage(session: Session, _options: unknown, reference: string | undefined): Promise<void> {
  const client = await session.client()
  const found = await client.namespace.usage({ namespace: reference ?? session.namespace, signal: session.signal })
  await session.result(usageJson(found), usageText(found))
}

async function setPlan(
  session: Session,
  _options: unknown,
  namespace: string,
  plan: string | undefined,
): Promise<void> {
  const client = await session.client()
  const changed = await client.namespace.setPlan({ namespace, plan: plan as PlanName, signal: session.signal })
  await session.result(namespaceJson(changed), namespaceLine(changed))
}

function namespaceJson(namespace: Namespace): Record<string, unknown> {
  const { id, name, plan, owner, createdAt, current } = namespace
  return { id, name, plan, owner, createdAt: createdAt.toISOString(), current }
}

function namespaceLine(namespace: Namespace): string {
  return fieldLines([[namespace.id, `${namespace.name}  ${namespace.plan}${namespace.current ? '  current' : ''}`]])
}

/** JSON has no infinity: an absent bound is null. */
function usageJson(usage: NamespaceUsage): Record<string, unknown> {
  const { namespace, plan, usedBytes, artifacts, limits } = usage
  const bounded = (bytes: number): number | null => (Number.isFinite(bytes) ? bytes : null)
  return {
    namespace,
    plan,
    usedBytes,
    artifacts,
    limits: { maxFileBytes: bounded(limits.maxFileBytes), maxTotalBytes: bounded(limits.maxTotalBytes) },
  }
}

function usageText(usage: NamespaceUsage): string {
  const { usedBytes, limits } = usage
  const share = Number.isFinite(limits.maxTotalBytes)
    ? ` (${Math.floor((usedBytes / limits.maxTotalBytes) * 100)} %)`
    : ''
  return fieldLines([
    ['namespace', usage.namespace],
    ['plan', usage.plan],
    ['used', `${formatBytes(usedBytes)} of ${formatBytes(limits.maxTotalBytes)}${share}`],
    ['artifacts', usage.artifacts.toLocaleString('en-US')],
    ['largest file', formatBytes(limits.maxFileBytes)],
  ])
}
