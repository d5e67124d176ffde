import type { Artifact, Client, ListOptions } from '../../sdk/client.ts'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import { escapeControls } from './text/index.ts'

/** Candidates that an ambiguity names before it says "and more". */
const maxCandidates = 5
/** Shortest id prefix, characters after `art_`: fewer would catch artifacts by chance. */
const minPrefixCharacters = 4
const pageItems = 1000

/**
 * The id of the artifact that a person means: a whole id (of any namespace), else the exact name of a single artifact, else the start
 * of a single id, with or without `art_` (both in the namespace given, or the current one, and then among what others share with this agent). Names and ids
 * are looked up live: a prefix costs a walk over the namespace.
 * @throws NOT_FOUND; INVALID_ARGUMENT when several match (details.candidates lists ids)
 */
export async function resolveArtifactId(
  client: Client,
  reference: string,
  options: { namespace: string | undefined; signal: AbortSignal },
): Promise<string> {
  if (reference === '')
    throw new ArtifactHubError('INVALID_ARGUMENT', 'name an artifact: its id, its name or the start of its id')
  if (reference.startsWith('art_')) {
    try {
      return (await client.artifact.get({ artifactId: reference, ...options })).id
    } catch (error) {
      if (!isHubError(error, 'NOT_FOUND') && !isHubError(error, 'INVALID_ARGUMENT')) throw error
    }
  }
  const matches = await findAmong((query) => client.artifact.list({ ...query, ...options }), reference)
  if (matches.length === 0 && options.namespace === undefined) {
    const { signal } = options
    matches.push(...(await findAmong((query) => client.artifact.listShared({ ...query, signal }), reference)))
  }
  const [only] = matches
  if (only === undefined) {
    throw new ArtifactHubError('NOT_FOUND', `no artifact has the id or the name "${escapeControls(reference)}" here`, {
      details: { reference },
    })
  }
  if (matches.length > 1) throw ambiguous(reference, matches)
  return only.id
}

type List = (query: ListOptions) => AsyncIterable<Artifact>

async function findAmong(list: List, reference: string): Promise<Artifact[]> {
  const named = await findByName(list, reference)
  return named.length > 0 ? named : await findByIdPrefix(list, reference)
}

async function findByName(list: List, name: string): Promise<Artifact[]> {
  const found: Artifact[] = []
  const order = { by: 'name', direction: 'asc' } as const
  // In name order the name itself comes before everything that only starts with it.
  for await (const artifact of list({ namePrefix: name, order, limit: maxCandidates + 1 })) {
    if (artifact.name !== name || found.push(artifact) > maxCandidates) break
  }
  return found
}

async function findByIdPrefix(list: List, reference: string): Promise<Artifact[]> {
  const prefix = reference.startsWith('art_') ? reference : `art_${reference}`
  if (prefix.length < 'art_'.length + minPrefixCharacters || !/^art_[a-z0-9]+$/i.test(prefix)) return []
  const found: Artifact[] = []
  for await (const artifact of list({ limit: pageItems })) {
    if (artifact.id.startsWith(prefix) && found.push(artifact) > maxCandidates) break
  }
  return found
}

function ambiguous(reference: string, matches: readonly Artifact[]): ArtifactHubError {
  const shown = matches.slice(0, maxCandidates)
  const lines = shown.map((artifact) => `  ${artifact.id}  ${escapeControls(artifact.name)}`)
  if (matches.length > shown.length) lines.push('  and more')
  const message = `"${escapeControls(reference)}" means several artifacts; use an id:\n${lines.join('\n')}`
  return new ArtifactHubError('INVALID_ARGUMENT', message, {
    details: { reference, candidates: shown.map((artifact) => artifact.id) },
  })
}
