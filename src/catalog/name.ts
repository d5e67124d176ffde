import { ArtifactHubError } from '../errors.ts'
import { maxContentTypeBytes, maxNameBytes } from '../limits.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
const controlCharacter = /[\u0000-\u001f\u007f]/

/** RFC 6838 type/subtype (section 4.2), then RFC 9110 parameters (section 5.6.6). */
const mediaType =
  /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}(?:[ \t]*;[ \t]*(?:[!#$%&'*+.^_`|~0-9a-z-]+=(?:[!#$%&'*+.^_`|~0-9a-z-]+|"(?:[\t !#-[\]-~]|\\[\t -~])*"))?)*$/i

/**
 * An artifact's name as it was given: 1 to `maxNameBytes` bytes of UTF-8, no control characters (U+0000 to U+001F,
 * U+007F), well-formed. Slashes, dots and any other Unicode are allowed and kept as they are: nothing is normalised.
 *
 * @throws INVALID_ARGUMENT; TOO_LARGE when too long
 */
export function validateName(value: unknown): string {
  if (typeof value !== 'string') throw invalid(`a name must be a string, not ${value === null ? 'null' : typeof value}`)
  if (value === '') throw invalid('a name must not be empty')
  requireShort(value, maxNameBytes, 'a name')
  if (!value.isWellFormed()) throw invalid('a name must not hold an unpaired surrogate')
  if (controlCharacter.test(value)) throw invalid(`the name ${JSON.stringify(value)} holds a control character`)
  return value
}

/**
 * A media type with optional parameters, as it was given: `text/plain; charset=utf-8`.
 *
 * @throws INVALID_ARGUMENT; TOO_LARGE when longer than `maxContentTypeBytes`
 */
export function validateContentType(value: unknown): string {
  if (typeof value !== 'string') {
    throw invalid(`a content type must be a string, not ${value === null ? 'null' : typeof value}`)
  }
  requireShort(value, maxContentTypeBytes, 'a content type')
  if (!mediaType.test(value)) throw invalid(`${JSON.stringify(value)} is not a content type such as text/plain`)
  return value
}

function requireShort(text: string, maxBytes: number, what: string): void {
  const bytes = Buffer.byteLength(text)
  if (bytes > maxBytes) {
    throw new ArtifactHubError('TOO_LARGE', `${what} has ${bytes} bytes; at most ${maxBytes} are allowed`, {
      details: { bytes, maxBytes },
    })
  }
}

function invalid(message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', message)
}
