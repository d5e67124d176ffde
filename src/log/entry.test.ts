import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeCanonical, sha256 } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'
import { maxEntryBytes } from '../limits.ts'
import type { Entry } from './entry.ts'
import { beginEntry, decodeEntry, encodeEntry, type HeaderDraft, HybridClock, signEntry } from './index.ts'

const agent = new AgentKey(new Uint8Array(32).fill(5))
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const leaf = fill(28 + 3, 8)

const draft: HeaderDraft = {
  kind: 'put',
  namespace: fill(32, 1),
  grant: fill(32, 1),
  incarnation: fill(16, 2),
  seq: 3,
  previous: fill(32, 3),
  heads: [fill(32, 4), fill(32, 5)],
  clock: { wallMs: 1_700_000_000_000, counter: 2 },
  keyId: fill(16, 6),
  data: {
    artifactSalt: fill(16, 7),
    parents: [],
    gen: 1,
    root: { digest: sha256(leaf), codec: 0x55, inline: true, sizeBytes: 3, storedBytes: 31, keyId: fill(16, 6) },
    versions: [],
  },
}
const sections = {
  body: fill(50, 9),
  leaf,
  keys: {
    wraps: [{ keyId: fill(16, 6), under: fill(16, 10), box: fill(48, 11) }],
    ephemeral: fill(32, 12),
    boxes: [{ keyId: fill(16, 6), tag: fill(8, 13), box: fill(48, 14) }],
  },
}

const resigned = (header: unknown, other: { keysBytes?: Uint8Array; leaf?: null } = {}) => {
  const headerBytes = encodeCanonical(header)
  const { keysBytes = signEntry(agent, draft, sections).entry.keysBytes ?? null, leaf = sections.leaf } = other
  return encodeCanonical([headerBytes, agent.sign('entry', headerBytes), keysBytes, sections.body, leaf])
}

describe('entries', () => {
  it('decodes to what was signed', () => {
    const { entry, bytes } = signEntry(agent, draft, sections)
    expect(decodeEntry(bytes)).toEqual(entry)
    expect(encodeEntry(decodeEntry(bytes))).toEqual(bytes)
  })

  it('is, begun and then signed beside, what signing at once gives, and before that says nothing', async () => {
    // Headers of each width of a length, as far as they can be: two and three bytes.
    const short = { ...draft, heads: [], previous: fill(32, 3) }
    const long = { ...draft, heads: Array.from({ length: 32 }, (_, at) => fill(32, at + 1)) }
    for (const one of [draft, short, long]) {
      const expected = signEntry(agent, one, sections)
      const { entry, bytes, signed } = beginEntry(agent, one, sections)
      expect(() => decodeEntry(bytes)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
      expect(entry.hash).toEqual(expected.entry.hash)
      await signed
      expect(bytes).toEqual(expected.bytes)
      expect(entry).toEqual(expected.entry)
    }
  })

  it('refuses every changed byte and every truncation', () => {
    const { bytes } = signEntry(agent, draft, sections)
    for (let at = 0; at < bytes.length; at++) {
      const bad = bytes.slice()
      bad[at] = (bad[at] as number) ^ (1 << (at & 7))
      expect(() => decodeEntry(bad), `byte ${at}`).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
      expect(() => decodeEntry(bytes.subarray(0, at))).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    }
    expect(() => decodeEntry(new Uint8Array([...bytes, 0]))).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  it('never fails on arbitrary bytes with anything but its own errors', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => decodeEntry(bytes)).toThrow(expect.objectContaining({ name: 'ArtifactHubError' }))
      }),
    )
    expect(() => decodeEntry(new Uint8Array(maxEntryBytes + 1))).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
  })

  it('may lack an erased body and leaf, never its keys', () => {
    const { entry } = signEntry(agent, draft, sections)
    const erased = decodeEntry(encodeEntry({ ...entry, body: undefined, leaf: undefined }))
    expect(erased.hash).toEqual(entry.hash)
    expect(erased.body).toBeUndefined()
    const keyless: Partial<Entry> = { ...entry, keysBytes: undefined }
    expect(() => decodeEntry(encodeEntry(keyless as Entry))).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  it('refuses sections of another entry', () => {
    const one = signEntry(agent, draft, sections).entry
    const two = signEntry(agent, draft, { ...sections, body: randomBytes(50), leaf }).entry
    expect(() => decodeEntry(encodeEntry({ ...one, body: two.body }))).toThrow(
      expect.objectContaining({ code: 'CORRUPT' }),
    )
    expect(() => decodeEntry(encodeEntry({ ...one, signature: two.signature }))).toThrow(
      expect.objectContaining({ code: 'CORRUPT' }),
    )
    expect(() => decodeEntry(encodeEntry({ ...one, leaf: randomBytes(31) }))).toThrow(
      expect.objectContaining({ code: 'CORRUPT' }),
    )
  })

  const valid = () => {
    const { header, keysBytes } = signEntry(agent, draft, sections).entry
    const { digest, codec, inline, sizeBytes, storedBytes, keyId } = header.data?.root ?? expect.fail()
    return {
      v: 1 as unknown,
      kind: 'put' as unknown,
      ns: header.namespace as unknown,
      author: header.author as unknown,
      grant: header.grant as unknown,
      inc: header.incarnation as unknown,
      seq: 3 as unknown,
      prev: header.previous as unknown,
      heads: header.heads as unknown,
      clock: [1_700_000_000_000, 2] as unknown,
      keys: sha256(keysBytes as Uint8Array) as unknown,
      body: header.bodyHash as unknown,
      key: header.keyId as unknown,
      data: {
        art: header.data?.artifactSalt as unknown,
        from: [] as unknown,
        gen: 1 as unknown,
        roots: [[digest, codec, inline, sizeBytes, storedBytes, keyId]] as unknown,
        drops: [] as unknown,
        jti: null as unknown,
      } as unknown,
    }
  }

  it('accepts a header written out by hand, so the refusals below are for their own reasons', () => {
    expect(decodeEntry(resigned(valid())).header.seq).toBe(3)
  })

  it.each([
    ['an unknown member', { extra: 1 }],
    ['a negative seq', { seq: -1 }],
    ['a fractional seq', { seq: 1.5 }],
    ['seq 0 with a previous', { seq: 0 }],
    ['a short hash', { prev: fill(31, 1) }],
    ['a string for bytes', { inc: 'abcdefghijklmnop' }],
    ['no namespace outside a genesis', { ns: null }],
    ['heads out of order', { heads: [fill(32, 5), fill(32, 4)] }],
    ['one head twice', { heads: [fill(32, 5), fill(32, 5)] }],
    ['33 heads', { heads: Array.from({ length: 33 }, (_, at) => fill(32, at)) }],
    ['a clock of three parts', { clock: [1, 2, 3] }],
    ['a put without data', { data: null }],
    ['a put without a body', { body: null }],
    ['a genesis with a namespace', { kind: 'genesis' }],
    ['a rotate with data', { kind: 'rotate' }],
    ['a delete with a root', { kind: 'delete' }],
    ['a share with a root', { kind: 'share' }],
    ['a descriptor with data', { kind: 'descriptor' }],
    ['a revoke-capability with data', { kind: 'revoke-capability' }],
  ])('refuses %s, well signed as it is', (_, change) => {
    expect(() => decodeEntry(resigned({ ...valid(), ...change }))).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  it.each([
    ['a put of generation 0', { gen: 0 }],
    ['generation 2 without parents', { gen: 2 }],
    ['generation 1 with a parent', { from: [fill(32, 1)] }],
    ['two roots', { roots: [[1], [2]] }],
    ['drops in a put', { drops: [fill(32, 1)] }],
    ['a capability of a put', { jti: fill(16, 1) }],
    ['a short capability', { jti: fill(15, 1) }],
    ['a root of another codec', { roots: [[sha256(leaf), 0x71, false, 3, 31, fill(16, 6)]] }],
    ['a leaf whose sizes disagree', { roots: [[sha256(leaf), 0x55, true, 4, 31, fill(16, 6)]] }],
    ['an inline tree', { roots: [[sha256(leaf), 0x70, true, 3, 31, fill(16, 6)]] }],
    ['a size beyond every plan', { roots: [[sha256(leaf), 0x70, false, 1e12, 1e12, fill(16, 6)]] }],
  ])('refuses %s, well signed as it is', (_, change) => {
    const header = valid()
    const bytes = resigned({ ...header, data: { ...(header.data as object), ...change } })
    expect(() => decodeEntry(bytes)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  const shareData = { art: fill(16, 7), from: [], gen: 0, roots: [], drops: [], jti: fill(16, 8) }

  it('accepts a share, so the refusals below are for their own reasons', () => {
    const shared = decodeEntry(resigned({ ...valid(), kind: 'share', data: shareData }, { leaf: null }))
    expect(shared.header.data).toMatchObject({ jti: fill(16, 8), root: undefined })
  })

  it.each([
    ['names no capability', { data: { ...shareData, jti: null } }],
    ['has parents', { data: { ...shareData, from: [fill(32, 1)] } }],
    ['has a number', { data: { ...shareData, gen: 1 } }],
    ['drops versions', { data: { ...shareData, drops: [fill(32, 1)] } }],
    ['says nothing', { body: null }],
    ['has no key', { key: null }],
    ['is of no artifact', { data: null }],
  ])('refuses a share that %s', (_, change) => {
    const bytes = resigned({ ...valid(), kind: 'share', data: shareData, ...change }, { leaf: null })
    expect(() => decodeEntry(bytes)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  it('says for which capability a box is, or of no box that it is for any', () => {
    const [box] = sections.keys.boxes
    const label = { jti: fill(16, 1), epoch: fill(16, 2) }
    const boxes = [box, { ...box, label }, { ...box, label: { ...label, epoch: undefined } }] as const
    const { entry, bytes } = signEntry(agent, draft, { ...sections, keys: { ...sections.keys, boxes: boxes as never } })
    expect(decodeEntry(bytes)).toEqual(entry)
    const row = [fill(16, 6), fill(8, 13), fill(48, 14)]
    const named = [fill(16, 1), null]
    const withLabels = (labels: unknown) => {
      const keysBytes = encodeCanonical({ wraps: [], eph: fill(32, 12), boxes: [row, row], for: labels })
      return resigned({ ...valid(), keys: sha256(keysBytes) }, { keysBytes })
    }
    expect(decodeEntry(withLabels([null, named])).keys?.boxes[1]?.label?.jti).toEqual(fill(16, 1))
    for (const labels of [
      [null, null],
      [named],
      [named, named, named],
      [[fill(16, 1)], named],
      [[null, null], named],
    ]) {
      expect(() => decodeEntry(withLabels(labels))).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    }
  })

  it('leaves entries of another release alone', () => {
    for (const change of [{ v: 2 }, { v: 0 }, { kind: 'limits' }, { kind: 'erase', data: null, more: 1 }]) {
      expect(() => decodeEntry(resigned({ ...valid(), ...change }))).toThrow(
        expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' }),
      )
    }
  })

  it('refuses to make what it would refuse to read', () => {
    expect(() => signEntry(agent, draft, { ...sections, body: new Uint8Array(maxEntryBytes) })).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' }),
    )
  })
})

describe('hybrid clock', () => {
  it('never runs backwards, whatever wall time does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 2 }), (times) => {
        let at = 0
        const clock = new HybridClock(() => times[at] as number)
        let last = clock.tick()
        for (at = 1; at < times.length; at++) {
          const next = clock.tick()
          expect(next.wallMs > last.wallMs || (next.wallMs === last.wallMs && next.counter > last.counter)).toBe(true)
          last = next
        }
      }),
    )
  })

  it('follows readings of others, but not those from far ahead', () => {
    const clock = new HybridClock(() => 1_000)
    clock.merge({ wallMs: 200_000, counter: 7 })
    expect(clock.tick()).toEqual({ wallMs: 200_000, counter: 8 })
    clock.merge({ wallMs: 400_000, counter: 0 })
    expect(clock.tick()).toEqual({ wallMs: 200_000, counter: 9 })
  })
})
