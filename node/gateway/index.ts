/** A gateway: serves links over HTTP, from wherever their contents are. */
export type { Gateway } from './gateway.ts'
export { startGateway } from './gateway.ts'
export type { GatewaySettings } from './gateway-options.ts'
export { LinkSource } from './link-source.ts'
