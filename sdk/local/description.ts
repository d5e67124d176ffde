import { type ArtifactState, validateContentType, validateMetadata, validateName } from '../../src/catalog/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { type Content, dataContent } from './data-source.ts'

const textEncoder = new TextEncoder()

/** Options whose values nobody has looked at yet. */
export interface RawDescription {
  readonly name?: unknown
  readonly contentType?: unknown
  readonly metadata?: unknown
  readonly namespace?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** A description as given, checked. */
export interface Description {
  readonly name: string | undefined
  readonly contentType: string | undefined
  readonly metadata: ArtifactState['metadata'] | undefined
}

/** Looks at a description. @throws INVALID_ARGUMENT, TOO_LARGE */
export function describe(options: RawDescription): Description {
  return {
    name: options.name === undefined ? undefined : validateName(options.name),
    contentType: options.contentType === undefined ? undefined : validateContentType(options.contentType),
    metadata: options.metadata === undefined ? undefined : validateMetadata(options.metadata),
  }
}

/** A description that must have a name. @throws INVALID_ARGUMENT */
export function named(description: Description): Description & { name: string } {
  const { name } = description
  if (name === undefined)
    throw new ArtifactHubError('INVALID_ARGUMENT', 'name is missing', { details: { option: 'name' } })
  return { ...description, name }
}

/** A snippet's text and what it is: a string as it stands, anything else as JSON. */
export function snippetOf(
  content: unknown,
  description: Description & { name: string },
): { description: typeof description; content: Content } {
  if (content === undefined)
    throw new ArtifactHubError('INVALID_ARGUMENT', 'content is missing', { details: { option: 'content' } })
  const text = typeof content === 'string' ? content : jsonText(content)
  // Encoded, it would come back as another text.
  if (!text.isWellFormed())
    throw new ArtifactHubError('INVALID_ARGUMENT', 'content holds an unpaired surrogate', {
      details: { option: 'content' },
    })
  const bytes = textEncoder.encode(text)
  const isJson = typeof content !== 'string' && !description.name.includes('.')
  return {
    description: { ...description, contentType: description.contentType ?? (isJson ? 'application/json' : undefined) },
    content: dataContent(bytes),
  }
}

function jsonText(content: unknown): string {
  try {
    const text = JSON.stringify(content, refuseNoNumber, 2)
    if (text !== undefined) return text
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'content is not JSON', { cause, details: { option: 'content' } })
  }
  throw new ArtifactHubError('INVALID_ARGUMENT', `content is not JSON but ${typeof content}`, {
    details: { option: 'content' },
  })
}

/** JSON would make null of it without a word. */
function refuseNoNumber(_key: string, value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) throw new RangeError(`JSON has no number for ${value}`)
  return value
}
