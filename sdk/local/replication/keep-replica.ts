import { formatNamespaceId } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import type { Ticket } from '../../../src/identity/index.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from './replication.ts'

/**
 * Joins the namespace of a ticket as soon as this agent has a role in it, and fetches it eagerly. While it is out of reach, for the role was taken away, this waits for
 * another one. Resolves when somebody here leaves it while it is in reach, or the signal fires.
 * @throws as `Replication.join`
 */
export async function keepReplica(replication: Replication, ticket: Ticket, signal: AbortSignal): Promise<void> {
  for (;;) {
    const namespace = await join(replication, ticket, signal)
    if (namespace === undefined) continue
    await replication.setPolicy(namespace, { ...replication.policyOf(namespace), fetch: 'eager' })
    if ((await closingOf(replication, namespace, signal)) !== 'ended') return
  }
}

/** `undefined` when somebody else was joining it: it is to be looked at again. */
async function join(replication: Replication, ticket: Ticket, signal: AbortSignal): Promise<OpenNamespace | undefined> {
  const { namespaces, joins, env } = replication
  const idText = formatNamespaceId(ticket.id)
  const known = namespaces.all.find(({ log }) => log.idText === idText)
  if (known !== undefined && !joins.isJoining(ticket.id)) {
    await replication.know(known, ticket.peers)
    return known
  }
  if (namespaces.endingOf(ticket.id) !== undefined)
    env.warn?.('this agent has no role any more in a namespace that it is to replicate, and waits for one', {
      namespace: idText,
    })
  const name = namespaces.nameFor('namespace', ticket.id, ticket.name ?? idText.slice(0, 12))
  try {
    return await replication.join(ticket, { name, isWaiting: true, signal })
  } catch (error) {
    // Somebody here, or news of a role, was quicker.
    if (!isHubError(error, 'CONFLICT') && !isHubError(error, 'ALREADY_EXISTS')) throw error
    await joins.settled(ticket.id)
    return undefined
  }
}

/** Resolves when a namespace is open no more. */
async function closingOf(
  { namespaces }: Replication,
  namespace: OpenNamespace,
  signal: AbortSignal,
): Promise<'ended' | 'left' | 'closed'> {
  const { promise, resolve } = Promise.withResolvers<'ended' | 'left' | 'closed'>()
  const onAbort = (): void => resolve('closed')
  signal.addEventListener('abort', onAbort, { once: true })
  const stop = namespaces.observe({
    opened: () => {},
    closing: async (one, isKept) => {
      if (one === namespace) resolve(isKept ? 'ended' : 'left')
    },
  })
  if (signal.aborted) onAbort()
  // It may be so already.
  else if (!namespaces.all.includes(namespace))
    resolve(namespaces.endingOf(namespace.row.id) === undefined ? 'left' : 'ended')
  try {
    return await promise
  } finally {
    stop()
    signal.removeEventListener('abort', onAbort)
  }
}
