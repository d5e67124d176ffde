import { BlockList, isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { maxLinkNameBytes } from '../limits.ts'
import {
  decodeToken,
  formatLinkUrl,
  gatewayBase,
  isInIpRange,
  isIpRange,
  isLinkName,
  linkNameOf,
  parseLinkUrl,
} from './index.ts'

const artifact = new Uint8Array(20).fill(9)
const token = new Uint8Array(100).map((_, at) => at * 37)
const corrupt = expect.objectContaining({ code: 'CORRUPT' })
const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
const tooLarge = expect.objectContaining({ code: 'TOO_LARGE' })

describe('the URL of a link', () => {
  const url = formatLinkUrl({ gateway: 'https://files.example.org', artifact, name: 'a b.pdf', token })

  it('is read as it was made, for any name that a link may have', () => {
    const name = fc.string({ unit: 'binary', maxLength: 60 }).filter(isLinkName)
    const gateway = fc.constantFrom('http://127.0.0.1:8080', 'https://example.org/files', 'https://[2001:db8::1]:8443')
    fc.assert(
      fc.property(gateway, name, fc.uint8Array({ minLength: 1, maxLength: 400 }), (base, given, bytes) => {
        const made = formatLinkUrl({ gateway: base, artifact, name: given, token: bytes })
        expect(made).toMatch(/^[!-~]+$/)
        expect(made).not.toMatch(/['"<>()*]/)
        expect(parseLinkUrl(made)).toEqual({ gateway: base, artifact, name: given, token: bytes })
      }),
    )
  })

  it('survives another host, a path before it, and more in its query', () => {
    const moved = url
      .replace('https://files.example.org/a/', 'http://localhost:1234/behind/proxy/a/')
      .replace('?', '?utm=1&')
    expect(parseLinkUrl(`${moved}&x=2#here`)).toEqual({
      gateway: 'http://localhost:1234/behind/proxy',
      artifact,
      name: 'a b.pdf',
      token,
    })
  })

  it.each([
    'no URL',
    'ftp://example.org/a/b',
    'https://files.example.org/',
    url.replace('?cap=', '?cup='),
    url.replace('art_', 'brt_'),
    url.replace('/a/art_', '/b/art_'),
    url.replace('/a%20b.pdf', ''),
    url.replace('a%20b.pdf', 'a%ffb.pdf'),
    url.replace(/art_.*\//, 'art_aaaa/'),
    `${url}&cap=AA`,
  ])('is not %s', (text) => {
    expect(() => parseLinkUrl(text)).toThrow(invalid)
  })

  it('has one spelling of its token', () => {
    const text = new URL(url).searchParams.get('cap') ?? ''
    expect(decodeToken(text)).toEqual(token)
    const spare = `${text.slice(0, -1)}${String.fromCharCode(text.charCodeAt(text.length - 1) + 1)}`
    for (const bad of [
      `${text}=`,
      `${text} `,
      `${text}AAA`,
      `+${text.slice(1)}`,
      `/${text.slice(1)}`,
      spare,
      `${text}\n`,
      '%41',
    ]) {
      expect(() => decodeToken(bad), bad.slice(-6)).toThrow(corrupt)
    }
    expect(() => decodeToken('A'.repeat(10_000))).toThrow(tooLarge)
    expect(() => parseLinkUrl(`${url}.`)).toThrow(corrupt)
  })

  it('stands below a gateway’s own URL', () => {
    expect(gatewayBase('https://Example.org:443/')).toBe('https://example.org')
    expect(gatewayBase('http://example.org/files//')).toBe('http://example.org/files')
    for (const bad of [
      'example.org',
      'file:///tmp',
      'https://a:b@example.org',
      'https://example.org?x',
      'https://example.org#x',
    ]) {
      expect(() => gatewayBase(bad), bad).toThrow(invalid)
    }
  })
})

describe('the name in a link', () => {
  it('is the last part of the artifact’s, or one that says nothing', () => {
    expect(linkNameOf('models/v2/weights.bin')).toBe('weights.bin')
    expect(linkNameOf('a\\b.txt')).toBe('b.txt')
    expect(linkNameOf('a\u0085b\u2028c')).toBe('a_b_c')
    for (const nothing of ['a/', '..', 'a/..', '/']) expect(linkNameOf(nothing)).toBe('download')
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (name) => {
        expect(isLinkName(linkNameOf(name))).toBe(true)
      }),
    )
    expect(Buffer.byteLength(linkNameOf('é'.repeat(500)))).toBe(maxLinkNameBytes - 1)
  })
})

describe('the ip in a link', () => {
  const ipv4 = fc.ipV4()
  const ipv6 = fc.ipV6()

  it('is an address exactly when Node takes it for one', () => {
    const mangled = fc.stringMatching(/^[0-9a-f:.]{1,20}$/)
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6, mangled), (text) => {
        expect(isIpRange(text)).toBe(isIP(text) !== 0)
      }),
      {
        numRuns: 2_000,
      },
    )
  })

  it('holds the addresses that Node’s own lists hold', () => {
    const octets = fc.tuple(fc.constantFrom(10, 192), fc.constantFrom(0, 128, 168), fc.nat(255), fc.nat(255))
    fc.assert(
      fc.property(octets, octets, fc.nat(32), (network, address, prefix) => {
        const bits = network.reduce((all, octet) => all * 256 + octet, 0)
        const masked = bits - (bits % 2 ** (32 - prefix))
        const host = [24, 16, 8, 0].map((shift) => Math.floor(masked / 2 ** shift) % 256).join('.')
        const list = new BlockList()
        list.addSubnet(host, prefix, 'ipv4')
        expect(isInIpRange(`${host}/${prefix}`, address.join('.'))).toBe(list.check(address.join('.'), 'ipv4'))
        expect(isInIpRange(`${host}/${prefix}`, `::ffff:${address.join('.')}`)).toBe(
          list.check(address.join('.'), 'ipv4'),
        )
      }),
    )
    expect(isInIpRange('2001:db8::/32', '2001:db8:1::5')).toBe(true)
    expect(isInIpRange('2001:db8::/32', '2001:db9::5')).toBe(false)
    expect(isInIpRange('fe80::1', 'fe80::1%eth0')).toBe(true)
    expect(isInIpRange('10.0.0.1', '10.0.0.2')).toBe(false)
    expect(isInIpRange('::/0', '10.0.0.2')).toBe(true)
    expect(isInIpRange('0.0.0.0/0', '2001:db8::1')).toBe(false)
    expect(isInIpRange('10.0.0.0/8', 'unknown')).toBe(false)
  })

  it.each([
    '',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.1/8',
    '2001:db8::/129',
    '010.0.0.1',
    '1.2.3',
    '::1::',
    '10.0.0.0/',
    'fe80::1%eth0',
  ])('is not %j', (text) => {
    expect(isIpRange(text)).toBe(false)
  })
})
