import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ask } from './ask.ts'

/** nginx that serves a folder. */
export interface Nginx extends AsyncDisposable {
  readonly url: string
}

/** Starts nginx on a port of its own, with all that it writes in `folder`, whose subfolder `files` it serves. */
export async function startNginx(folder: string): Promise<Nginx> {
  const port = await freePort()
  await mkdir(join(folder, 'temp'), { recursive: true })
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/temp/${name};`,
  )
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 512; }
http { access_log off; ${temp.join(' ')} sendfile on; etag on; types { } default_type text/plain; charset off;
  server { listen 127.0.0.1:${port}; root ${folder}/files; } }
`,
  )
  const nginx = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder, '-e', join(folder, 'error.log')], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
  })
  const exited = once(nginx, 'exit')
  const url = `http://127.0.0.1:${port}`
  while ((await ask(`${url}/`).catch(() => undefined)) === undefined) {
    if (nginx.exitCode !== null) throw new Error('nginx did not start')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      nginx.kill('SIGTERM')
      await exited
    },
  }
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
