import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { CliPlace, errorOf } from '../support/cli-process.ts'
import { ask, codeOf } from './ask.ts'
import { freePort } from './nginx.ts'

test('a link that the command line made is served by `gateway`, until that is told to stop', async () => {
  await using place = await CliPlace.create('clone')
  await writeFile(join(place.folder, 'report.txt'), 'a report')
  await place.json(['put', 'report.txt'])
  const { did } = await place.json<{ did: string }>(['id'])
  const port = await freePort()
  const { url } = await place.json<{ url: string }>(['url', 'report.txt', '--for', `${did}=http://127.0.0.1:${port}`])

  const running = place.start([
    'gateway',
    '--network',
    'offline',
    '--port',
    String(port),
    '--admin-port',
    '0',
    '--json',
  ])
  const ended = once(running, 'close')
  running.stderr?.resume()
  const lines = createInterface(running.stdout as NodeJS.ReadableStream)
  const [line] = await once(lines, 'line')
  const { gateway } = JSON.parse(line) as { gateway: { url: string; port: number; adminPort: number } }
  expect(gateway).toMatchObject({ url: `http://127.0.0.1:${port}`, port })
  expect((await ask(url)).body.toString()).toBe('a report')
  expect(codeOf(await ask(`${url}A`))).toBe('SIGNATURE_INVALID')
  const metrics = (await ask(`http://127.0.0.1:${gateway.adminPort}/metrics`)).body.toString()
  expect(metrics).toContain('artifact_hub_gateway_requests_total{status="200",code=""} 1')
  running.kill('SIGTERM')
  expect((await ended)[0]).toBe(0)
})

test('options that do not go together are told', async () => {
  await using place = await CliPlace.create('clone')
  for (const args of [
    ['--port', 'x'],
    ['--port', '70000'],
    ['--tls-key', 'k.pem'],
    ['--clock-skew', 'soon'],
    ['--public-url', 'x'],
  ]) {
    const finished = await place.run(['gateway', '--network', 'offline', '--json', ...args])
    expect([finished.exitCode, errorOf(finished).code], args.join(' ')).toEqual([2, 'INVALID_ARGUMENT'])
  }
})
