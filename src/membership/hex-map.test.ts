import fc from 'fast-check'
import { expect, it } from 'vitest'
import { HexMap } from './hex-map.ts'

const key = fc.nat(300).map((at) => `${(at * 7).toString(16).padStart(4, '0')}`)
const steps = fc.array(fc.record({ key, value: fc.option(fc.nat(5), { nil: undefined }) }), { maxLength: 60 })

/** The map after each step, and what it must hold. */
function grown(taken: readonly { readonly key: string; readonly value: number | undefined }[]) {
  const versions = [{ map: HexMap.empty<number>(), held: new Map<string, number>() }]
  for (const { key, value } of taken) {
    const { map, held } = versions.at(-1) as (typeof versions)[number]
    const next = new Map(held)
    if (value === undefined) next.delete(key)
    else next.set(key, value)
    versions.push({ map: value === undefined ? map.without(key) : map.with(key, value), held: next })
  }
  return versions
}

const sorted = (held: ReadonlyMap<string, number>) => [...held].sort(([one], [two]) => (one < two ? -1 : 1))

it('holds what was put there, in order of the keys, and what it was made from holds that still', () => {
  fc.assert(
    fc.property(steps, key, (taken, from) => {
      for (const { map, held } of grown(taken)) {
        expect([...map]).toEqual(sorted(held))
        expect([...map.keys()]).toEqual(sorted(held).map(([name]) => name))
        expect([...map.values()]).toEqual(sorted(held).map(([, value]) => value))
        expect([...map.from(from)]).toEqual(sorted(held).filter(([name]) => name >= from))
        expect(map.size).toBe(held.size)
        expect(map.get(from)).toBe(held.get(from))
        expect(map.has(from)).toBe(held.has(from))
      }
    }),
  )
})

it('tells in what two maps differ', () => {
  fc.assert(
    fc.property(steps, steps, (some, others) => {
      const maps = [...grown(some), ...grown([...some.slice(0, 20), ...others])]
      const [one, two] = [maps[some.length], maps.at(-1)] as [(typeof maps)[number], (typeof maps)[number]]
      const names = [...new Set([...one.held.keys(), ...two.held.keys()])].sort()
      const differing = names.filter((name) => one.held.get(name) !== two.held.get(name))
      expect([...HexMap.differences(one.map, two.map)].sort()).toEqual(differing)
    }),
  )
})

it('is the same tree whatever was put there meanwhile: what does not differ is gone by', () => {
  const all = Array.from({ length: 2_000 }, (_, at) => (at * 37).toString(16).padStart(6, '0'))
  const map = all.reduce((one, name) => one.with(name, 1), HexMap.empty<number>())
  expect(map.with('ffffff', 2).without('ffffff')).toEqual(map)
  expect([...HexMap.differences(map, map.with('ffffff', 2))]).toEqual(['ffffff'])
  expect(map.with(all[0] as string, 1)).toBe(map)
  expect(map.without('ffffff')).toBe(map)
})
