import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

/**
 * Copies the checkout (what git tracks or would) into `directory`/clone and runs `npm pack` there, because prepack
 * replaces package.json for a moment and others may be reading the real one.
 * @returns Where the copy and the tarball are.
 */
export function packCopy(directory: string): { clone: string; tarball: string } {
  const clone = join(directory, 'clone')
  mkdirSync(clone, { recursive: true })
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  })
  for (const path of listed.split('\0')) {
    if (path !== '' && existsSync(join(root, path))) cpSync(join(root, path), join(clone, path))
  }
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'))
  return { clone, tarball: npmPack(clone, directory) }
}

/** Runs `npm pack` in `clone`. @returns The path of the tarball, in `destination`. */
export function npmPack(clone: string, destination: string): string {
  mkdirSync(destination, { recursive: true })
  const printed = execFileSync('npm', ['pack', '--json', '--pack-destination', destination], {
    cwd: clone,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [packed] = JSON.parse(printed) as { filename: string }[]
  if (packed === undefined) throw new Error('npm pack named no tarball')
  return join(destination, packed.filename)
}
