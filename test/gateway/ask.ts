import { type Agent, type IncomingHttpHeaders, request } from 'node:http'

/** What a server answered. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** One request, and all of its answer. @throws when the connection ends before that */
export async function ask(
  url: string,
  {
    method = 'GET',
    headers = {},
    agent,
    body,
    localAddress,
  }: {
    readonly method?: string
    readonly headers?: Readonly<Record<string, string>>
    readonly agent?: Agent
    readonly body?: string
    /** Of this machine, to ask from. */
    readonly localAddress?: string
  } = {},
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, ...(agent && { agent }), localAddress }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part) => parts.push(part))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      )
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

/** The `code` of a problem. */
export function codeOf({ headers, body }: Answer): string | undefined {
  return headers['content-type'] === 'application/problem+json' ? JSON.parse(body.toString()).code : undefined
}
