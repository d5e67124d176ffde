import { chmod, link, open, readdir, readFile, rename, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { ArtifactHubError } from '../src/errors.ts'
import { AgentKey, decodeIdentityFile, encodeIdentityFile } from '../src/identity/index.ts'
import { diskError, nodeFiles, systemCode } from './disk/files.ts'

/**
 * The agent of a data directory: what `identity.key` holds, or, the first time, a fresh key written there (mode 0600) and
 * durable before it is used. The file `agent` remembers its DID from then on: what is in the directory is sealed to that
 * agent and signed by it, so neither a fresh key nor another agent's ever takes its place.
 *
 * @throws ACCESS_DENIED about the passphrase, when `identity.key` is missing and not for the first time, and when it is
 *   another agent's; CORRUPT, UNSUPPORTED_FORMAT, STORAGE_FULL, STORAGE_FAILED
 */
export async function loadIdentity(
  dataDir: string,
  passphrase: string | undefined,
  random: (length: number) => Uint8Array<ArrayBuffer>,
): Promise<AgentKey> {
  const path = join(dataDir, 'identity.key')
  const [existing, known] = [await readIfThere(path), await rememberedDid(dataDir)]
  if (existing === undefined && (known !== undefined || (await hasDatabase(dataDir)))) {
    const whose = known === undefined ? '' : `, that of ${known}`
    throw new ArtifactHubError(
      'ACCESS_DENIED',
      `identity.key is missing from ${dataDir}: restore it from a backup${whose}. Nothing was changed`,
      { details: { path } },
    )
  }
  let agent: AgentKey
  if (existing === undefined) {
    const seed = random(32)
    await writeFirst(dataDir, path, await encodeIdentityFile(seed, passphrase, random(32)))
    agent = new AgentKey(seed)
  } else {
    await chmod(path, 0o600).catch(() => {})
    agent = new AgentKey(await decodeIdentityFile(existing, passphrase))
  }
  if (known === undefined) await remember(dataDir, agent.did)
  else if (known !== agent.did) {
    throw new ArtifactHubError(
      'ACCESS_DENIED',
      `identity.key is that of ${agent.did}, and ${dataDir} belongs to ${known}: put the right one back. Nothing was changed`,
      { details: { path, did: agent.did, expectedDid: known } },
    )
  }
  return agent
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  return await readFile(path).catch((error) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw diskError(error, `read ${basename(path)}`)
  })
}

/** The database is made after the key is durable: where there is one, there was a key. */
async function hasDatabase(dataDir: string): Promise<boolean> {
  const names = await readdir(join(dataDir, 'db')).catch((error) => {
    if (systemCode(error) === 'ENOENT') return []
    throw diskError(error, 'look for the database')
  })
  return names.length > 0
}

/** @throws CORRUPT */
async function rememberedDid(dataDir: string): Promise<string | undefined> {
  const path = join(dataDir, 'agent')
  const bytes = await readIfThere(path)
  if (bytes === undefined) return undefined
  const text = Buffer.from(bytes).toString()
  if (/^did:key:z[1-9A-HJ-NP-Za-km-z]+\n$/.test(text)) return text.trimEnd()
  throw new ArtifactHubError('CORRUPT', `${path} holds no DID; it says whose directory this is`, { details: { path } })
}

async function remember(dataDir: string, did: string): Promise<void> {
  const path = join(dataDir, 'agent')
  const fresh = `${path}.new`
  try {
    await unlink(fresh).catch(() => {})
    await writeSynced(fresh, Buffer.from(`${did}\n`))
    await rename(fresh, path)
    await nodeFiles.syncDirectory(dataDir)
  } catch (error) {
    throw diskError(error, 'write agent')
  }
}

async function writeFirst(dataDir: string, path: string, bytes: Uint8Array): Promise<void> {
  const fresh = `${path}.new`
  try {
    await unlink(fresh).catch(() => {})
    await writeSynced(fresh, bytes)
    // A link, for it never replaces a key that is there.
    await link(fresh, path)
    await unlink(fresh)
    await nodeFiles.syncDirectory(dataDir)
  } catch (error) {
    throw diskError(error, 'write identity.key')
  }
}

async function writeSynced(path: string, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  await file.writeFile(bytes)
  await file.sync()
}
