import { formatGroupId, isGroupId, isNamespaceId } from '../../../src/encoding/index.ts'
import { isTicket } from '../../../src/identity/index.ts'
import { maxLabelBytes } from '../../../src/limits.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import { writeRecord } from './group-records.ts'

const contentType = 'application/vnd.artifact-hub.group'

/** What a group is called here until its own name is known. */
export function placeholderName(group: Uint8Array): string {
  return formatGroupId(group).slice(0, 12)
}

/** Writes a group's name into its log, for its members: a record that bears it. */
export async function writeGroupName(group: OpenNamespace, name: string): Promise<void> {
  await writeRecord(group, { name, contentType, metadata: {}, content: new Uint8Array(0) })
}

/** The name that a group's log says, if this agent can read it: the newest. */
export async function readGroupName({ log }: OpenNamespace): Promise<string | undefined> {
  const { items } = await log.catalog.list({ contentType, limit: 1 })
  const name = items[0]?.state.name
  return name !== undefined && isUsableName(name) ? name : undefined
}

/** Whether something can be called so here: any member of a group may have written it. */
export function isUsableName(name: string): boolean {
  const isShort = name !== '' && Buffer.byteLength(name) <= maxLabelBytes
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  const isPlain = name.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(name)
  return isShort && isPlain && !isNamespaceId(name) && !isGroupId(name) && !isTicket(name.trim())
}
