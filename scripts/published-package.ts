/** The fields of the clone's package.json that publishing looks at; all others pass unchanged. */
export interface ClonePackage {
  readonly exports: Readonly<Record<string, string>>
  readonly bin: Readonly<Record<string, string>>
  readonly scripts: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}

/** What only a clone needs: the tools, the Node binary, and overrides, which npm reads in the root package alone. */
const cloneOnly = new Set(['devDependencies', 'optionalDependencies', 'overrides'])

/** Steps of packing: they stay, so that npm runs them, and they mend the clone, when an interruption leaves this one in it. */
const packingScripts = ['prepack', 'postpack', 'prepublishOnly']

/**
 * The package.json of the published package: entries point to the compiled files in dist/, and Node 24 is required
 * instead of brought.
 */
export function publishedPackage(clone: ClonePackage): Record<string, unknown> {
  const kept = Object.fromEntries(Object.entries(clone).filter(([field]) => !cloneOnly.has(field)))
  const exports = Object.entries(clone.exports).map(([name, path]) => [name, compiledEntry(path)])
  const bins = Object.entries(clone.bin).map(([name, path]) => [name, `dist/${path}`])
  return {
    ...kept,
    exports: Object.fromEntries(exports),
    bin: Object.fromEntries(bins),
    scripts: Object.fromEntries(Object.entries(clone.scripts).filter(([name]) => packingScripts.includes(name))),
    engines: { node: '>=24' },
  }
}

function compiledEntry(path: string): string | { types: string; default: string } {
  if (!path.endsWith('.ts')) return path
  const stem = `./dist/${path.slice('./'.length, -'.ts'.length)}`
  return { types: `${stem}.d.ts`, default: `${stem}.js` }
}
