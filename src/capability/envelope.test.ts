import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeCanonical } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { AgentKey } from '../identity/index.ts'
import { issuer, pinnedClaims, shareClaims } from './capability.test-helper.ts'
import { decodeEnvelope, sealEnvelope, signCapability } from './index.ts'

const capability = signCapability(issuer, shareClaims)
const envelope = { capability, name: 'report.pdf', contentType: 'application/pdf', sizeBytes: 1234, message: 'for you' }
const statementOf = (more: Record<string, unknown>) =>
  encodeCanonical({ v: 1, cap: capability.token, name: 'a', type: 'text/plain', size: 1, message: null, ...more })
const signed = (statement: Uint8Array, agent = issuer) =>
  encodeCanonical([statement, agent.sign('envelope', statement)])
const codeOf = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    if (isHubError(error)) return error.code
    throw error
  }
  return 'none'
}

describe('an envelope', () => {
  it('says what was put into it', () => {
    for (const message of ['for you', undefined]) {
      const opened = decodeEnvelope(sealEnvelope(issuer, { ...envelope, message }))
      expect(opened).toEqual({ ...envelope, message })
    }
  })

  it('is worth nothing with any bit changed, cut or longer', () => {
    const bytes = sealEnvelope(issuer, envelope)
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const other = bytes.slice()
        other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(['CORRUPT', 'UNSUPPORTED_FORMAT']).toContain(codeOf(() => decodeEnvelope(other)))
      }),
    )
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), (length) => {
        expect(codeOf(() => decodeEnvelope(bytes.subarray(0, length)))).toBe('CORRUPT')
      }),
    )
    expect(codeOf(() => decodeEnvelope(Uint8Array.of(...bytes, 0)))).toBe('CORRUPT')
  })

  it('is signed by who issued the capability in it, in its own domain', () => {
    const other = new AgentKey(new Uint8Array(32).fill(99))
    expect(codeOf(() => sealEnvelope(other, envelope))).toBe('INVALID_ARGUMENT')
    const statement = statementOf({})
    expect(codeOf(() => decodeEnvelope(signed(statement)))).toBe('none')
    expect(codeOf(() => decodeEnvelope(signed(statement, other)))).toBe('CORRUPT')
    const elsewhere = encodeCanonical([statement, issuer.sign('capability', statement)])
    expect(codeOf(() => decodeEnvelope(elsewhere))).toBe('CORRUPT')
  })

  it.each([
    ['a link', { cap: signCapability(issuer, pinnedClaims).token }, 'CORRUPT'],
    ['no capability', { cap: Uint8Array.of(1) }, 'CORRUPT'],
    ['a control character in its name', { name: 'a\u0007' }, 'CORRUPT'],
    ['an empty name', { name: '' }, 'CORRUPT'],
    ['no content type', { type: 'pdf' }, 'CORRUPT'],
    ['a negative size', { size: -1 }, 'CORRUPT'],
    ['a control character in its message', { message: '\u001b[2J' }, 'CORRUPT'],
    ['a message too long', { message: 'ä'.repeat(1000) }, 'CORRUPT'],
    ['a member that nobody knows', { more: 1 }, 'CORRUPT'],
    ['a later version', { v: 2 }, 'UNSUPPORTED_FORMAT'],
    ['an earlier version', { v: 0 }, 'UNSUPPORTED_FORMAT'],
  ])('is refused with %s, however well signed', (_, more, code) => {
    expect(codeOf(() => decodeEnvelope(signed(statementOf(more))))).toBe(code)
  })

  it('is refused by its size before anything of it is looked at', () => {
    expect(codeOf(() => decodeEnvelope(new Uint8Array(16 * 1024 + 1)))).toBe('TOO_LARGE')
  })
})
