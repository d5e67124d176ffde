import { createCipheriv } from 'node:crypto'
import { copyFile, open } from 'node:fs/promises'
import { run } from './programs.ts'

const MiB = 1024 * 1024
const zeros = new Uint8Array(MiB)

/** Bytes that look random and are the same for the same seed: the key stream of AES-256-CTR. */
function randomBytesOf(seed: string): (length: number) => Uint8Array {
  const cipher = createCipheriv('aes-256-ctr', Buffer.from(seed.padEnd(32).slice(0, 32)), new Uint8Array(16))
  return (length) => cipher.update(length === zeros.length ? zeros : new Uint8Array(length))
}

/** Writes a file of random bytes. */
export async function writeRandomFile(path: string, bytes: number): Promise<void> {
  const random = randomBytesOf('the large file')
  await using file = await open(path, 'w')
  for (let left = bytes; left > 0; left -= MiB) await file.write(random(Math.min(left, MiB)))
}

/** The same file with one percent of it replaced, in ten places. */
export async function writeEdited(base: string, path: string, bytes: number): Promise<void> {
  await copyFile(base, path)
  const random = randomBytesOf('edits')
  const editBytes = Math.floor(bytes / 1_000)
  await using file = await open(path, 'r+')
  for (let place = 0; place < 10; place++)
    await file.write(random(editBytes), 0, editBytes, Math.floor(((place + 0.37) * bytes) / 10))
}

/** The same file with one byte put in near the front, so that everything after it moves. */
export async function writeInserted(base: string, path: string): Promise<void> {
  const script = 'head -c 1000 "$1" && printf x && tail -c +1001 "$1"'
  await run('sh', ['-c', `{ ${script}; } > "$2"`, 'sh', base, path])
}

/** The same file with random bytes after its end. */
export async function writeAppended(base: string, path: string, bytes: number): Promise<void> {
  await copyFile(base, path)
  const random = randomBytesOf('appended')
  await using file = await open(path, 'a')
  for (let left = bytes; left > 0; left -= MiB) await file.write(random(Math.min(left, MiB)))
}

/** @throws Error unless both files hold the same bytes */
export async function assertSame(a: string, b: string): Promise<void> {
  await run('cmp', [a, b])
}
