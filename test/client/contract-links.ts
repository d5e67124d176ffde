import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { SignedUrlOptions } from '../../sdk/index.ts'
import { decodeCapability, type LinkClaims, parseLinkUrl } from '../../src/capability/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { AgentKey, formatTicket, parseDid } from '../../src/identity/index.ts'
import { failureOf, freshNamespace, type OpenClient, useClient } from './contract-support.ts'

const others = [61, 62].map((fill) => new AgentKey(new Uint8Array(32).fill(fill)))
const [one, two] = others as [AgentKey, AgentKey]
const gateways = [{ agent: one.did, url: 'https://files.example.org' }]
const day = 24 * 3600

/** What a link says. */
function claimsOf(url: string): LinkClaims {
  const { claims } = decodeCapability(parseLinkUrl(url).token)
  if (claims.kind !== 'link') throw new Error('not a link')
  return claims
}

/** Links: made, listed and revoked. What a gateway makes of them is for its own tests. */
export function linksContract(open: OpenClient): void {
  describe('links', () => {
    const client = useClient(open)
    const stored = async (name = 'papers/final report.pdf') =>
      await client.artifact.create({ name, data: new TextEncoder().encode('content') })

    test('is for the current version, for an hour, as an attachment under the last part of its name', async () => {
      const before = Date.now()
      const { id, sha256 } = await stored()
      const link = await client.artifact.getSignedUrl({ artifactId: id, gateways })
      const claims = claimsOf(link.url)
      expect(link.url).toMatch(/^https:\/\/files\.example\.org\/a\/art_[a-z2-7]{32}\/final%20report\.pdf\?cap=[\w-]+$/)
      expect(parseLinkUrl(link.url)).toMatchObject({ artifact: claims.artifact, name: 'final report.pdf' })
      expect(claims).toMatchObject({
        issuer: parseDid(client.did),
        audience: [{ kind: 'agent', id: one.publicKey }],
        name: 'final report.pdf',
        contentType: 'application/pdf',
        disposition: 'attachment',
        ip: undefined,
        maxUses: undefined,
      })
      expect(toHex(claims.pinned?.sha256 ?? new Uint8Array(0))).toBe(sha256)
      expect(toHex(claims.jti)).toBe(link.jti)
      expect(link.expiresAt.getTime()).toBe(claims.expires * 1000)
      expect(link.expiresAt.getTime()).toBeGreaterThanOrEqual(before + 3_600_000)
      expect(link.expiresAt.getTime()).toBeLessThan(Date.now() + 3_602_000)
      expect(link.notBefore.getTime()).toBeLessThanOrEqual(Date.now())
    })

    test('says all that it is asked to say', async () => {
      const { id } = await stored()
      const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000 + 60_000)
      const link = await client.artifact.getSignedUrl({
        artifactId: id,
        version: 1,
        expiresIn: 7 * day - 60,
        notBefore,
        gateways,
        filename: 'für dich.txt',
        disposition: 'inline',
        ip: '203.0.113.0/24',
        maxUses: 3,
      })
      expect(claimsOf(link.url)).toMatchObject({
        notBefore: notBefore.getTime() / 1000,
        expires: notBefore.getTime() / 1000 + 7 * day - 60,
        name: 'für dich.txt',
        disposition: 'inline',
        ip: '203.0.113.0/24',
        maxUses: 3,
      })
      expect(link.notBefore).toEqual(notBefore)
    })

    test('is its URL as text and as JSON, and is printed without what makes it work', async () => {
      const link = await client.artifact.getSignedUrl({ artifactId: (await stored()).id, gateways })
      const secret = new URL(link.url).searchParams.get('cap') ?? ''
      expect(`${link}`).toBe(link.url)
      expect(JSON.parse(JSON.stringify({ link }))).toEqual({ link: link.url })
      for (const printed of [inspect(link), inspect({ deep: [{ link }] }, { depth: 9, showHidden: true })]) {
        expect(printed).toContain(link.jti)
        expect(printed).not.toContain(secret.slice(0, 16))
      }
    })

    test('pins the version that it was made for, an older one too, or follows the artifact', async () => {
      const { id } = await stored()
      const { cid } = await client.artifact.get({ artifactId: id })
      await client.artifact.update({ artifactId: id, content: 'more' })
      const older = claimsOf((await client.artifact.getSignedUrl({ artifactId: id, version: 1, gateways })).url)
      const current = claimsOf((await client.artifact.getSignedUrl({ artifactId: id, gateways })).url)
      expect(older.pinned?.root.digest).not.toEqual(current.pinned?.root.digest)
      const listed = await client.artifact.listSignedUrls({ artifactId: id })
      expect(listed.map((row) => row.cid)).toContain(cid)
      const own = [{ agent: client.did, url: 'http://127.0.0.1:8080' }]
      const latest = await client.artifact.getSignedUrl({ artifactId: id, version: 'latest', gateways: own })
      expect(claimsOf(latest.url).pinned).toBeUndefined()
      expect(latest.url).toContain('/final%20report.pdf?')
      await failureOf(client.artifact.getSignedUrl({ artifactId: id, version: 9, gateways }), 'NOT_FOUND')
    })

    test('is for every gateway that is named, once, and points to the first', async () => {
      const { id } = await stored()
      const ticket = formatTicket({
        kind: 'agent',
        id: two.publicKey,
        peers: [{ agent: two.publicKey, addresses: ['/dns/gw.example.org/tcp/443/https', '/ip4/192.0.2.1/tcp/4001'] }],
      })
      await client.agent.add({ name: 'gateway two', ticket })
      const link = await client.artifact.getSignedUrl({ artifactId: id, gateways: ['gateway two', one.did, two.did] })
      expect(link.url).toMatch(/^https:\/\/gw\.example\.org\/a\//)
      const named = [one, two].map(({ publicKey }) => publicKey).sort((a, b) => Buffer.compare(a, b))
      expect(claimsOf(link.url).audience.map((audience) => audience.id)).toEqual(named)
      await client.agent.remove({ name: 'gateway two' })
    })

    test('is listed until it expires, those that end first first, and of one artifact alone', async () => {
      const { id } = await stored('listed.txt')
      const other = await stored('other.txt')
      const long = await client.artifact.getSignedUrl({ artifactId: id, gateways, expiresIn: 500 })
      const short = await client.artifact.getSignedUrl({ artifactId: id, gateways, expiresIn: 100, maxUses: 1 })
      const later = await client.artifact.getSignedUrl({
        artifactId: other.id,
        gateways,
        notBefore: new Date(Date.now() + 50_000),
      })
      const listed = await client.artifact.listSignedUrls({ artifactId: id })
      expect(listed.map(({ link }) => link.url)).toEqual([short.url, long.url])
      expect(listed[0]).toMatchObject({
        artifactId: id,
        namespace: other.namespace,
        filename: 'listed.txt',
        gateways: [one.did],
        maxUses: 1,
        state: 'good',
      })
      const all = await client.artifact.listSignedUrls()
      expect(all.find(({ link }) => link.jti === later.jti)).toMatchObject({ artifactId: other.id, state: 'not-yet' })
    })

    test('is revoked once and for all', async () => {
      const { id } = await stored('revoked.txt')
      const link = await client.artifact.getSignedUrl({ artifactId: id, gateways })
      const kept = await client.artifact.getSignedUrl({ artifactId: id, gateways })
      await client.artifact.revokeSignedUrl({ jti: link.jti })
      await client.artifact.revokeSignedUrl({ jti: link.jti })
      const states = (await client.artifact.listSignedUrls({ artifactId: id })).map((row) => [row.link.jti, row.state])
      expect(Object.fromEntries(states)).toEqual({ [link.jti]: 'revoked', [kept.jti]: 'good' })
      const unknown = 'ab'.repeat(16)
      await failureOf(client.artifact.revokeSignedUrl({ jti: unknown }), 'NOT_FOUND')
      const { id: namespace } = await freshNamespace(client)
      await client.artifact.revokeSignedUrl({ jti: unknown, namespace })
    })

    test('of a namespace that is gone from here is listed as good for nothing', async () => {
      const { id: namespace } = await freshNamespace(client)
      const { id } = await client.artifact.createSnippet({ name: 'x', content: 'x', namespace })
      const link = await client.artifact.getSignedUrl({ artifactId: id, gateways })
      await client.namespace.delete({ namespace })
      const row = (await client.artifact.listSignedUrls()).find(({ link: { jti } }) => jti === link.jti)
      expect(row).toMatchObject({ namespace, state: 'issuer-removed' })
    })

    test.each<[string, Partial<SignedUrlOptions> | { readonly jti: string }]>([
      ['milliseconds for seconds', { expiresIn: 3_600_000 }],
      ['no time at all', { expiresIn: 0 }],
      ['half a second', { expiresIn: 0.5 }],
      ['an end beyond seven days', { expiresIn: 7 * day, notBefore: new Date(Date.now() + 60_000) }],
      ['a time that is none', { notBefore: new Date(Number.NaN) }],
      ['no gateway', { gateways: [] }],
      ['a gateway that nobody knows the URL of', { gateways: [one.did] }],
      ['a gateway with no URL', { gateways: [{ agent: one.did, url: 'files.example.org' }] }],
      ['a gateway with a query', { gateways: [{ agent: one.did, url: 'https://files.example.org?x' }] }],
      ['17 gateways', { gateways: new Array(17).fill(gateways[0]) }],
      ['a path for a name', { filename: '../x' }],
      ['a line break in a name', { filename: 'a\nb' }],
      ['an ip that is none', { ip: 'example.org' }],
      ['a prefix with bits behind it', { ip: '203.0.113.7/24' }],
      ['no use at all', { maxUses: 0 }],
      [
        'uses counted by two',
        { maxUses: 1, gateways: [...gateways, { agent: two.did, url: 'https://b.example.org' }] },
      ],
      ['another disposition', { disposition: 'form-data' as 'inline' }],
      ['an option that there is not', { jti: 'x' }],
    ])('%s is INVALID_ARGUMENT', async (_, options) => {
      const { id } = await stored()
      await failureOf(client.artifact.getSignedUrl({ artifactId: id, gateways, ...options }), 'INVALID_ARGUMENT')
    })

    test('without a gateway of its own a node must be told of one', async () => {
      const { id } = await stored()
      const error = await failureOf(client.artifact.getSignedUrl({ artifactId: id }), 'INVALID_ARGUMENT')
      expect(error.message).toContain('gateway')
      await failureOf(client.artifact.getSignedUrl({ artifactId: id, gateways: ['nobody'] }), 'NOT_FOUND')
      await failureOf(client.artifact.revokeSignedUrl({ jti: 'x' }), 'INVALID_ARGUMENT')
    })
  })
}
