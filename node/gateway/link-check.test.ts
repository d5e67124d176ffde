import { expect, test } from 'vitest'
import { latestClaims } from '../../src/capability/capability.test-helper.ts'
import { type LinkClaims, signCapability } from '../../src/capability/index.ts'
import { formatArtifactId } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { LinkCheck } from './link-check.ts'

const issuer = new AgentKey(new Uint8Array(32).fill(1))
const gateway = new AgentKey(new Uint8Array(32).fill(2))
const artifact = new Uint8Array(20).fill(3)
const notBefore = 1_800_000_000
const expires = notBefore + 3_600

function capOf(claims: Partial<LinkClaims> = {}): string {
  const { token } = signCapability(issuer, {
    ...latestClaims,
    issuer: issuer.publicKey,
    grant: new Uint8Array(32).fill(4),
    namespace: new Uint8Array(32).fill(5),
    artifact,
    audience: [{ kind: 'agent', id: gateway.publicKey }],
    notBefore,
    expires,
    jti: new Uint8Array(16).fill(6),
    maxUses: undefined,
    ...claims,
  })
  return Buffer.from(token).toString('base64url')
}

/** A gateway whose clock is what the test says. */
class World {
  nowMs = notBefore * 1000
  readonly #check: LinkCheck

  constructor(skewSeconds: number) {
    this.#check = new LinkCheck({ self: gateway.publicKey, skewSeconds, now: () => this.nowMs })
  }

  /** `good`, or the code of the refusal. */
  ask(cap: string, { address = '192.0.2.7', path = formatArtifactId(artifact) } = {}): string {
    try {
      this.#check.check({ artifact: path, caps: [cap], address })
      return 'good'
    } catch (error) {
      return isHubError(error) ? error.code : String(error)
    }
  }
}

test.each([
  [60, notBefore - 61, 'NOT_YET_VALID'],
  [60, notBefore - 60, 'good'],
  [60, notBefore - 59, 'good'],
  [60, expires + 59, 'good'],
  [60, expires + 60, 'EXPIRED'],
  [60, expires + 61, 'EXPIRED'],
  [0, notBefore - 1, 'NOT_YET_VALID'],
  [0, notBefore, 'good'],
  [0, expires - 1, 'good'],
  [0, expires, 'EXPIRED'],
])('where clocks may differ by %i s, at %i s a link is %s', (skewSeconds, at, code) => {
  const world = new World(skewSeconds)
  world.nowMs = at * 1000
  expect(world.ask(capOf())).toBe(code)
})

test('a token that was verified before is checked again for all that changes', () => {
  const world = new World(0)
  const cap = capOf({ ip: '192.0.2.0/24' })
  expect(world.ask(cap)).toBe('good')
  expect(world.ask(cap, { address: '198.51.100.1' })).toBe('IP_DENIED')
  expect(world.ask(cap, { path: formatArtifactId(new Uint8Array(20)) })).toBe('SIGNATURE_INVALID')
  world.nowMs = expires * 1000
  expect(world.ask(cap)).toBe('EXPIRED')
  world.nowMs = notBefore * 1000 - 1
  expect(world.ask(cap)).toBe('NOT_YET_VALID')
})
