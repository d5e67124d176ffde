import { formatGroupId } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { maxWritersViaGroup } from '../../../src/limits.ts'
import { rankOf } from '../../../src/membership/index.ts'
import type { GrantableRole, GroupGrant } from '../../peer-client.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Groups } from './groups.ts'

/** `namespace.grant` of a group. @throws NOT_FOUND unless this agent is in the group, TOO_LARGE, ACCESS_DENIED */
export async function grantGroup(
  groups: Groups,
  namespace: OpenNamespace,
  nameOrId: string,
  role: GrantableRole,
): Promise<GroupGrant> {
  const { namespaces } = groups.replication
  const group = namespaces.findGroup(nameOrId)
  const members = group.log.membership.members.length
  if (rankOf(role) > 0 && members > maxWritersViaGroup) {
    throw new ArtifactHubError(
      'TOO_LARGE',
      `the group has ${members} agents; at most ${maxWritersViaGroup} can write by way of a group`,
    )
  }
  await namespaces.during(namespace, () => groups.setRole(namespace, group, role))
  return { group: formatGroupId(group.row.id), name: group.row.name, role, members }
}

/** `namespace.revoke` of a group. @throws NOT_FOUND when it has no role there, ACCESS_DENIED */
export async function revokeGroup(groups: Groups, namespace: OpenNamespace, nameOrId: string): Promise<void> {
  const { namespaces } = groups.replication
  const { group, name } = groups.resolve(nameOrId)
  if (!namespace.log.membership.groups.hasRole(group)) {
    const shown = JSON.stringify(name ?? formatGroupId(group))
    throw new ArtifactHubError('NOT_FOUND', `group ${shown} has no role in that namespace`)
  }
  await namespaces.during(namespace, () => groups.endRole(namespace, group))
}
