import { maxLinkNameBytes } from '../limits.ts'

/** Whether a text can be the last part of a URL's path and the name of a file everywhere. */
export function isLinkName(name: string): boolean {
  // Dots alone are ways up a path, however a client spells them.
  if (name === '' || name === '.' || name === '..' || !name.isWellFormed()) return false
  return Buffer.byteLength(name) <= maxLinkNameBytes && !/[\p{Cc}\p{Zl}\p{Zp}/\\]/u.test(name)
}

/** The name under which an artifact is downloaded when nobody says another: the last part of its own, as much as fits. */
export function linkNameOf(artifactName: string): string {
  const last = artifactName
    .split(/[/\\]/)
    .at(-1)
    ?.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '_')
  let name = ''
  for (const character of last ?? '') {
    if (Buffer.byteLength(name + character) > maxLinkNameBytes) break
    name += character
  }
  return isLinkName(name) ? name : 'download'
}
