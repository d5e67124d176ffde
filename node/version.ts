import { readFile } from 'node:fs/promises'

let version: Promise<string> | undefined

/** This release, from the package.json beside the code: one folder up in a clone, two in a published package. Read once. */
export function packageVersion(): Promise<string> {
  version ??= readVersion()
  return version
}

async function readVersion(): Promise<string> {
  const path = import.meta.url.endsWith('.ts') ? '../package.json' : '../../package.json'
  const found = JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as { version: string }
  return found.version
}
