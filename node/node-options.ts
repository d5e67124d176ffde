import { z } from 'zod'
import { checked, namespaceTicket } from '../sdk/local/index.ts'
import { ArtifactHubError } from '../src/errors.ts'
import type { Logger } from './logger.ts'
import type { NetworkMode } from './network/index.ts'
import type { StartNodeOptions } from './node-types.ts'

// As the calls of the client, these are checked: whoever writes JavaScript may mistype `passphrase`, and must not end up without one.

const modes = ['offline', 'lan', 'private', 'public'] as const satisfies readonly NetworkMode[]
const signal = z.instanceof(AbortSignal).optional()
const texts = z.array(z.string().min(1)).optional()
const levels = ['debug', 'info', 'warn', 'error'] as const satisfies readonly (keyof Logger)[]
const hasMethod = (object: object, name: string): boolean => typeof Reflect.get(object, name) === 'function'

const start = z.strictObject({
  dataDir: z
    .string('must be a path')
    .min(1, 'must be a path')
    .refine((path) => !path.includes('\0'), 'must not hold a NUL'),
  passphrase: z.string().min(1, 'must not be empty').optional(),
  network: z.enum(modes).optional(),
  listen: texts,
  announce: texts,
  bootstrap: texts,
  networkKey: z
    .custom<Uint8Array>((key) => key instanceof Uint8Array && key.length === 32, 'must be 32 bytes')
    .optional(),
  relay: z.boolean().optional(),
  relays: texts,
  replicate: texts,
  // Its own options are looked at by `gatewaySettings`.
  gateway: z
    .custom<object>((gateway) => typeof gateway === 'object' && gateway !== null, 'must be an object of options')
    .optional(),
  logger: z
    .custom<Logger>(
      (logger) => typeof logger === 'object' && logger !== null && levels.every((level) => hasMethod(logger, level)),
      `must have the methods ${levels.join(', ')}`,
    )
    .optional(),
  signal,
})

/** Options of the node's other calls. */
export const nodeShapes = {
  check: z.strictObject({
    readData: z.boolean().optional(),
    repair: z.boolean().optional(),
    signal,
    onProgress: z
      .custom<(progress: unknown) => void>((call) => typeof call === 'function', 'must be a function')
      .optional(),
  }),
  gc: z.strictObject({ now: z.boolean().optional(), signal }),
  nothing: z.strictObject({ signal }),
}

/** The options of `startNode`, checked. @throws INVALID_ARGUMENT; the signal's reason once it is aborted */
export function checkedStart(given: StartNodeOptions): StartNodeOptions {
  const options = checked('startNode', start, given)
  const refuse = (message: string): never => {
    throw new ArtifactHubError('INVALID_ARGUMENT', `startNode: ${message}`)
  }
  const { network = 'lan', networkKey, relay, listen, announce, bootstrap, relays, replicate } = options
  if ((network === 'private') !== (networkKey !== undefined))
    return refuse('a private network needs a networkKey, and others take none')
  const asked = [listen, announce, bootstrap, relays, replicate].some((list) => list?.length)
  if (network === 'offline' && (asked || relay === true))
    return refuse('an offline node listens, dials, relays and replicates nothing')
  for (const ticket of replicate ?? []) namespaceTicket(ticket)
  return options
}
