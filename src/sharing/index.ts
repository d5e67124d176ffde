/** Epoch secrets and artifact keys: what an agent can open, and what is derived from it. Derivations: README.md. */
export { ArtifactKey, keyIdOf } from './artifact-key.ts'
export { groupKeyOf } from './group-key.ts'
export type { HeldCapability } from './held-capabilities.ts'
export { type EpochSecret, Keyring, type SealingItem } from './keyring.ts'
export { openShareBody, sealShareBody } from './share-body.ts'
export { openWrappedBody, type WrappedBody } from './wrapped-body.ts'
