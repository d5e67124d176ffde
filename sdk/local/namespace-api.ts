import { formatDid } from '../../src/identity/index.ts'
import type { Namespace, NamespaceApi } from '../client.ts'
import { checked, shapes } from './arguments.ts'
import type { Groups } from './groups/groups.ts'
import type { OpenNamespace } from './namespace-book.ts'
import type { OpenCalls } from './open-calls.ts'

/** The namespace calls over this process's own namespaces. */
export function createNamespaceApi(groups: Groups, calls: OpenCalls): NamespaceApi {
  const { replication } = groups
  const { namespaces } = replication
  const present = (namespace: OpenNamespace): Namespace => {
    const { name, plan, owner, createdMs } = namespace.row
    const current = namespaces.isCurrent(namespace)
    return { id: namespace.log.idText, name, plan, owner: formatDid(owner), createdAt: new Date(createdMs), current }
  }
  // What is being joined has still to show that it lets this agent in.
  const isWhole = ({ row }: OpenNamespace): boolean => !replication.joins.isJoining(row.id)
  return {
    create: async (options) =>
      await calls.run(checked('namespace.create', shapes.namespaceCreate, options), async ({ name, plan }) =>
        present(await namespaces.create(name, plan ?? 'enterprise')),
      ),
    list: async (options) =>
      await calls.run(checked('namespace.list', shapes.nothing, options), async () =>
        namespaces.all.filter(isWhole).map(present),
      ),
    get: async (options) =>
      await calls.run(checked('namespace.get', shapes.namespace, options), async ({ namespace }) =>
        present(namespaces.find(namespace)),
      ),
    use: async (options) =>
      await calls.run(checked('namespace.use', shapes.namespace, options), async ({ namespace }) =>
        present(await namespaces.use(namespace)),
      ),
    setPlan: async (options) =>
      await calls.run(checked('namespace.setPlan', shapes.namespacePlan, options), async ({ namespace, plan }) => {
        const changed = await namespaces.setPlan(namespace, plan)
        replication.planChanged(changed)
        return present(changed)
      }),
    usage: async (options) =>
      await calls.run(checked('namespace.usage', shapes.maybeNamespace, options), async ({ namespace }) => {
        const { row, log, quota } = namespaces.find(namespace)
        const { artifacts } = await log.catalog.counts()
        const { leafBytes: usedBytes } = log.totals
        return { namespace: log.idText, plan: row.plan, usedBytes, artifacts, limits: quota.limits }
      }),
    delete: async (options) =>
      await calls.run(
        checked('namespace.delete', shapes.namespace, options),
        async ({ namespace }) => await groups.leaveNamespace(namespace),
      ),
  }
}
