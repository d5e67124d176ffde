import type { BigIntStats } from 'node:fs'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { isHubError } from '../../src/errors.ts'
import type { KeyValueStore } from '../../src/storage/key-value.ts'
import { diskError, nodeFiles, systemCode } from './files.ts'
import { bootIdentity, sameBoot } from './process-identity.ts'

const formatVersion = 1
const incarnationBytes = 16
const stampBytes = 16

/** What the marker file says: the incarnation, and what file on what machine says it. */
interface Marker {
  readonly v: typeof formatVersion
  /** 32 hex digits. */
  readonly incarnation: string
  /** 32 hex digits: what the database must say too. */
  readonly stamp: string
  readonly host: string
  readonly boot: string
  /** Of the marker file itself; decimal. */
  readonly device: string
  readonly inode: string
  /** Nanoseconds since 1970, decimal. Where a file system keeps no birth time this is 0, or each start draws anew. */
  readonly born: string
}

/** Where an incarnation is kept. */
export interface IncarnationPlace {
  /** Locked by the caller. */
  readonly directory: string
  /** The database that the incarnation's entries go to. */
  readonly store: KeyValueStore
  /** The row of the stamp in there. */
  readonly stampKey: Uint8Array
  /** Gives that many random bytes. */
  readonly random: (bytes: number) => Uint8Array
}

/** A node's incarnation for as long as it runs. */
export interface Incarnation {
  /** 16 bytes. */
  readonly incarnation: Uint8Array
  /** Whether it was drawn just now. */
  readonly fresh: boolean
  /**
   * Tells database and marker from any copy made while the node ran. To be called when nothing is written any more; never
   * rejects, for what this fails to do costs at most an incarnation.
   */
  readonly seal: () => Promise<void>
}

/**
 * This node's incarnation in this data directory: the one drawn before, as long as nothing suggests that the directory
 * or its database was copied, restored or moved to another machine; else a new one (`fresh`), on the disk before this returns.
 *
 * The marker file names its own inode, device and birth, the host and the boot. A copy of it, however faithful, is
 * another file; a rename keeps all three, which is how a file can be put in place that already names itself. A reboot
 * draws a new one too: a disk image may have been put back meanwhile. And it carries a stamp that the database carries too,
 * another at every start and every end of a node: one of the two put back without the other does not match it.
 * @throws STORAGE_FULL, STORAGE_FAILED
 */
export async function openIncarnation(place: IncarnationPlace): Promise<Incarnation> {
  const { directory, store, stampKey, random } = place
  const path = join(directory, 'incarnation')
  try {
    const [marker, stamp] = [await readMarker(path), await store.get(stampKey)]
    const known =
      marker !== undefined &&
      stamp !== undefined &&
      marker.stamp === Buffer.from(stamp).toString('hex') &&
      isOriginal(marker, await stat(path, { bigint: true }))
        ? Uint8Array.from(Buffer.from(marker.incarnation, 'hex'))
        : undefined
    const incarnation = known ?? Uint8Array.from(random(incarnationBytes))
    if (known === undefined) await writeStamp(place, path, incarnation, { sync: true })
    // What is there says nothing wrong: a full disk is no reason not to start.
    else await writeStamp(place, path, incarnation, { sync: false }).catch(ignoreFullDisk)
    return {
      incarnation,
      fresh: known === undefined,
      seal: () => writeStamp(place, path, incarnation, { sync: false }).catch(() => {}),
    }
  } catch (error) {
    throw diskError(error, 'read or write the incarnation')
  }
}

/**
 * Cut off in between, marker and database disagree, and the next start draws a new incarnation. Without `sync` a power cut may
 * have either of them lost, and the boot after it draws a new one in any case.
 */
async function writeStamp(
  place: IncarnationPlace,
  path: string,
  incarnation: Uint8Array,
  { sync }: { sync: boolean },
): Promise<void> {
  const stamp = Uint8Array.from(place.random(stampBytes))
  // The marker first: on a full disk this is what fails, and the database is left alone.
  await writeMarker(place.directory, path, incarnation, stamp, sync)
  await place.store.batch([{ type: 'put', key: place.stampKey, value: stamp }], { sync })
}

function ignoreFullDisk(error: unknown): void {
  const failure = diskError(error, 'write the incarnation')
  if (!isHubError(failure, 'STORAGE_FULL')) throw failure
}

/** An unreadable marker is as good as none: a new incarnation harms nothing, a wrong one forks a chain. */
async function readMarker(path: string): Promise<Marker | undefined> {
  try {
    const marker = JSON.parse(await readFile(path, 'utf8')) as Partial<Marker> | null
    return marker?.v === formatVersion &&
      typeof marker.incarnation === 'string' &&
      /^[0-9a-f]{32}$/.test(marker.incarnation)
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

async function writeMarker(
  directory: string,
  path: string,
  incarnation: Uint8Array,
  stamp: Uint8Array,
  sync: boolean,
): Promise<void> {
  const draft = `${path}.new`
  await nodeFiles.unlink(draft).catch((error) => {
    if (systemCode(error) !== 'ENOENT') throw error
  })
  const file = await open(draft, 'wx', 0o600)
  try {
    const marker: Marker = {
      v: formatVersion,
      incarnation: Buffer.from(incarnation).toString('hex'),
      stamp: Buffer.from(stamp).toString('hex'),
      host: hostname(),
      boot: bootIdentity(),
      ...placeOf(await file.stat({ bigint: true })),
    }
    await file.writeFile(`${JSON.stringify(marker, undefined, 2)}\n`)
    if (sync) await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
  if (sync) await nodeFiles.syncDirectory(directory)
}
