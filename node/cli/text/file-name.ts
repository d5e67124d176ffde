import { escapeControls } from './escape.ts'

/** Longest file name that common file systems take, UTF-8 bytes. */
const maxFileNameBytes = 255
/** Longest ending that is kept when a name is cut, characters. */
const maxKeptExtension = 16

/**
 * A file name for an artifact's name, which whoever wrote the artifact chose: always exactly one path component, never hidden,
 * never `.` or `..`, no control or reordering characters, no leading dash that a later command would take for an
 * option, at most 255 bytes of UTF-8.
 */
export function fileNameFor(artifactName: string): string {
  const flat = [...artifactName.replace(/[/\\]/g, '_')]
    .map((character) => (escapeControls(character) === character ? character : '_'))
    .join('')
  const visible = flat.trim().replace(/^[.-]+/, (start) => '_'.repeat(start.length))
  if (/^_*$/.test(visible)) return 'artifact'
  return shorten(visible)
}

function shorten(name: string): string {
  if (Buffer.byteLength(name) <= maxFileNameBytes) return name
  const dot = name.lastIndexOf('.')
  const extension = dot > 0 && name.length - dot <= maxKeptExtension ? name.slice(dot) : ''
  const stem = [...name.slice(0, name.length - extension.length)]
  while (Buffer.byteLength(stem.join('')) + Buffer.byteLength(extension) > maxFileNameBytes) stem.pop()
  return stem.join('') + extension
}
