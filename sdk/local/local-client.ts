import type { Client } from '../client.ts'
import { createArtifactApi } from './artifact-api.ts'
import type { LocalEnvironment } from './environment.ts'
import { createNamespaceApi } from './namespace-api.ts'
import type { LocalNamespaces } from './namespaces.ts'
import type { OpenCalls } from './open-calls.ts'

/** A client whose calls run in this process, as the agent of `env`, until `calls` is closed. */
export function createLocalClient(env: LocalEnvironment, namespaces: LocalNamespaces, calls: OpenCalls): Client {
  return {
    did: env.agent.did,
    artifact: createArtifactApi(env, namespaces, calls),
    namespace: createNamespaceApi(namespaces, calls),
  }
}
