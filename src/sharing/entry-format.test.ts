import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { artifactIdOf, encodeCanonical, sha256, toHex } from '../encoding/index.ts'
import { AgentKey, Sealer, wrapKey, wrappingKey } from '../identity/index.ts'
import {
  leafOverheadBytes,
  maxBoxesInEntry,
  maxContentTypeBytes,
  maxInlineBytes,
  maxMetadataBytes,
  maxNameBytes,
  maxParentHeads,
  maxVersionHeads,
} from '../limits.ts'
import {
  decodeEntry,
  type EntrySections,
  encodeAuthBody,
  grantPrefix,
  type HeaderDraft,
  signEntry,
} from '../log/index.ts'
import { ArtifactKey, groupKeyOf, keyIdOf, sealShareBody } from './index.ts'

// Everything here is fixed, so every byte is.
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const agent = new AgentKey(fill(32, 1))
const incarnation = fill(16, 2)
const artifactSalt = fill(16, 3)

/** A chain of entries as they come, each under its name in `made`. */
function chain(made: Record<string, string>) {
  let previous: Uint8Array | undefined
  let namespace: Uint8Array | undefined
  let seq = 0
  const add = (name: string, draft: Pick<HeaderDraft, 'kind' | 'keyId' | 'data'>, sections: EntrySections) => {
    const place = {
      namespace,
      grant: namespace,
      incarnation,
      seq,
      previous,
      heads: seq === 0 ? [] : [fill(32, 4), fill(32, 5)],
    }
    const header = { ...draft, ...place, clock: { wallMs: 1_700_000_000_000 + seq, counter: seq } }
    const { entry, bytes } = signEntry(agent, header, sections)
    namespace ??= entry.hash
    previous = entry.hash
    seq += 1
    made[name] = toHex(bytes)
    return entry
  }
  return add
}

/** The first two entries of a group's log. */
function groupEntries(made: Record<string, string>): void {
  const add = chain(made)
  const { hash: group } = add(
    'genesis-group',
    { kind: 'genesis', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'genesis', type: 'group', nonce: fill(16, 25) }) },
  )
  const epoch = fill(32, 26)
  const keyId = keyIdOf(epoch)
  const sealer = new Sealer(fill(32, 27))
  const context = { kind: 'epoch' as const, namespace: group, subject: new Uint8Array(0), keyId }
  const boxes = [{ keyId, ...sealer.seal(epoch, agent.publicKey, context) }]
  const { publicKey } = groupKeyOf(group, epoch)
  add(
    'rotate-of-group',
    { kind: 'rotate', keyId, data: undefined },
    {
      keys: { wraps: [], ephemeral: sealer.ephemeral, boxes },
      body: encodeAuthBody({ kind: 'rotate', to: [grantPrefix(group)], publicKey, number: 1 }),
    },
  )
}

function entries(): Record<string, string> {
  const made: Record<string, string> = {}
  const add = chain(made)
  const { hash: id } = add(
    'genesis',
    { kind: 'genesis', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'genesis', type: 'namespace', nonce: fill(16, 6) }) },
  )
  const epoch = fill(32, 7)
  const epochId = keyIdOf(epoch)
  const sealer = new Sealer(fill(32, 8))
  const context = { kind: 'epoch' as const, namespace: id, subject: new Uint8Array(0), keyId: epochId }
  const box = { keyId: epochId, ...sealer.seal(epoch, agent.publicKey, context) }
  const rotateKeys = { wraps: [], ephemeral: sealer.ephemeral, boxes: [box] }
  add(
    'rotate',
    { kind: 'rotate', keyId: epochId, data: undefined },
    { keys: rotateKeys, body: encodeAuthBody({ kind: 'rotate', to: [grantPrefix(id)] }) },
  )
  const member = new AgentKey(fill(32, 14))
  const memberBox = { keyId: epochId, ...sealer.seal(epoch, member.publicKey, context) }
  const memberKeys = { wraps: [], ephemeral: sealer.ephemeral, boxes: [memberBox] }
  const sealed = { agent: member.publicKey, role: 'writer' as const, sealed: true }
  const granted = add(
    'grant',
    { kind: 'grant', keyId: epochId, data: undefined },
    { keys: memberKeys, body: encodeAuthBody({ kind: 'grant', ...sealed }) },
  )
  const viaGroup = { agent: fill(32, 15), role: 'reader' as const, sealed: false, via: fill(32, 20) }
  add(
    'grant-via-group',
    { kind: 'grant', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'grant', ...viaGroup }) },
  )
  const unsealed = { agent: fill(32, 15), role: 'replica' as const, sealed: false }
  add(
    'grant-replica',
    { kind: 'grant', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'grant', ...unsealed }) },
  )
  add(
    'keys',
    { kind: 'keys', keyId: epochId, data: undefined },
    { keys: memberKeys, body: encodeAuthBody({ kind: 'keys', to: [grantPrefix(granted.hash)] }) },
  )
  const cut = { grant: granted.hash, incarnation: fill(16, 16), seq: 7, hash: fill(32, 17) }
  add(
    'revoke',
    { kind: 'revoke', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'revoke', agent: member.publicKey, grants: [granted.hash], cuts: [cut] }) },
  )
  add(
    'adopt',
    { kind: 'adopt', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'adopt', agent: member.publicKey, ...cut }) },
  )
  const jtis = [fill(16, 18), fill(16, 19)]
  add(
    'revoke-capability',
    { kind: 'revoke-capability', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'revoke-capability', jtis }) },
  )
  add(
    'descriptor',
    { kind: 'descriptor', keyId: undefined, data: undefined },
    { body: encodeAuthBody({ kind: 'descriptor', group: fill(32, 20), proof: [fill(40, 21)], role: 'reader' }) },
  )
  add(
    'rotate-group',
    { kind: 'rotate', keyId: epochId, data: undefined },
    {
      keys: rotateKeys,
      body: encodeAuthBody({ kind: 'rotate', to: [grantPrefix(id)], publicKey: member.publicKey, number: 3 }),
    },
  )
  const artifact = artifactIdOf(id, artifactSalt)
  const key = new ArtifactKey(fill(32, 10), id, artifact)
  const leaf = fill(28 + 5, 11)
  const root = { digest: sha256(leaf), codec: 0x55, inline: true, sizeBytes: 5, storedBytes: 33, keyId: key.id }
  const keyContext = { kind: 'artifact' as const, namespace: id, subject: artifact, keyId: key.id }
  const wrap = wrapKey(key.secret, wrappingKey(epoch), keyContext)
  const next = () => ({ namespace: id, author: agent.publicKey, grant: id, incarnation, seq: Object.keys(made).length })
  const body = key.sealBody(
    encodeCanonical({ v: 1, name: 'a', type: 'text/plain', meta: '{}', sha256: fill(32, 12) }),
    next(),
    fill(12, 13),
  )
  const put = add(
    'put',
    { kind: 'put', keyId: key.id, data: { artifactSalt, parents: [], gen: 1, root, versions: [] } },
    { body, leaf, keys: { wraps: [{ keyId: key.id, under: epochId, box: wrap }], ephemeral: undefined, boxes: [] } },
  )
  const data = { artifactSalt, gen: 0, root: undefined }
  const boxFor = (recipient: Uint8Array) => ({ keyId: key.id, ...sealer.seal(key.secret, recipient, keyContext) })
  const artifactKeys = { ...memberKeys, boxes: [boxFor(member.publicKey)] }
  add(
    'keys-of-artifact',
    { kind: 'keys', keyId: key.id, data: { artifactSalt, parents: [], gen: 0, root: undefined, versions: [] } },
    { keys: artifactKeys },
  )
  const jti = fill(16, 18)
  const labelled = [
    { ...boxFor(agent.publicKey), label: undefined },
    { ...boxFor(member.publicKey), label: { jti, epoch: undefined } },
    { ...boxFor(groupKeyOf(fill(32, 20), fill(32, 22)).publicKey), label: { jti, epoch: keyIdOf(fill(32, 22)) } },
  ]
  add(
    'share',
    {
      kind: 'share',
      keyId: epochId,
      data: { artifactSalt, parents: [], gen: 0, root: undefined, versions: [], jti },
    },
    {
      keys: { ...artifactKeys, boxes: labelled },
      body: sealShareBody(
        { secret: epoch, namespace: id, artifact },
        encodeCanonical({ v: 1, kind: 'share', cap: fill(40, 23) }),
        next(),
        fill(12, 24),
      ),
    },
  )
  add('drop', { kind: 'drop', keyId: undefined, data: { ...data, parents: [], versions: [put.hash] } }, {})
  add('delete', { kind: 'delete', keyId: undefined, data: { ...data, parents: [put.hash], versions: [] } }, {})
  groupEntries(made)
  return made
}

// v1, frozen: bytes that change here are another version, with a fixture of its own.
describe('the format of entries', () => {
  it('is the bytes of the frozen fixture', async () => {
    const path = new URL('../../test/fixtures/entry-v1.json', import.meta.url)
    const fixture = JSON.parse(await readFile(path, 'utf8')) as { entries: Record<string, string> }
    expect(entries()).toEqual(fixture.entries)
  })

  it('reads what it froze', () => {
    for (const [kind, bytes] of Object.entries(entries())) {
      const entry = decodeEntry(new Uint8Array(Buffer.from(bytes, 'hex')))
      expect(kind.startsWith(entry.header.kind)).toBe(true)
    }
  })

  it('has room for everything at its limit at once', () => {
    const id = fill(32, 1)
    const key = new ArtifactKey(fill(32, 2), id, fill(20, 3))
    const leaf = fill(maxInlineBytes + leafOverheadBytes, 4)
    const state = {
      v: 1,
      name: 'n'.repeat(maxNameBytes),
      type: 't'.repeat(maxContentTypeBytes),
      meta: 'm'.repeat(maxMetadataBytes),
      sha256: fill(32, 5),
    }
    const place = { namespace: id, author: agent.publicKey, grant: id, incarnation, seq: 2 ** 40 }
    const hashes = (count: number) => Array.from({ length: count }, (_, at) => fill(32, at))
    const keys = {
      wraps: [{ keyId: key.id, under: fill(16, 6), box: fill(48, 7) }],
      ephemeral: fill(32, 8),
      boxes: Array.from({ length: maxBoxesInEntry }, () => ({ keyId: key.id, tag: fill(8, 9), box: fill(48, 10) })),
    }
    const { bytes } = signEntry(
      agent,
      {
        kind: 'put',
        namespace: id,
        grant: id,
        incarnation,
        seq: place.seq,
        previous: id,
        heads: hashes(maxParentHeads),
        clock: { wallMs: 2 ** 48 - 1, counter: 2 ** 32 - 1 },
        keyId: key.id,
        data: {
          artifactSalt,
          parents: hashes(maxVersionHeads),
          gen: 2 ** 32 - 1,
          root: {
            digest: sha256(leaf),
            codec: 0x55,
            inline: true,
            sizeBytes: maxInlineBytes,
            storedBytes: leaf.length,
            keyId: key.id,
          },
          versions: [],
        },
      },
      { keys, leaf, body: key.sealBody(encodeCanonical(state), place, fill(12, 11)) },
    )
    expect(decodeEntry(bytes).keys?.boxes).toHaveLength(maxBoxesInEntry)
  })
})
