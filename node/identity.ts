import { chmod, link, open, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { AgentKey, decodeIdentityFile, encodeIdentityFile } from '../src/identity/index.ts'
import { diskError, systemCode } from './disk/files.ts'

/**
 * The agent of a data directory: what `identity.key` holds, or, the first time, a fresh key written there (mode 0600) and
 * durable before it is used.
 *
 * @throws ACCESS_DENIED about the passphrase; CORRUPT, UNSUPPORTED_FORMAT, STORAGE_FULL, STORAGE_FAILED
 */
export async function loadIdentity(
  dataDir: string,
  passphrase: string | undefined,
  random: (length: number) => Uint8Array<ArrayBuffer>,
): Promise<AgentKey> {
  const path = join(dataDir, 'identity.key')
  const existing = await readFile(path).catch((error) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw diskError(error, 'read identity.key')
  })
  if (existing !== undefined) {
    await chmod(path, 0o600).catch(() => {})
    return new AgentKey(await decodeIdentityFile(existing, passphrase))
  }
  const seed = random(32)
  await writeOnce(dataDir, path, await encodeIdentityFile(seed, passphrase, random(32)))
  return new AgentKey(seed)
}

async function writeOnce(dataDir: string, path: string, bytes: Uint8Array): Promise<void> {
  const fresh = `${path}.new`
  try {
    await unlink(fresh).catch(() => {})
    await using file = await open(fresh, 'wx', 0o600)
    await file.writeFile(bytes)
    await file.sync()
    // A link, for it never replaces a key that is there.
    await link(fresh, path)
    await unlink(fresh)
    await using directory = await open(dataDir, 'r')
    await directory.sync()
  } catch (error) {
    throw diskError(error, 'write identity.key')
  }
}
