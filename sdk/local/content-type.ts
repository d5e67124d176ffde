import { isUtf8 } from 'node:buffer'
import mime from 'mime'

/** How many first bytes a guess looks at. */
const sniffBytes = 4_100

/**
 * What content most likely is: by its name's extension, else by its first bytes, else text or bytes.
 *
 * @param head the first bytes, at least `sniffBytes` of them unless the content is shorter
 */
export async function guessContentType(name: string, head: Uint8Array): Promise<string> {
  const byName = mime.getType(name)
  if (byName !== null) return byName
  // Loaded when needed: it is a third of what a node loads.
  const { fileTypeFromBuffer } = await import('file-type')
  const byContent = await fileTypeFromBuffer(head.slice(0, sniffBytes))
  if (byContent !== undefined) return byContent.mime
  return looksLikeText(head.subarray(0, sniffBytes)) ? 'text/plain' : 'application/octet-stream'
}

function looksLikeText(head: Uint8Array): boolean {
  if (head.length === 0 || head.includes(0)) return false
  // The last character may be cut: up to three bytes of it.
  for (let cut = 0; cut <= 3 && cut < head.length; cut++) {
    if (isUtf8(head.subarray(0, head.length - cut))) return true
  }
  return false
}
