import { describe, expect, it } from 'vitest'
import { agentNamed, History, Holder, membershipOf, type TestEntry } from './history.test-helper.ts'
import type { Membership } from './index.ts'

const [ann, bob, eve, max] = ['ann', 'bob', 'eve', 'max'].map(agentNamed) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

/** Which of the entries count, as a row of 1 and 0. */
const row = (membership: Membership, entries: readonly TestEntry[]) =>
  entries.map((entry) => (membership.counts(entry) ? '1' : '0')).join('')

describe('forks', () => {
  const setup = (role: 'writer' | 'admin' = 'writer') => {
    const history = new History()
    const grant = history.grant(ann, role)
    const trunk = history.puts(3, { author: ann, under: grant })
    const left = history.puts(3, { author: ann, under: grant, after: trunk[2] as TestEntry })
    const right = history.puts(3, { author: ann, under: grant, after: trunk[2] as TestEntry })
    return { history, grant, trunk, left, right, all: [...trunk, ...left, ...right] }
  }

  it('end a chain before them, and are shown with the two lowest entries as proof', () => {
    const { history, trunk, left, right, all } = setup()
    const third = history.append({ author: ann, under: history.entries[1] as TestEntry, after: trunk[2] as TestEntry })
    const membership = membershipOf(history)
    expect(row(membership, all)).toBe('111000000')
    const hashes = [left[0], right[0], third].map((entry) => (entry as TestEntry).hash).sort(Buffer.compare)
    expect(membership.forks).toMatchObject([{ author: ann, seq: 3, hashes: hashes.slice(0, 2) }])
  })

  it('may be at the beginning of a chain', () => {
    const history = new History()
    const under = history.grant(ann, 'writer')
    const one = history.puts(2, { author: ann, under, after: null })
    const two = history.puts(2, { author: ann, under, after: null })
    expect(row(membershipOf(history), [...one, ...two])).toBe('0000')
    history.adopt(two[0] as TestEntry)
    expect(row(membershipOf(history), [...one, ...two])).toBe('0011')
  })

  it('leave both branches of the owner', () => {
    const history = new History()
    const one = history.puts(2, { author: history.owner, under: history.genesis })
    const grant = history.grant(ann, 'writer', { after: history.genesis })
    const membership = membershipOf(history)
    expect(row(membership, [...one, grant])).toBe('111')
    expect(membership.roleOf(ann)).toBe('writer')
    expect(membership.forks).toEqual([])
  })

  it('are settled by an adopt, after which the adopted branch goes on', () => {
    const { history, grant, left, all } = setup()
    const adopt = history.adopt(left[0] as TestEntry)
    const more = history.append({ author: ann, under: grant, after: left[2] as TestEntry })
    const membership = membershipOf(history)
    expect(row(membership, [...all, more])).toBe('1111110001')
    expect(membership.forks).toEqual([])
    // The adopt first, its target and the rest one by one.
    const holder = new Holder(history.genesis)
    for (const entry of [adopt, grant, ...all, more]) holder.receive([entry])
    expect(row(holder.membership, [...all, more])).toBe('1111110001')
  })

  it('are settled for both branches by two adopts', () => {
    const { history, left, right, all } = setup()
    history.adopt(left[0] as TestEntry)
    history.adopt(right[1] as TestEntry)
    expect(row(membershipOf(history), all)).toBe('111111111')
  })

  it('on an adopted branch end it anew', () => {
    const { history, grant, left } = setup()
    history.adopt(left[1] as TestEntry)
    const twin = history.append({ author: ann, under: grant, after: left[1] as TestEntry })
    const below = history.append({ author: ann, under: grant, after: left[0] as TestEntry })
    const membership = membershipOf(history)
    expect(row(membership, [...left, twin, below])).toBe('11000')
    expect(membership.forks).toMatchObject([{ seq: 5 }])
  })

  it('stay as they are for an adopt by somebody of too low a rank', () => {
    const { history, left, all } = setup('admin')
    const admin = history.grant(bob, 'admin')
    const writer = history.grant(eve, 'writer')
    history.adopt(left[0] as TestEntry, { author: bob, under: admin })
    history.adopt(left[0] as TestEntry, { author: eve, under: writer })
    history.adopt(left[0] as TestEntry, { author: ann, under: history.entries[1] as TestEntry, inc: 'own' })
    expect(row(membershipOf(history), all)).toBe('111000000')
  })

  it.each([
    ['above the cut change nothing', 1, '110000000'],
    ['at the cut are settled by it', 3, '111100000'],
    ['below the cut are settled by it', 5, '111111000'],
  ])('%s', (_, seq, expected) => {
    const { history, grant, trunk, left, all } = setup()
    history.revoke([grant], [[...trunk, ...left][seq] as TestEntry])
    const membership = membershipOf(history)
    expect(row(membership, all)).toBe(expected)
    expect(membership.forks).toEqual([])
  })

  it('below a cut whose entry is not held stay open', () => {
    const { history, grant, left, right, all } = setup()
    const unseen = history.append({ author: ann, under: grant, after: left[2] as TestEntry })
    history.revoke([grant], [unseen])
    const held = history.entries.filter((entry) => entry !== unseen)
    expect(row(membershipOf(history, held), all)).toBe('111000000')
    expect(membershipOf(history, held).forks).toMatchObject([{ seq: 3 }])
    expect(row(membershipOf(history), [...left, ...right])).toBe('111000')
  })

  it('with cuts on two branches at one seq leave both', () => {
    const { history, grant, left, right, all } = setup()
    history.revoke([grant], [left[1] as TestEntry])
    history.revoke([grant], [right[1] as TestEntry])
    expect(row(membershipOf(history), all)).toBe('111110110')
  })

  it('above a cut are revived along the way to what is adopted', () => {
    const { history, grant, trunk, left, all } = setup()
    history.revoke([grant], [trunk[1] as TestEntry])
    history.adopt(left[1] as TestEntry)
    expect(row(membershipOf(history), all)).toBe('111110000')
  })

  it('of a removed admin below its cut void what the other branch said', () => {
    const history = new History()
    const by = { author: eve, under: history.grant(eve, 'admin') }
    const first = history.grant(bob, 'reader', by)
    const honest = history.grant(ann, 'writer', { ...by, after: first })
    history.revoke([by.under], [honest])
    const forged = history.grant(max, 'writer', { ...by, after: first })
    const membership = membershipOf(history)
    expect([ann, max].map((agent) => membership.roleOf(agent))).toEqual(['writer', undefined])
    expect(membership.counts(forged)).toBe(false)
  })
})

describe('for who holds a part of a chain, adopts', () => {
  const setUp = () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const trunk = history.puts(2, { author: ann, under: grant })
    const kept = history.puts(5, { author: ann, under: grant, after: trunk[1] as TestEntry })
    const lost = history.puts(5, { author: ann, under: grant, after: trunk[1] as TestEntry })
    const hold = (...entries: (TestEntry | undefined)[]) =>
      new Holder(history.genesis, true).receive([grant, ...(entries as TestEntry[])])
    return { history, grant, trunk, kept, lost, hold }
  }

  it('rule out what stands in the place of the entry that they name, though that is not held, and what follows', () => {
    const { history, trunk, kept, lost, hold } = setUp()
    const adopt = history.adopt(kept[1] as TestEntry)
    const held = [...trunk, kept[2], kept[4], lost[1], lost[2]] as TestEntry[]
    const membership = hold(adopt, ...held)
    expect(row(membership, held)).toBe('111100')
    expect(membership.forks).toEqual([])
  })

  it('rule out what follows another entry than the one that they name', () => {
    const { history, kept, lost, hold } = setUp()
    const adopt = history.adopt(kept[1] as TestEntry)
    const held = [kept[4], lost[2], lost[3]] as TestEntry[]
    expect(row(hold(adopt, ...held), held)).toBe('100')
  })

  it('leave what cannot be told from what comes after them, until links tell', () => {
    const { history, lost, kept, hold } = setUp()
    const adopt = history.adopt(kept[1] as TestEntry)
    const ends = [kept[3], lost[4]] as TestEntry[]
    expect(row(hold(adopt, ...ends), ends)).toBe('11')
    expect(row(hold(adopt, ...ends, lost[3], lost[2]), ends)).toBe('10')
  })

  it('have both of two wait of which either may be on their branch, and nothing else', () => {
    const { history, trunk, kept, lost, hold } = setUp()
    const adopt = history.adopt(kept[2] as TestEntry)
    const held = [...trunk, kept[0], lost[0], kept[4]] as TestEntry[]
    expect(row(hold(adopt, ...held), held)).toBe('11001')
    expect(row(hold(adopt, ...held, kept[2], kept[1]), held)).toBe('11101')
  })

  it('settle no fork above them, which has all wait that is not known to be below', () => {
    const { history, grant, kept, lost, hold } = setUp()
    const adopt = history.adopt(kept[0] as TestEntry)
    const beside = history.append({ author: ann, under: grant, after: kept[1] as TestEntry })
    const held = [kept[0], kept[2], beside, kept[4], lost[0]] as TestEntry[]
    const membership = hold(adopt, ...held)
    expect(row(membership, held)).toBe('10000')
    expect(membership.forks).toMatchObject([{ seq: 4 }])
  })

  it('and a cut leave what may be below it', () => {
    const { history, grant, kept, lost, hold } = setUp()
    const revoke = history.revoke([grant], [kept[3] as TestEntry])
    const held = [kept[0], kept[2], kept[4], lost[0], lost[3]] as TestEntry[]
    expect(row(hold(revoke, ...held), held)).toBe('01000')
    expect(row(hold(revoke, ...held, kept[3], kept[1]), held)).toBe('11000')
  })
})

describe('adopts', () => {
  it('revive what lies beyond a cut, up to the entry that they name, and not the grant', () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const puts = history.puts(5, { author: ann, under: grant })
    const revoke = history.revoke([grant], [puts[0] as TestEntry])
    const adopt = history.adopt(puts[2] as TestEntry)
    expect(row(membershipOf(history), puts)).toBe('11100')
    expect(membershipOf(history).roleOf(ann)).toBeUndefined()
    const holder = new Holder(history.genesis)
    for (const entry of [grant, adopt, revoke, puts[0], puts[1]]) holder.receive([entry as TestEntry])
    expect(row(holder.membership, puts.slice(0, 2))).toBe('10')
    expect(row(holder.receive([puts[2] as TestEntry]), puts.slice(0, 3))).toBe('111')
  })

  it('by an admin count only as far as the admin’s chain does', () => {
    const history = new History()
    const grant = history.grant(ann, 'writer')
    const puts = history.puts(2, { author: ann, under: grant })
    const by = { author: bob, under: history.grant(bob, 'admin') }
    const before = history.append({ ...by })
    history.revoke([grant], [])
    history.adopt(puts[1] as TestEntry, by)
    expect(row(membershipOf(history), puts)).toBe('11')
    history.revoke([by.under], [before])
    expect(row(membershipOf(history), puts)).toBe('00')
  })
})
