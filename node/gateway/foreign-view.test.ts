import { describe, expect, test } from 'vitest'
import type { Followed, Follows } from '../../sdk/local/index.ts'
import { type Capability, capabilityName, type LinkClaims } from '../../src/capability/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { ForeignView } from './foreign-view.ts'

const maxAgeMs = 60_000
const startSeconds = 1_790_000_000
const never = new AbortController().signal

/** A namespace, what a gateway elsewhere follows of it, and whether somebody answers that one. */
class World {
  readonly time = new TestTime()
  readonly author = new NamespaceNode(1, this.time)
  readonly gateway = new NamespaceNode(2, this.time)
  nowMs = startSeconds * 1000
  isThere = true
  /** Names of what is followed. */
  readonly followed = new Map<string, LinkClaims>()
  asked = 0
  #refreshedAt: number | undefined
  #isOpen = false
  readonly #observers = new Set<Parameters<Follows['observe']>[0]>()
  readonly view = new ForeignView({
    env: { now: () => this.nowMs },
    peersOf: () => [],
    maxAgeMs,
    patienceMs: 60_000,
    follows: {
      follow: async ({ token }) => {
        const { claims } = this.#byToken.get(token) as Capability<LinkClaims>
        this.followed.set(toHex(capabilityName(claims)), claims)
        return {} as Followed
      },
      unfollow: async (claims) => {
        this.followed.delete(toHex(capabilityName(claims)))
        if (this.followed.size > 0) return
        this.#isOpen = false
        this.#refreshedAt = undefined
      },
      observe: (observer) => {
        this.#observers.add(observer)
        return () => this.#observers.delete(observer)
      },
      logOf: () => (this.#isOpen ? this.gateway.ns : undefined),
      refreshedAt: () => this.#refreshedAt,
      refresh: async () => {
        this.asked += 1
        const serves = (claims: LinkClaims) =>
          this.author.ns.isIssued(claims) && this.author.ns.membership.refusalOf(claims) === undefined
        // Whoever is asked answers only what is issued and in force there.
        if (!this.isThere || ![...this.followed.values()].some(serves)) return false
        if (!this.#isOpen) await this.gateway.join(this.author)
        this.#isOpen = true
        await this.gateway.pull(this.author)
        this.#refreshedAt = this.nowMs
        return true
      },
    },
  })
  readonly #byToken = new Map<Uint8Array, Capability<LinkClaims>>()

  static async create(): Promise<World> {
    const world = new World()
    await world.author.create()
    return world
  }

  link(name: number, claims: Partial<LinkClaims> = {}): Capability<LinkClaims> {
    const token = new Uint8Array([name])
    const { ns, id } = this.author
    const link = {
      token,
      claims: {
        kind: 'link',
        issuer: id,
        jti: new Uint8Array(16).fill(name),
        grant: ns.id,
        namespace: ns.id,
        artifact: new Uint8Array(20),
        audience: [{ kind: 'agent', id: this.gateway.id }],
        notBefore: startSeconds - 60,
        expires: startSeconds + 3_600,
        pinned: {} as LinkClaims['pinned'],
        ...claims,
      } as LinkClaims,
    }
    this.#byToken.set(token, link)
    return link
  }

  /** What is said of a link: `in force`, or the code of the refusal. */
  async ask(link: Capability<LinkClaims>): Promise<string> {
    return await this.view.logOf(link, never).then(
      () => 'in force',
      (error) => error.code,
    )
  }

  /** The follower of a namespace finds in its log that a link was ended. */
  endedInLog({ claims, token }: Capability<LinkClaims>): void {
    const followed: Followed = {
      capability: { claims, token },
      peers: [],
      scope: 'auth',
      message: undefined,
      state: 'ended',
      reason: 'REVOKED',
    }
    for (const { ended } of this.#observers) ended?.(followed)
  }
}

describe('a link into a namespace that this agent has no part in', () => {
  test('is in force once somebody told what is in the log, for so long; one link carries it for all', async () => {
    const world = await World.create()
    const [one, other] = [world.link(1), world.link(2)]
    expect([await world.ask(one), await world.ask(other)]).toEqual(['in force', 'in force'])
    expect([world.asked, world.followed.size]).toEqual([1, 1])
    world.nowMs += maxAgeMs
    expect(await world.ask(other)).toBe('in force')
    expect(world.asked).toBe(1)
    world.isThere = false
    world.nowMs += 1
    expect(await world.ask(other)).toBe('STALE_VIEW')
    world.isThere = true
    expect(await world.ask(one)).toBe('in force')
    await world.view.close()
    expect(world.followed.size).toBe(0)
  })

  test('is over when the log says so, and stays so when the log is forgotten', async () => {
    const world = await World.create()
    const [one, other] = [world.link(1), world.link(2)]
    expect([await world.ask(one), await world.ask(other)]).toEqual(['in force', 'in force'])
    await world.author.ns.sharing.revokeCapabilities([one.claims.jti, other.claims.jti])
    world.nowMs += maxAgeMs + 1
    // The one that carries it is not served any more; a third one is what shows that.
    expect(await world.ask(world.link(3))).toBe('in force')
    expect([await world.ask(one), await world.ask(other)]).toEqual(['REVOKED', 'REVOKED'])
    world.endedInLog(one)
    world.isThere = false
    world.nowMs += maxAgeMs + 1
    const asked = world.asked
    expect(await world.ask(one)).toBe('REVOKED')
    expect(world.asked).toBe(asked)
  })

  test('that follows its artifact is judged by what was told after it was followed, and carries itself', async () => {
    const world = await World.create()
    expect(await world.ask(world.link(1))).toBe('in force')
    world.nowMs += 10
    const latest = world.link(2, { pinned: undefined })
    expect(await world.ask(latest)).toBe('in force')
    expect([world.asked, world.followed.size]).toEqual([2, 2])
  })

  test('that somebody forged keeps no other from being judged, and is refused once there is somebody who knows', async () => {
    const world = await World.create()
    const forged = world.link(9, { issuer: new Uint8Array(32).fill(3), grant: new Uint8Array(32).fill(4) })
    expect(await world.ask(forged)).toBe('STALE_VIEW')
    expect(await world.ask(world.link(1))).toBe('in force')
    expect(await world.ask(forged)).toBe('REVOKED')
    expect(await world.ask(world.link(1))).toBe('in force')
    expect(world.followed.size).toBe(1)
  })

  test('is carried by another when the one that carries its namespace has expired', async () => {
    const world = await World.create()
    const [brief, lasting] = [world.link(1, { expires: startSeconds + 10 }), world.link(2)]
    expect([await world.ask(brief), await world.ask(lasting)]).toEqual(['in force', 'in force'])
    world.nowMs += 11_000
    expect(await world.ask(lasting)).toBe('in force')
    expect([...world.followed.values()]).toEqual([lasting.claims])
  })
})
