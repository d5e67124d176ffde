/** Epoch secrets and artifact keys: what an agent can open, and what is derived from it. Derivations: README.md. */
export { ArtifactKey, type BodyPlace, keyIdOf } from './artifact-key.ts'
export { groupKeyOf } from './group-key.ts'
export { type EpochSecret, Keyring } from './keyring.ts'
