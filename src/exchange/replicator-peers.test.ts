import { expect, it } from 'vitest'
import { equalBytes, sha256, toHex } from '../encoding/index.ts'
import { maxSyncStrangers } from '../limits.ts'
import { type SyncPeer, SyncPeers } from './replicator-peers.ts'

const agentOf = (number: number) => sha256(Buffer.from(`agent ${number}`))

it('strangers beyond a number take the places of those with whom nothing is under way, and none of a member’s', () => {
  const member = agentOf(-1)
  const peers = new SyncPeers((agent) => !equalBytes(agent, member))
  const known = peers.get(member)
  const strangers = Array.from({ length: maxSyncStrangers }, (_, at) => peers.get(agentOf(at)) as SyncPeer)
  // All are under way: in a round, or waiting after one that failed.
  for (const [at, peer] of strangers.entries()) {
    if (at % 2 === 0) peer.running = Promise.resolve()
    else peer.cooling = () => {}
  }
  const late = agentOf(maxSyncStrangers)
  expect(peers.get(late)).toBeUndefined()
  expect([...peers.values()]).toEqual([known, ...strangers])

  const through = strangers[7] as SyncPeer
  through.cooling = undefined
  expect(toHex((peers.get(late) as SyncPeer).agent)).toBe(toHex(late))
  expect(peers.find(through.agent)).toBeUndefined()
  expect([...peers.values()]).toHaveLength(1 + maxSyncStrangers)
  expect(peers.get(member)).toBe(known)
})
