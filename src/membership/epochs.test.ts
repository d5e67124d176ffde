import { describe, expect, it } from 'vitest'
import { sha256, toHex } from '../encoding/index.ts'
import { grantPrefix } from '../log/index.ts'
import { agentNamed, History, membershipOf, type TestEntry } from './history.test-helper.ts'
import type { AuthEntry } from './index.ts'

const [ann, bob, eve, max] = ['ann', 'bob', 'eve', 'max'].map(agentNamed) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

describe('epochs', () => {
  const id = (name: string) => sha256(Buffer.from(name)).slice(0, 16)
  const to = (...grants: readonly TestEntry[]) => grants.map(({ hash }) => grantPrefix(hash)).sort(Buffer.compare)
  const wrapping = (...names: readonly string[]) => ({
    wraps: names.map((name) => ({ keyId: id(name), under: id('any'), box: new Uint8Array(48) })),
    ephemeral: undefined,
    boxes: [],
  })

  it('are owed as long as there is none', () => {
    expect(membershipOf(new History()).owed).toEqual({ rotation: true, epoch: undefined, boxes: [] })
  })

  it('are good while everyone they were sealed to is a member, by rotate, grant or keys', () => {
    const history = new History()
    const first = history.grant(ann, 'writer')
    history.say({ kind: 'rotate', to: to(history.genesis, first) }, { keyId: id('one') })
    const second = history.grant(bob, 'reader', { keyId: id('one') })
    const third = history.grant(eve, 'reader')
    history.say({ kind: 'keys', to: to(third) }, { author: ann, under: first, keyId: id('one') })
    history.grant(max, 'replica')
    const whole = membershipOf(history)
    expect(whole.epochs.map((epoch) => toHex(epoch.id))).toEqual([toHex(id('one'))])
    expect(whole.owed).toEqual({ rotation: false, epoch: id('one'), boxes: [] })
    for (const grant of [first, second, third]) {
      const without = whole.with({ auth: [history.revoke([grant], []) as AuthEntry] })
      // A revoke with no cut voids the keys entry of the first too: what it was sealed to then does not matter.
      expect(without.isGoodEpoch(id('one'))).toBe(false)
      expect(without.owed.rotation).toBe(true)
    }
  })

  it('are no good once somebody has left who was given one that wraps them, though they began before that one’s time', () => {
    const history = new History()
    const rotate = (name: string, ...wraps: string[]) =>
      history.say({ kind: 'rotate', to: to(history.genesis) }, { keyId: id(name), keys: wrapping(...wraps) })
    rotate('one')
    rotate('two', 'one')
    rotate('three', 'two')
    rotate('beside')
    const late = history.grant(ann, 'reader', { keyId: id('three') })
    for (const name of ['one', 'two', 'three']) expect(membershipOf(history).isGoodEpoch(id(name))).toBe(true)
    history.revoke([late], [])
    const membership = membershipOf(history)
    for (const name of ['one', 'two', 'three']) expect(membership.isGoodEpoch(id(name))).toBe(false)
    expect(membership.isGoodEpoch(id('beside'))).toBe(true)
  })

  it('lack boxes for members that nobody sealed them to', () => {
    const history = new History()
    history.say({ kind: 'rotate', to: to(history.genesis) }, { keyId: id('one') })
    history.grant(ann, 'reader')
    history.grant(max, 'replica')
    const { boxes } = membershipOf(history).owed
    expect(boxes.map(({ agent }) => agent)).toEqual([ann])
  })

  it('do not begin by a rotate that does not count, nor become bad by keys that do not', () => {
    const history = new History()
    history.say({ kind: 'rotate', to: to(history.genesis) }, { keyId: id('one') })
    const reader = history.grant(eve, 'reader')
    history.say({ kind: 'rotate', to: to(reader) }, { author: eve, under: reader, keyId: id('two') })
    const stranger = history.grant(max, 'reader', { author: eve, under: reader })
    history.say({ kind: 'keys', to: to(stranger) }, { author: eve, under: reader, keyId: id('one') })
    const membership = membershipOf(history)
    expect(membership.epochs).toHaveLength(1)
    expect(membership.isGoodEpoch(id('two'))).toBe(false)
    expect(membership.isGoodEpoch(id('one'))).toBe(true)
  })

  it('stay good when a writer names grants that are not held or have no effect, and not when it names one that ended', () => {
    const history = new History()
    const writer = history.grant(ann, 'writer')
    const former = history.grant(eve, 'reader')
    history.say({ kind: 'rotate', to: to(history.genesis, writer) }, { keyId: id('one') })
    const unseen = history.grant(bob, 'reader')
    const forged = history.grant(max, 'reader', { author: ann, under: writer })
    history.revoke([former], [])
    const said = [unseen, forged, former].map((grant) =>
      history.say({ kind: 'keys', to: to(grant) }, { author: ann, under: writer, keyId: id('one') }),
    )
    const without = (...left: readonly TestEntry[]) =>
      membershipOf(
        history,
        history.entries.filter((entry) => !left.includes(entry)),
      )
    const [, , last] = said as [TestEntry, TestEntry, TestEntry]
    expect(without(unseen, last).isGoodEpoch(id('one'))).toBe(true)
    expect(without(unseen, last).isRotationForced).toBe(false)
    expect(without(unseen)).toMatchObject({ isRotationForced: true, owed: { rotation: true } })
  })

  it.each([true, false])(
    'are no good for what an admin or the owner says to be wrapped, whoever else says so: first %s',
    (isFirst) => {
      const history = new History()
      const writer = history.grant(ann, 'writer')
      const former = history.grant(eve, 'reader')
      history.say({ kind: 'rotate', to: to(history.genesis, former) }, { keyId: id('above') })
      history.say({ kind: 'rotate', to: to(history.genesis, writer) }, { keyId: id('one') })
      const wrap = (by: { author?: Uint8Array; under?: TestEntry }) =>
        history.say({ kind: 'keys', to: [] }, { ...by, keyId: id('above'), keys: wrapping('one') })
      const [byWriter, byOwner] = [{ author: ann, under: writer }, {}]
      for (const by of isFirst ? [byOwner, byWriter] : [byWriter, byOwner]) wrap(by)
      history.revoke([former], [])
      expect(membershipOf(history)).toMatchObject({ isRotationForced: false, owed: { rotation: true } })
      // What only a writer says forces a rotation that would not be owed otherwise.
      const withoutOwner = history.entries.filter(
        ({ header }) => header.kind !== 'keys' || header.author !== history.owner,
      )
      expect(membershipOf(history, withoutOwner).isRotationForced).toBe(true)
    },
  )

  it('lack boxes for members whom only writers say to have sealed them to, in the eyes of higher ranks', () => {
    const history = new History()
    const writer = history.grant(ann, 'writer')
    history.say({ kind: 'rotate', to: to(history.genesis, writer) }, { keyId: id('one') })
    const reader = history.grant(eve, 'reader')
    history.say({ kind: 'keys', to: to(reader) }, { author: ann, under: writer, keyId: id('one') })
    const membership = membershipOf(history)
    expect(membership.lacking(id('one'))).toEqual([])
    expect(membership.lacking(id('one'), 2).map(({ agent }) => agent)).toEqual([eve])
    history.say({ kind: 'keys', to: to(reader) }, { keyId: id('one') })
    expect(membershipOf(history).lacking(id('one'), 2)).toEqual([])
  })

  it('are no good when sealed to a grant that is not held', () => {
    const history = new History()
    const unseen = history.grant(ann, 'writer')
    const rotate = history.say({ kind: 'rotate', to: to(history.genesis, unseen) }, { keyId: id('one') })
    expect(membershipOf(history, [rotate]).isGoodEpoch(id('one'))).toBe(false)
    expect(membershipOf(history).isGoodEpoch(id('one'))).toBe(true)
  })

  it('come in order of depth, then clock; wraps of what is later by clock make no depth, so there are no cycles', () => {
    const history = new History()
    const rotate = (name: string, wallMs: number, ...wraps: string[]) =>
      history.say({ kind: 'rotate', to: to(history.genesis) }, { keyId: id(name), keys: wrapping(...wraps), wallMs })
    rotate('one', 1)
    rotate('two', 2, 'one', 'three')
    rotate('three', 3, 'two')
    rotate('late', 9)
    rotate('sibling', 4, 'two')
    const { epochs } = membershipOf(history)
    const names = new Map(['one', 'two', 'three', 'late', 'sibling'].map((name) => [toHex(id(name)), name]))
    expect(epochs.map((epoch) => `${names.get(toHex(epoch.id))} ${epoch.depth}`)).toEqual([
      'sibling 2',
      'three 2',
      'two 1',
      'late 0',
      'one 0',
    ])
  })
})
