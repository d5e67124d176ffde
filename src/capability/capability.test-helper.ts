import { AgentKey } from '../identity/index.ts'
import { type LinkClaims, type ShareClaims, sealLinkKey } from './index.ts'

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)

export const issuer = new AgentKey(fill(32, 1))
export const gateways = [2, 3]
  .map((value) => new AgentKey(fill(32, value)))
  .sort((a, b) => Buffer.compare(a.publicKey, b.publicKey)) as [AgentKey, AgentKey]
export const provider = new AgentKey(fill(32, 4))
export const group = fill(32, 5)
/** What the link of these tests seals: the key of the leaves. */
export const leavesKey = fill(32, 6)

const common = {
  issuer: issuer.publicKey,
  grant: fill(32, 7),
  namespace: fill(32, 8),
  artifact: fill(20, 9),
  notBefore: 1_800_000_000,
}
const linkPlace = {
  ...common,
  jti: fill(16, 10),
  audience: gateways.map(({ publicKey }) => ({ kind: 'agent' as const, id: publicKey })),
}
const keyId = fill(16, 11)

export const shareClaims: ShareClaims = {
  kind: 'share',
  ...common,
  audience: [
    { kind: 'agent', id: gateways[0].publicKey },
    { kind: 'group', id: group },
  ],
  expires: undefined,
  jti: fill(16, 12),
  after: 3,
}

export const pinnedClaims: LinkClaims = {
  kind: 'link',
  ...linkPlace,
  expires: common.notBefore + 3_600,
  pinned: {
    version: fill(32, 13),
    root: { digest: fill(32, 14), codec: 0x55, inline: false, sizeBytes: 100, storedBytes: 128, keyId },
    sha256: fill(32, 15),
    ...sealLinkKey(leavesKey, keyId, linkPlace, fill(32, 16)),
  },
  via: [{ agent: provider.publicKey, addresses: ['/ip4/192.0.2.1/tcp/4001', '/dns4/example.org/tcp/443/tls/ws'] }],
  name: 'Bericht für März.pdf',
  contentType: 'application/pdf',
  disposition: 'inline',
  ip: '203.0.113.0/24',
  maxUses: undefined,
}

export const latestClaims: LinkClaims = {
  kind: 'link',
  ...linkPlace,
  audience: linkPlace.audience.slice(0, 1),
  expires: common.notBefore + 60,
  pinned: undefined,
  via: [],
  name: undefined,
  contentType: undefined,
  disposition: 'attachment',
  ip: undefined,
  maxUses: 1,
}
