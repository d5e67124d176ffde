import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lookupsIn } from '../../test/support/map-lookups.ts'
import { agentNamed, History, Holder, membershipOf, type TestEntry } from './history.test-helper.ts'

const [ann, bob, eve] = ['ann', 'bob', 'eve'].map(agentNamed) as [Uint8Array, Uint8Array, Uint8Array]
const jti = new Uint8Array(16).fill(7)
const revocation = { kind: 'revoke-capability' as const, jtis: [new Uint8Array(16).fill(6), jti] }
const issuedBy = (issuer: Uint8Array, { hash }: TestEntry) => ({ jti, issuer, grant: hash })

describe('a capability', () => {
  it('is good while its issuer’s grant lets write, and of no other agent', () => {
    const history = new History()
    const writer = history.grant(ann, 'writer')
    const reader = history.grant(bob, 'reader')
    const membership = membershipOf(history)
    expect(membership.refusalOf(issuedBy(ann, writer))).toBeUndefined()
    expect(membership.refusalOf(issuedBy(history.owner, history.genesis))).toBeUndefined()
    for (const capability of [
      issuedBy(bob, reader),
      issuedBy(bob, writer),
      issuedBy(ann, history.genesis),
      issuedBy(ann, { ...writer, hash: new Uint8Array(32) }),
    ]) {
      expect(membership.refusalOf(capability)).toBe('ISSUER_REMOVED')
    }
  })

  it('ends with the grant that it was issued under, though its issuer got another', () => {
    const history = new History()
    const first = history.grant(ann, 'writer')
    history.revoke([first], [])
    const second = history.grant(ann, 'writer')
    const membership = membershipOf(history)
    expect(membership.refusalOf(issuedBy(ann, first))).toBe('ISSUER_REMOVED')
    expect(membership.refusalOf(issuedBy(ann, second))).toBeUndefined()
  })

  it.each([
    ['its issuer', 'ann', 'REVOKED'],
    ['another writer', 'bob', undefined],
    ['an admin', 'eve', 'REVOKED'],
    ['the owner', 'owner', 'REVOKED'],
    ['a stranger', 'stranger', undefined],
  ])('of a writer is ended by %s: %s → %s', (_, who, expected) => {
    const history = new History()
    const under = {
      ann: history.grant(ann, 'writer'),
      bob: history.grant(bob, 'writer'),
      eve: history.grant(eve, 'admin'),
      owner: history.genesis,
    }
    const by = who === 'stranger' ? { author: agentNamed(who), under: under.bob } : undefined
    history.say(revocation, by ?? { author: agentNamed(who), under: under[who as keyof typeof under] })
    expect(membershipOf(history).refusalOf(issuedBy(ann, under.ann))).toBe(expected)
  })

  it('of an admin is not ended by another admin, and of the owner by nobody but the owner', () => {
    const history = new History()
    const one = history.grant(ann, 'admin')
    const two = history.grant(bob, 'admin')
    history.say(revocation, { author: bob, under: two })
    expect(membershipOf(history).refusalOf(issuedBy(ann, one))).toBeUndefined()
    expect(membershipOf(history).refusalOf(issuedBy(history.owner, history.genesis))).toBeUndefined()
    history.say(revocation)
    expect(membershipOf(history).refusalOf(issuedBy(ann, one))).toBe('REVOKED')
    expect(membershipOf(history).refusalOf(issuedBy(history.owner, history.genesis))).toBe('REVOKED')
  })

  it('is ended by its issuer beyond a cut too, where nothing that an admin says counts', () => {
    const history = new History()
    const writer = history.grant(ann, 'writer')
    const admin = history.grant(eve, 'admin')
    const last = history.append({ author: eve, under: admin })
    history.revoke([admin], [last])
    history.say(revocation, { author: eve, under: admin })
    expect(membershipOf(history).refusalOf(issuedBy(ann, writer))).toBeUndefined()
    expect(membershipOf(history).refusalOf(issuedBy(eve, admin))).toBe('REVOKED')
  })

  it('that many of one name are ended, or not, by many of no avail costs what there are of both, not one times the other', async () => {
    const cost = async (count: number): Promise<number> => {
      const history = new History()
      const one = history.grant(ann, 'writer')
      const two = history.grant(bob, 'writer')
      for (let at = 0; at < count; at += 1) history.say(revocation, { author: bob, under: two })
      const membership = membershipOf(history)
      return await lookupsIn(() => {
        for (let at = 0; at < count; at += 1) expect(membership.refusalOf(issuedBy(ann, one))).toBeUndefined()
      })
    }
    expect(await cost(200)).toBeLessThan(3 * (await cost(100)))
  })

  it('is judged the same in whatever order entries came', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { minLength: 3, maxLength: 12 }), fc.infiniteStream(fc.nat()), (acts, chance) => {
        const history = new History()
        const grants = [history.grant(ann, 'writer'), history.grant(bob, 'admin')]
        const authors = [ann, bob]
        for (const act of acts) {
          const at = act % 2
          const by = { author: authors[at] as Uint8Array, under: grants[at] as TestEntry }
          if (act < 4) history.say({ ...revocation, jtis: [new Uint8Array(16).fill(act < 2 ? 7 : 8)] }, by)
          else if (act < 6) history.append(by)
          else history.revoke([grants[at] as TestEntry], [])
        }
        const capabilities = [issuedBy(ann, grants[0] as TestEntry), issuedBy(bob, grants[1] as TestEntry)]
        const expected = capabilities.map((capability) => membershipOf(history).refusalOf(capability))
        const rest = history.entries.slice(1).map((entry) => ({ entry, at: chance.next().value as number }))
        const holder = new Holder(history.genesis)
        for (const { entry } of rest.sort((one, two) => one.at - two.at)) holder.receive([entry])
        expect(capabilities.map((capability) => holder.membership.refusalOf(capability))).toEqual(expected)
      }),
    )
  })
})
