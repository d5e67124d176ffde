import fc from 'fast-check'
import { base32 } from 'multiformats/bases/base32'
import { describe, expect, it } from 'vitest'
import { encodeCanonical } from '../encoding/index.ts'
import { maxTicketPeers, maxTicketText } from '../limits.ts'
import { AgentKey } from './agent-key.ts'
import { formatTicket, isTicket, parseTicket, type Ticket, ticketKindText } from './ticket.ts'

const agents = [1, 2, 3].map((byte) => new AgentKey(new Uint8Array(32).fill(byte)).publicKey)
const [agent] = agents as [Uint8Array]
const namespace: Ticket = {
  kind: 'namespace',
  id: new Uint8Array(32).fill(9),
  peers: [{ agent, addresses: ['/ip4/192.0.2.1/tcp/4001', '/dns4/example.org/tcp/443/tls/ws'] }],
  name: 'Entwürfe',
}
const wrap = (value: unknown) => `ahub1${base32.baseEncode(encodeCanonical(value))}`
const content = { v: 1, kind: 'namespace', id: namespace.id, peers: [], name: null }

describe('a ticket', () => {
  it('is read back as it was made, whatever it carries', () => {
    const address = fc.stringMatching(/^\/ip4\/[0-9.]{7,15}\/tcp\/[0-9]{1,5}$/)
    const peer = fc.record({ agent: fc.constantFrom(...agents), addresses: fc.array(address, { maxLength: 4 }) })
    const ticket = fc.record({
      kind: fc.constantFrom('group' as const, 'namespace' as const),
      id: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      peers: fc.array(peer, { maxLength: 4 }),
      name: fc.option(fc.stringMatching(/^[a-zé\u4e2d ]{1,40}$/), { nil: undefined }),
    })
    fc.assert(
      fc.property(ticket, (made) => {
        const text = formatTicket(made)
        expect(isTicket(text)).toBe(true)
        expect(text).toMatch(/^ahub1[a-z2-7]+$/)
        expect(parseTicket(` ${text}\n`)).toEqual(made)
      }),
    )
  })

  it('leaves addresses and then peers out until it fits', () => {
    const peers = Array.from({ length: 40 }, (_, at) => ({
      agent: new AgentKey(new Uint8Array(32).fill(at + 1)).publicKey,
      addresses: Array.from({ length: 8 }, (_, port) => `/dns4/${'long-name.'.repeat(9)}org/tcp/${4000 + port}`),
    }))
    const text = formatTicket({ ...namespace, peers })
    expect(text.length).toBeLessThanOrEqual(maxTicketText)
    const read = parseTicket(text)
    expect(read.peers.length).toBeGreaterThan(8)
    expect(read.peers.length).toBeLessThanOrEqual(maxTicketPeers)
    expect(read.peers.every(({ addresses }) => addresses.length >= 1)).toBe(true)
    expect(read.peers[0]?.agent).toEqual(peers[0]?.agent)
  })

  it.each([
    ['a name', 'alice'],
    ['nothing after the prefix', 'ahub1'],
    ['characters of no alphabet', 'ahub1!!!'],
    ['upper case', formatTicket(namespace).toUpperCase()],
    ['a cut one', formatTicket(namespace).slice(0, -3)],
    ['4 KiB and more', `ahub1${'a'.repeat(maxTicketText)}`],
    ['a list', wrap([])],
    ['an unknown member', wrap({ ...content, more: 1 })],
    ['a missing name', wrap({ v: 1, kind: 'namespace', id: content.id, peers: [] })],
    ['a short id', wrap({ ...content, id: new Uint8Array(31) })],
    ['an unknown kind', wrap({ ...content, kind: 'folder' })],
    ['an agent whose key nobody has', wrap({ ...content, kind: 'agent', id: new Uint8Array(32) })],
    ['a peer whose key nobody has', wrap({ ...content, peers: [[new Uint8Array(32), []]] })],
    ['an address with spaces', wrap({ ...content, peers: [[agent, ['/ip4/1.2.3.4 /tcp/1']]] })],
    ['an address that is none', wrap({ ...content, peers: [[agent, ['example.org']]] })],
    ['a long address', wrap({ ...content, peers: [[agent, [`/dns4/${'a'.repeat(300)}`]]] })],
    ['too many peers', wrap({ ...content, peers: Array(maxTicketPeers + 1).fill([agent, []]) })],
    ['control characters in its name', wrap({ ...content, name: 'a\u001b[2J' })],
  ])('refuses %s', (_what, text) => {
    expect(() => parseTicket(text)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  it.each([
    ['a newer release', 2],
    ['a build from before the formats were settled', 0],
  ])('says when %s made it', (by, v) => {
    expect(() => parseTicket(wrap({ ...content, v }))).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_FORMAT', message: expect.stringContaining(by) }),
    )
  })

  it('is not made of what would not be read', () => {
    expect(() => formatTicket({ ...namespace, id: new Uint8Array(5) })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })

  it('is of an agent, a namespace or a group, in words', () => {
    expect((['agent', 'namespace', 'group'] as const).map(ticketKindText)).toEqual([
      'an agent',
      'a namespace',
      'a group',
    ])
  })
})
