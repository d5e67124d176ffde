import { capabilityName, type Presentation } from '../capability/index.ts'
import { toHex } from '../encoding/index.ts'
import type { ReadSubject } from './may-read.ts'

/** What somebody who is no member was served. */
export interface FollowedScope {
  readonly scope: ReadSubject
  readonly presentation: Presentation
}

/** What was served to somebody, by what right: no two things that may be followed have one. */
export function followedName({ scope, presentation }: FollowedScope): string {
  return `${scope.kind} ${toHex(capabilityName(presentation.capability.claims))}`
}
