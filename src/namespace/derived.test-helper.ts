import { clearDerived, compareDerived, deriveFromLog, keySpaces, type Namespace, NamespaceKeys } from './index.ts'

/** In what that which a node derived as entries came is not what its log makes it. */
export async function differences(ns: Namespace): Promise<string[]> {
  const scratch = new NamespaceKeys(ns.id, keySpaces.scratch)
  await clearDerived(ns, scratch)
  const findings = await deriveFromLog(ns, scratch, {})
  const different = await compareDerived(ns, scratch, ns.keys)
  await clearDerived(ns, scratch)
  return [...findings.map(({ problem }) => problem), ...different]
}
