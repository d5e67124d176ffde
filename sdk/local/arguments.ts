import { types } from 'node:util'
import { z } from 'zod'
import { ArtifactHubError } from '../../src/errors.ts'
import { isTicket } from '../../src/identity/index.ts'
import {
  maxAudience,
  maxGroupMembers,
  maxLabelBytes,
  maxLinkSeconds,
  maxPageItems,
  maxReplicas,
  maxTicketText,
  plans,
} from '../../src/limits.ts'

// What callers write in JavaScript is checked as if it came over a wire: types bind only those who use them.

const signal = z.instanceof(AbortSignal).optional()
const text = z.string().min(1)
const namespace = text.optional()
const path = text.refine((value) => !value.includes('\0'), 'must not hold a NUL')
const progress = z
  .custom<(progress: unknown) => void>((value) => typeof value === 'function', 'must be a function')
  .optional()
const version = z.union([z.number(), z.string()], 'must be a version number or a version id').optional()
// Looked at closer by those who store them.
const anything = z.unknown().optional()
const date = z
  .custom<Date>((value) => types.isDate(value) && !Number.isNaN(value.getTime()), 'must be a valid Date')
  .optional()
const count = z.number().int().min(0)
const limit = z.number().int().min(1).max(maxPageItems).optional()
const cursor = z.string().optional()
const plan = z.enum(Object.keys(plans) as [keyof typeof plans])
const label = z
  .string()
  .min(1)
  .refine((value) => Buffer.byteLength(value) <= maxLabelBytes, `must be at most ${maxLabelBytes} bytes`)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
  .refine((value) => value.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(value), 'must not hold control characters')
  .refine((value) => !/^ns_[a-z2-7]{52}$/.test(value), 'must not look like a namespace id')
  .refine((value) => !/^grp_[a-z2-7]{52}$/.test(value), 'must not look like a group id')

const contactName = label.refine(
  (value) => !value.trim().startsWith('did:') && !isTicket(value.trim()),
  'must look like neither a DID nor a ticket',
)
const ticket = z
  .string()
  .min(1)
  .max(4 * maxTicketText)
const agent = z
  .string()
  .min(1)
  .max(4 * maxTicketText)
const agents = z.array(agent).min(1).max(maxGroupMembers)
const groupName = label.refine((value) => !isTicket(value.trim()), 'must not look like a ticket')
const someAgents = z.array(agent).max(maxGroupMembers).optional()
const role = z.enum(['admin', 'writer', 'reader', 'replica'])
const timeoutMs = z
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1)
const replication = { replicas: count.max(maxReplicas).optional(), replicaTimeoutMs: timeoutMs.optional() }

const description = { name: anything, contentType: anything, metadata: anything, namespace, signal }
const one = { artifactId: text, namespace, signal }
const query = {
  metadataFilter: anything,
  namePrefix: z.string().optional(),
  contentType: z.string().optional(),
  createdAfter: date,
  createdBefore: date,
  order: z
    .strictObject({ by: z.enum(['createdAt', 'updatedAt', 'name']), direction: z.enum(['asc', 'desc']).optional() })
    .optional(),
  limit,
  cursor,
  signal,
}
const range = z.strictObject({ offset: count, length: count.optional() }).optional()

const gateway = z.union([agent, z.strictObject({ agent, url: text })], 'must be an agent, or { agent, url }')
const jti = z.string().regex(/^[0-9a-f]{32}$/, 'must be the 32 hex digits of a link')

/** The shape of every call's options. */
export const shapes = {
  create: z.strictObject({ ...description, ...replication, data: anything, onProgress: progress }),
  uploadFile: z.strictObject({ ...description, ...replication, path, onProgress: progress }),
  createSnippet: z.strictObject({ ...description, ...replication, content: anything }),
  update: z.strictObject({
    ...description,
    ...replication,
    artifactId: text,
    data: anything,
    path: path.optional(),
    content: anything,
    restore: version,
    expectedVersion: version,
    onProgress: progress,
  }),
  get: z.union([z.strictObject({ ...one, version }), z.strictObject({ name: text, namespace, version, signal })]),
  download: z.strictObject({ ...one, version, range, onProgress: progress }),
  downloadFile: z.strictObject({
    ...one,
    version,
    path,
    overwrite: z.boolean().optional(),
    onProgress: progress,
  }),
  list: z.strictObject({ namespace, ...query }),
  listShared: z.strictObject({ by: z.enum(['others', 'me']).optional(), ...query }),
  listVersions: z.strictObject({ ...one, limit, cursor }),
  share: z.strictObject({
    ...one,
    withAgents: someAgents,
    withGroups: someAgents,
    expiresIn: count.min(1).optional(),
    fromNow: z.boolean().optional(),
    message: text.optional(),
  }),
  unshare: z.strictObject({ ...one, agents: someAgents, groups: someAgents }),
  request: z.strictObject({ id: z.string().regex(/^[0-9a-f]{32}$/, 'must be the id of a request'), signal }),
  artifact: z.strictObject(one),
  version: z.strictObject({
    ...one,
    version: z.union([z.number(), z.string()], 'must be a version number or a version id'),
  }),
  namespaceCreate: z.strictObject({ name: label, plan: plan.optional(), signal }),
  namespacePlan: z.strictObject({ namespace: text, plan, signal }),
  namespace: z.strictObject({ namespace: text, signal }),
  maybeNamespace: z.strictObject({ namespace, signal }),
  nothing: z.strictObject({ signal }),
  contactAdd: z.union([
    z.strictObject({ name: contactName, did: text, ticket: z.undefined().optional(), signal }),
    z.strictObject({ name: contactName, ticket, did: z.undefined().optional(), signal }),
  ]),
  contact: z.strictObject({ name: text, signal }),
  grant: z.union([
    z.strictObject({ namespace, agent, group: z.undefined().optional(), role, signal }),
    z.strictObject({ namespace, group: text, agent: z.undefined().optional(), role, signal }),
  ]),
  revoke: z.union([
    z.strictObject({ namespace, agent, group: z.undefined().optional(), signal }),
    z.strictObject({ namespace, group: text, agent: z.undefined().optional(), signal }),
  ]),
  groupCreate: z.strictObject({ name: groupName, signal }),
  group: z.strictObject({ group: text, signal }),
  groupAdd: z.strictObject({ group: text, agents, role: z.enum(['admin', 'member']).optional(), signal }),
  groupRemove: z.strictObject({ group: text, agents, signal }),
  join: z.strictObject({ ticket, name: label.optional(), wait: z.boolean().optional(), signal }),
  adopt: z.strictObject({
    namespace,
    head: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hex digits, as status shows them'),
    signal,
  }),
  policy: z.strictObject({ namespace, fetch: z.enum(['eager', 'lazy']), maxBytes: count.optional(), signal }),
  signedUrl: z.strictObject({
    ...one,
    version,
    expiresIn: z
      .number()
      .int()
      .min(1)
      .max(maxLinkSeconds, `must be seconds, at most ${maxLinkSeconds} (7 days)`)
      .optional(),
    notBefore: date,
    gateways: z.array(gateway).min(1).max(maxAudience).optional(),
    filename: z.string().optional(),
    disposition: z.enum(['attachment', 'inline']).optional(),
    ip: z.string().optional(),
    maxUses: z
      .number()
      .int()
      .min(1)
      .max(2 ** 32 - 1)
      .optional(),
  }),
  signedUrls: z.strictObject({ artifactId: text.optional(), signal }),
  revokeSignedUrl: z.strictObject({ jti, namespace, signal }),
  watch: z.strictObject({ namespace, artifactId: text.optional(), cursor, signal }),
} as const

/**
 * A call's options, checked; an aborted signal throws its reason here, before anything is done.
 *
 * @throws INVALID_ARGUMENT naming the option and what is wrong with it
 */
export function checked<S extends z.ZodType<{ signal?: AbortSignal | undefined }>>(
  call: string,
  shape: S,
  options: unknown,
): z.infer<S> {
  const result = parsed(shape, options ?? {})
  if ('data' in result) {
    result.data.signal?.throwIfAborted()
    return result.data
  }
  const { path, message, cause } = result
  const where = path.length === 0 ? '' : ` ${path.join('.')}:`
  throw new ArtifactHubError('INVALID_ARGUMENT', `${call}:${where} ${message}`, {
    details: { option: path.join('.') },
    cause,
  })
}

interface Issue {
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly cause?: unknown
}

/** What throws when it is looked at, or told of, is wrong with the call like anything else. */
function parsed<S extends z.ZodType>(shape: S, options: unknown): { readonly data: z.infer<S> } | Issue {
  try {
    const result = shape.safeParse(options)
    return result.success ? { data: result.data } : deepest(result.error.issues)
  } catch (cause) {
    return { path: [], message: 'the options cannot be read', cause }
  }
}

/** Of a union's issues, those of the alternative that came nearest. */
function deepest(issues: readonly z.core.$ZodIssue[]): Issue {
  const issue = issues[0] as z.core.$ZodIssue
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return issue
  const [nearest] = [...issue.errors].sort((a, b) => a.length - b.length)
  return nearest?.[0] === undefined ? issue : deepest(nearest)
}
