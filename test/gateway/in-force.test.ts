import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SignedUrlOptions } from '../../sdk/index.ts'
import { decodeCapability, type LinkClaims, parseLinkUrl, sealLinkKey } from '../../src/capability/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { seededBytes } from '../client/contract-support.ts'
import { ask, codeOf } from './ask.ts'
import { startTestGateway, type TestGateway } from './gateways.ts'

const content = seededBytes('in force', 100_000)
const newer = seededBytes('in force, newer', 50_000)

let gateway: TestGateway
beforeAll(async () => {
  gateway = await startTestGateway({ clockSkewSeconds: 0 })
})
afterAll(async () => {
  await gateway[Symbol.asyncDispose]()
})

/** An artifact of two versions, and how links to it are made. */
async function stored() {
  const { artifact } = gateway.node.client
  const { id: artifactId } = await artifact.create({ name: 'two versions.bin', data: content })
  await artifact.update({ artifactId, data: newer })
  const link = async (options: Partial<SignedUrlOptions> = {}) =>
    await artifact.getSignedUrl({ artifactId, ...options })
  return { artifact, artifactId, link }
}

const now = () => Math.floor(Date.now() / 1000)

/** What a link of the SDK says, to be said otherwise. */
function claimsOf(url: string): LinkClaims & { pinned: NonNullable<LinkClaims['pinned']> } {
  const { claims } = decodeCapability(parseLinkUrl(url).token)
  if (claims.kind !== 'link' || claims.pinned === undefined) throw new Error('not a link to a version')
  return { ...claims, pinned: claims.pinned }
}

/** How GET and HEAD are refused, each: they must agree. */
async function refusal(url: string): Promise<string> {
  const [get, head] = [await ask(url), await ask(url, { method: 'HEAD' })]
  expect(head.status).toBe(get.status)
  expect(head.body).toHaveLength(0)
  return `${get.status} ${codeOf(get)}`
}

describe('a link of the node that serves it', () => {
  test('points to its gateway, and gives the version that it was made for', async () => {
    const { link } = await stored()
    const current = await link()
    expect(current.url.startsWith(`${gateway.url}/a/`)).toBe(true)
    for (const [made, bytes] of [
      [current, newer],
      [await link({ version: 1 }), content],
      [await link({ version: 'latest' }), newer],
    ] as const) {
      const [get, head] = [await ask(made.url), await ask(made.url, { method: 'HEAD' })]
      expect(get.status).toBe(200)
      expect(get.body.equals(bytes)).toBe(true)
      expect(head.headers['content-length']).toBe(String(bytes.length))
    }
  })

  test('goes on giving that version while the artifact changes, and follows it if it was made to', async () => {
    const { artifact, artifactId, link } = await stored()
    const [pinned, latest] = [await link(), await link({ version: 'latest' })]
    const newest = new Uint8Array(5).fill(7)
    await artifact.update({ artifactId, data: newest, name: 'renamed.txt', contentType: 'text/plain' })
    expect((await ask(pinned.url)).body.equals(newer)).toBe(true)
    const { body, headers } = await ask(latest.url)
    expect(body.equals(newest)).toBe(true)
    expect(headers['content-disposition']).toContain('renamed.txt')
  })

  test('is over when it has expired, and has not begun before it is good', async () => {
    const { artifactId, link } = await stored()
    const claims = claimsOf((await link()).url)
    expect(await refusal(gateway.link(artifactId, { ...claims, notBefore: now() - 60, expires: now() }))).toBe(
      '403 EXPIRED',
    )
    expect(await refusal((await link({ notBefore: new Date(Date.now() + 60_000) })).url)).toBe('403 NOT_YET_VALID')
  })

  test('is over when it is revoked, alone, and at once', async () => {
    const { artifact, link } = await stored()
    const [one, other] = [await link(), await link()]
    // Its token is known to the gateway, and its content to whoever has the ETag.
    const { headers } = await ask(one.url)
    await artifact.revokeSignedUrl({ jti: one.jti })
    expect(await refusal(one.url)).toBe('403 REVOKED')
    expect((await ask(one.url, { headers: { 'if-none-match': headers.etag as string } })).status).toBe(403)
    expect((await ask(other.url)).status).toBe(200)
  })

  test('is over when what it leads to is deleted', async () => {
    const { artifact, artifactId, link } = await stored()
    const [older, current, latest] = [await link({ version: 1 }), await link(), await link({ version: 'latest' })]
    await artifact.deleteVersion({ artifactId, version: 1 })
    expect(await refusal(older.url)).toBe('404 NOT_FOUND')
    expect((await ask(current.url)).status).toBe(200)
    await artifact.delete({ artifactId })
    expect(await refusal(current.url)).toBe('404 NOT_FOUND')
    expect(await refusal(latest.url)).toBe('404 NOT_FOUND')
  })
})

describe('a link that its issuer made wrongly', () => {
  test('to a version of another artifact, to none, or with another content', async () => {
    const { artifactId, link } = await stored()
    const other = claimsOf((await (await stored()).link()).url)
    const claims = claimsOf((await link()).url)
    const { pinned } = claims
    const wrong: [string, Partial<LinkClaims>, string?][] = [
      ['another artifact’s version', { pinned: { ...pinned, version: other.pinned.version } }],
      ['no entry', { pinned: { ...pinned, version: new Uint8Array(32) } }],
      ['an entry that is no version', { pinned: { ...pinned, version: claims.namespace } }],
      ['another root', { pinned: { ...pinned, root: { ...other.pinned.root, keyId: pinned.root.keyId } } }],
      // Its boxes are bound to the key’s id.
      ['another root and its key', { pinned: { ...pinned, root: other.pinned.root } }, '403 SIGNATURE_INVALID'],
    ]
    for (const [what, change, code = '404 NOT_FOUND'] of wrong) {
      const url = gateway.link(artifactId, { ...claims, ...change })
      expect([what, await refusal(url)]).toEqual([what, code])
    }
  })

  test('with a key that is not sealed to the gateway, or is the wrong one', async () => {
    const { artifactId, link } = await stored()
    const claims = claimsOf((await link()).url)
    const { pinned } = claims
    const stranger = new AgentKey(new Uint8Array(32).fill(77)).publicKey
    const seed = new Uint8Array(32).fill(5)
    const forOther = { ...claims, audience: [{ kind: 'agent' as const, id: stranger }] }
    const elsewhere = sealLinkKey(new Uint8Array(32), pinned.root.keyId, forOther, seed)
    expect(await refusal(gateway.link(artifactId, { ...claims, pinned: { ...pinned, ...elsewhere } }))).toBe(
      '403 SIGNATURE_INVALID',
    )
    const wrongKey = sealLinkKey(new Uint8Array(32), pinned.root.keyId, claims, seed)
    const answer = await ask(gateway.link(artifactId, { ...claims, pinned: { ...pinned, ...wrongKey } }))
    expect(answer.status).toBeGreaterThanOrEqual(500)
    expect(answer.body.includes(Buffer.from(newer.subarray(0, 100)))).toBe(false)
  })

  test('as somebody who has no right there', async () => {
    const { artifactId, link } = await stored()
    const claims = claimsOf((await link()).url)
    expect(await refusal(gateway.link(artifactId, { ...claims, grant: new Uint8Array(32).fill(3) }))).toBe(
      '403 REVOKED',
    )
  })
})
