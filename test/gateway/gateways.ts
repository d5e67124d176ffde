import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { GatewayOptions } from '../../node/gateway/gateway-options.ts'
import { type ArtifactHubNode, type Logger, startNode } from '../../node/index.ts'
import { latestClaims } from '../../src/capability/capability.test-helper.ts'
import { formatLinkUrl, type LinkClaims, signCapability } from '../../src/capability/index.ts'
import { parseArtifactId, parseNamespaceId } from '../../src/encoding/index.ts'
import { AgentKey, decodeIdentityFile } from '../../src/identity/index.ts'

/** A node that serves links, and what it takes to make some. */
export interface TestGateway extends AsyncDisposable {
  readonly node: ArtifactHubNode
  readonly url: string
  readonly agent: AgentKey
  /** A link to the latest version of an artifact of the personal namespace, with other claims where they are given. */
  link(artifactId: string, claims?: Partial<LinkClaims>): string
}

/** In a data directory of its own, which goes with it. */
export async function startTestGateway(gateway: GatewayOptions = {}, logger?: Logger): Promise<TestGateway> {
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-gateway-'))
  const dataDir = join(folder, 'data')
  const node = await startNode({ dataDir, network: 'offline', gateway, logger })
  const agent = await agentOf(dataDir)
  const [personal] = await node.client.namespace.list()
  if (personal === undefined || node.gateway === undefined) throw new Error('a started node has both')
  const namespace = parseNamespaceId(personal.id)
  const { url } = node.gateway
  return {
    node,
    url,
    agent,
    link: (artifactId, claims) => linkUrl({ url, agent, namespace, artifactId }, claims),
    async [Symbol.asyncDispose]() {
      await node.close()
      await rm(folder, { recursive: true })
    },
  }
}

async function agentOf(dataDir: string): Promise<AgentKey> {
  return new AgentKey(await decodeIdentityFile(await readFile(join(dataDir, 'identity.key')), undefined))
}

/** A link signed by an agent, good from a minute ago for an hour. */
function linkUrl(
  { url, agent, namespace, artifactId }: { url: string; agent: AgentKey; namespace: Uint8Array; artifactId: string },
  claims: Partial<LinkClaims> = {},
): string {
  const nowSeconds = Math.floor(Date.now() / 1000)
  const artifact = parseArtifactId(artifactId)
  const { token } = signCapability(agent, {
    ...latestClaims,
    issuer: agent.publicKey,
    grant: namespace,
    namespace,
    artifact,
    audience: [{ kind: 'agent', id: agent.publicKey }],
    notBefore: nowSeconds - 60,
    expires: nowSeconds + 3_600,
    jti: new Uint8Array(randomBytes(16)),
    maxUses: undefined,
    ...claims,
  })
  return formatLinkUrl({ gateway: url, artifact, name: claims.name ?? 'file', token })
}
