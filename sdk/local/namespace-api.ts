import { formatDid } from '../../src/identity/index.ts'
import type { Namespace, NamespaceApi } from '../client.ts'
import { checked, shapes } from './arguments.ts'
import type { LocalNamespaces, OpenNamespace } from './namespaces.ts'

/** The namespace calls over this process's own namespaces. */
export function createNamespaceApi(namespaces: LocalNamespaces): NamespaceApi {
  const present = (namespace: OpenNamespace): Namespace => {
    const { name, plan, owner, createdMs } = namespace.row
    const current = namespaces.isCurrent(namespace)
    return { id: namespace.log.idText, name, plan, owner: formatDid(owner), createdAt: new Date(createdMs), current }
  }
  return {
    async create(options) {
      const { name, plan = 'enterprise' } = checked('namespace.create', shapes.namespaceCreate, options)
      return present(await namespaces.create(name, plan))
    },
    async list(options) {
      checked('namespace.list', shapes.nothing, options)
      return namespaces.all.map(present)
    },
    async get(options) {
      return present(namespaces.find(checked('namespace.get', shapes.namespace, options).namespace))
    },
    async use(options) {
      return present(await namespaces.use(checked('namespace.use', shapes.namespace, options).namespace))
    },
    async setPlan(options) {
      const { namespace, plan } = checked('namespace.setPlan', shapes.namespacePlan, options)
      return present(await namespaces.setPlan(namespace, plan))
    },
    async usage(options) {
      const { row, log, quota } = namespaces.find(checked('namespace.usage', shapes.maybeNamespace, options).namespace)
      const { artifacts } = await log.catalog.counts()
      return { namespace: log.idText, plan: row.plan, usedBytes: log.totals.leafBytes, artifacts, limits: quota.limits }
    },
    async delete(options) {
      await namespaces.delete(checked('namespace.delete', shapes.namespace, options).namespace)
    },
  }
}
