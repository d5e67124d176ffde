import { readFile } from 'node:fs/promises'

/** This release, from the package.json beside the code: one folder up in a clone, two in a published package. */
export async function packageVersion(): Promise<string> {
  const path = import.meta.url.endsWith('.ts') ? '../package.json' : '../../package.json'
  const { version } = JSON.parse(await readFile(new URL(path, import.meta.url), 'utf8')) as { version: string }
  return version
}
