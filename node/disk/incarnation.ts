import type { BigIntStats } from 'node:fs'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { diskError, nodeFiles, systemCode } from './files.ts'
import { bootIdentity, sameBoot } from './process-identity.ts'

const incarnationBytes = 16

/** What the marker file says: the incarnation, and what file on what machine says it. */
interface Marker {
  /** 32 hex digits. */
  readonly incarnation: string
  readonly host: string
  readonly boot: string
  /** Of the marker file itself; decimal. */
  readonly device: string
  readonly inode: string
  /** Nanoseconds since 1970, decimal. Where a file system keeps no birth time this is 0, or each start draws anew. */
  readonly born: string
}

/**
 * This node's incarnation in this data directory: the one drawn before, as long as nothing suggests that the directory
 * was copied, restored or moved to another machine; else a new one (`fresh`), on the disk before this returns.
 *
 * The marker file names its own inode, device and birth, the host and the boot. A copy of it, however faithful, is
 * another file; a rename keeps all three, which is how a file can be put in place that already names itself. A reboot
 * draws a new one too: a disk image may have been put back meanwhile. What this cannot see is a restore under a running
 * system that leaves this very file in place and replaces others.
 * @param directory locked by the caller
 * @param random gives that many random bytes
 * @throws STORAGE_FULL, STORAGE_FAILED
 */
export async function readIncarnation(
  directory: string,
  random: (bytes: number) => Uint8Array,
): Promise<{ incarnation: Uint8Array; fresh: boolean }> {
  const path = join(directory, 'incarnation')
  try {
    const marker = await readMarker(path)
    if (marker && isOriginal(marker, await stat(path, { bigint: true }))) {
      return { incarnation: Uint8Array.from(Buffer.from(marker.incarnation, 'hex')), fresh: false }
    }
    const incarnation = Uint8Array.from(random(incarnationBytes))
    await writeMarker(directory, path, incarnation)
    return { incarnation, fresh: true }
  } catch (error) {
    throw diskError(error, 'read or write the incarnation')
  }
}

/** An unreadable marker is as good as none: a new incarnation harms nothing, a wrong one forks a chain. */
async function readMarker(path: string): Promise<Marker | undefined> {
  try {
    const marker = JSON.parse(await readFile(path, 'utf8')) as Partial<Marker> | null
    return typeof marker?.incarnation === 'string' && /^[0-9a-f]{32}$/.test(marker.incarnation)
      ? (marker as Marker)
      : undefined
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function isOriginal(marker: Marker, file: BigIntStats): boolean {
  const place = placeOf(file)
  return (
    marker.host === hostname() &&
    typeof marker.boot === 'string' &&
    sameBoot(marker.boot, bootIdentity()) &&
    marker.device === place.device &&
    marker.inode === place.inode &&
    marker.born === place.born
  )
}

function placeOf(file: BigIntStats): Pick<Marker, 'device' | 'inode' | 'born'> {
  return { device: String(file.dev), inode: String(file.ino), born: String(file.birthtimeNs) }
}

async function writeMarker(directory: string, path: string, incarnation: Uint8Array): Promise<void> {
  const draft = `${path}.new`
  await nodeFiles.unlink(draft).catch((error) => {
    if (systemCode(error) !== 'ENOENT') throw error
  })
  const file = await open(draft, 'wx', 0o600)
  try {
    const marker: Marker = {
      incarnation: Buffer.from(incarnation).toString('hex'),
      host: hostname(),
      boot: bootIdentity(),
      ...placeOf(await file.stat({ bigint: true })),
    }
    await file.writeFile(`${JSON.stringify(marker, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
  await nodeFiles.syncDirectory(directory)
}
