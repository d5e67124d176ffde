import type { Client } from '../client.ts'
import { createArtifactApi } from './artifact-api.ts'
import type { LocalEnvironment } from './environment.ts'
import { createNamespaceApi } from './namespace-api.ts'
import type { LocalNamespaces } from './namespaces.ts'

/** A client whose calls run in this process, as the agent of `env`. */
export function createLocalClient(env: LocalEnvironment, namespaces: LocalNamespaces): Client {
  return { did: env.agent.did, artifact: createArtifactApi(env, namespaces), namespace: createNamespaceApi(namespaces) }
}
