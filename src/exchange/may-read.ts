import type { CapabilityClaims, Presentation } from '../capability/index.ts'
import type { ContentRef } from '../content/index.ts'
import { equalBytes } from '../encoding/index.ts'

/** Why what an agent shows gives it nothing. `AUDIENCE`: it is not for that agent. */
export const refusalReasons = [
  'EXPIRED',
  'NOT_YET_VALID',
  'REVOKED',
  'ISSUER_REMOVED',
  'AUDIENCE',
  'GROUP_EPOCH',
] as const
export type RefusalReason = (typeof refusalReasons)[number]

/** Whether what an agent shows lets it read. */
export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly reason: RefusalReason }

/** What is judged. */
export interface ReadQuestion {
  /** Its form and signature were checked. */
  readonly presentation: Presentation
  /** Who shows it, 32 bytes: the connection vouches for that. */
  readonly agent: Uint8Array
  /** Who was asked, 32 bytes. */
  readonly provider: Uint8Array
  /** Milliseconds since 1970. */
  readonly nowMs: number
}

/** What a namespace knows of those who ask for it. */
export interface ReadableNamespace {
  /** The role that counts for an agent (32 bytes) now; `undefined` for a stranger and a former member. */
  roleOf(agent: Uint8Array): string | undefined
  /** Whether a capability is for this namespace, in force and for that agent, as far as the log says. Absent: only roles count. */
  allows?(question: ReadQuestion): Verdict
  /** Whether a grant that is held let its issuer write once: nobody else's capability says anything here. */
  isIssued?(claims: CapabilityClaims): boolean
}

/** What a namespace knows of its contents. */
export interface NamespaceRoots extends ReadableNamespace {
  /**
   * The content that `digest` is the root of, if a version of that artifact (20 bytes) in this namespace names it.
   * @param after only versions whose number is above it
   */
  rootOf(
    artifact: Uint8Array,
    digest: Uint8Array,
    after: number,
  ): Promise<ContentRef | undefined> | ContentRef | undefined
}

/** Who asks. */
export interface Asker {
  /** 32 bytes. */
  readonly agent: Uint8Array
  /** What it has shown. */
  readonly presentations: readonly Presentation[]
  /** This node's agent, whom it asks. */
  readonly provider: Uint8Array
  readonly nowMs: number
}

/** What of a log is asked for: all of it; who may do what; or besides that the entries of one artifact (20 bytes). */
export type ReadSubject =
  | { readonly kind: 'namespace' }
  | { readonly kind: 'auth' }
  | { readonly kind: 'artifact'; readonly artifact: Uint8Array }

/** Contents of one artifact: which of them is another question. */
interface RootSubject {
  readonly kind: 'root'
  readonly artifact: Uint8Array
}

/** May it, and by what: without a presentation by its role. */
export type Permission =
  | { readonly allowed: true; readonly by: Presentation | undefined }
  /** `reason` is there if it may be told: it has shown that it knows the namespace. `by` is what was not enough. */
  | { readonly allowed: false; readonly reason: RefusalReason | undefined; readonly by: Presentation | undefined }

const unjudged: Verdict = { allowed: false, reason: 'AUDIENCE' }
const denied: Permission = { allowed: false, reason: undefined, by: undefined }

/**
 * Whether an agent may read something of a namespace: by its role, or by a capability that it shows. Whatever serves anything of
 * a namespace asks this, and nothing else decides it.
 */
export function mayRead(
  namespace: ReadableNamespace | undefined,
  asker: Asker,
  subject: ReadSubject | RootSubject,
): Permission {
  if (namespace === undefined) return denied
  if (namespace.roleOf(asker.agent) !== undefined) return { allowed: true, by: undefined }
  let refused = denied
  for (const presentation of asker.presentations) {
    const { claims } = presentation.capability
    if (!isFor(claims, subject)) continue
    const { agent, provider, nowMs } = asker
    const verdict = namespace.allows?.({ presentation, agent, provider, nowMs }) ?? unjudged
    if (verdict.allowed) return { allowed: true, by: presentation }
    // Whoever signs one of its own for a namespace that it guesses must not learn whether it is here.
    const isTold = verdict.reason !== 'AUDIENCE' && namespace.isIssued?.(claims) === true
    if (isTold) refused = { allowed: false, reason: verdict.reason, by: presentation }
  }
  return refused
}

/**
 * The content that an agent may read by its root; `undefined` when it may not, and just so when there is no such namespace,
 * artifact or root: whoever asks is not told which.
 */
export async function readableRoot(
  namespace: NamespaceRoots | undefined,
  asker: Asker,
  artifact: Uint8Array,
  digest: Uint8Array,
): Promise<ContentRef | undefined> {
  if (namespace === undefined) return undefined
  if (namespace.roleOf(asker.agent) !== undefined) return await namespace.rootOf(artifact, digest, 0)
  for (const presentation of asker.presentations) {
    const { claims } = presentation.capability
    if (claims.kind === 'link' && claims.pinned !== undefined && !equalBytes(claims.pinned.root.digest, digest))
      continue
    if (!mayRead(namespace, { ...asker, presentations: [presentation] }, { kind: 'root', artifact }).allowed) continue
    const root = await namespace.rootOf(artifact, digest, afterOf(claims))
    if (root !== undefined) return root
  }
  return undefined
}

/** Versions up to that number are not what a capability is for. */
export function afterOf(claims: CapabilityClaims): number {
  return claims.kind === 'share' ? claims.after : 0
}

/** Any capability lets its holder see whether it is in force; one for a version does not let it see the others. */
function isFor(claims: CapabilityClaims, subject: ReadSubject | RootSubject): boolean {
  if (subject.kind === 'auth') return true
  if (subject.kind === 'namespace' || !equalBytes(claims.artifact, subject.artifact)) return false
  return subject.kind === 'root' || claims.kind === 'share' || claims.pinned === undefined
}
