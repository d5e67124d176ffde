import { ArtifactHubError } from '../../../src/errors.ts'
import type { CommandGroup } from '../command.ts'
import { canAsk, confirm } from '../prompt.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { escapeControls, parseVersion } from '../text/index.ts'

/** The command that deletes: `rm`. */
export const removeCommands: CommandGroup = (program, act) => {
  program
    .command('rm')
    .description(
      'delete an artifact with all its versions (asks first), or one version (does not); gc frees the space after the grace period',
    )
    .argument('<id>', 'artifact')
    .option('--version <version>', 'only this version (number or version id)')
    .option('-y, --yes', 'do not ask; without a terminal a whole artifact is deleted only with this')
    .action(act(remove))
}

async function remove(
  session: Session,
  options: { version?: string; yes?: boolean },
  reference: string,
): Promise<void> {
  const client = await session.client()
  const { namespace, signal } = session
  const artifactId = await resolveArtifactId(client, reference, { namespace, signal })
  const version = options.version === undefined ? undefined : parseVersion(options.version)
  const target = await client.artifact.get({ artifactId, version, namespace, signal })
  const what = version === undefined ? 'with all its versions' : `version ${target.version} (${target.versionId})`
  const name = escapeControls(target.name)
  // One version is what was named, number and all; an artifact takes with it what nobody may have thought of.
  if (version === undefined) await mustConfirm(session, options.yes, `Delete "${name}" ${what}?`)
  if (version === undefined) await client.artifact.delete({ artifactId, namespace, signal })
  else await client.artifact.deleteVersion({ artifactId, version: target.versionId, namespace, signal })
  const deleted = version === undefined ? { id: artifactId } : { id: artifactId, versionId: target.versionId }
  await session.result({ deleted }, `deleted "${name}" ${what}\n`)
}

/**
 * Asks before something that cannot be undone; `yes` answers for the person.
 * @throws INVALID_ARGUMENT when the answer is no, or there is nobody to ask
 */
export async function mustConfirm(session: Session, yes: boolean | undefined, question: string): Promise<void> {
  if (yes) return
  if (!canAsk()) throw new ArtifactHubError('INVALID_ARGUMENT', `${question} There is no terminal to ask on: add --yes`)
  if (!(await confirm(question, session.signal)))
    throw new ArtifactHubError('INVALID_ARGUMENT', 'not confirmed; nothing was deleted')
}
