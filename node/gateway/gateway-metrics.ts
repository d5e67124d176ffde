import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Outcome } from './link-server.ts'

/** What a gateway counts, for Prometheus. No label holds anything of a link. */
export interface GatewayMetrics {
  observe(outcome: Outcome, seconds: number): void
  /** In the text format. */
  text(): Promise<string>
  readonly contentType: string
}

/** Figures that are read when they are asked for. */
export interface GatewayGauges {
  readonly connections: () => number
  readonly requests: () => number
  readonly holding: () => number
  readonly waiting: () => number
}

export function gatewayMetrics(gauges: GatewayGauges): GatewayMetrics {
  const registers = [new Registry()]
  const requests = new Counter({
    name: 'artifact_hub_gateway_requests_total',
    help: 'Answered requests for links, by status and, where refused or cut off, why.',
    labelNames: ['status', 'code'],
    registers,
  })
  const bytes = new Counter({
    name: 'artifact_hub_gateway_content_bytes_total',
    help: 'Bytes of content sent.',
    registers,
  })
  const seconds = new Histogram({
    name: 'artifact_hub_gateway_request_seconds',
    help: 'From a request to the last byte of its answer.',
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600],
    registers,
  })
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `artifact_hub_gateway_${name}`,
      help,
      registers,
      collect: function () {
        this.set(read())
      },
    })
  }
  gauge('connections', 'Open connections.', gauges.connections)
  gauge('requests_active', 'Requests under way.', gauges.requests)
  gauge('bodies_in_memory', 'Answers that hold content in memory.', gauges.holding)
  gauge('bodies_waiting', 'Answers that wait for memory.', gauges.waiting)
  gauge('resident_bytes', 'Memory of the process.', () => process.memoryUsage.rss())
  const [registry] = registers as [Registry]
  return {
    observe(outcome, took) {
      requests.inc({ status: String(outcome.status), code: outcome.code ?? '' })
      if (outcome.bytes > 0) bytes.inc(outcome.bytes)
      seconds.observe(took)
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
