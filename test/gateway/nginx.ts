import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'

/** nginx that runs. */
export interface Nginx extends AsyncDisposable {
  readonly port: number
}

/** What nginx is told that serves the files of a folder. */
export function fileServer(folder: string): (port: number) => string {
  return (port) => `access_log off; sendfile on; etag on; types { } default_type text/plain; charset off;
  server { listen 127.0.0.1:${port}; root ${folder}; }`
}

/**
 * Starts nginx on a port of its own, with all that it writes by itself in `folder`.
 * @param inHttp what stands in its `http` block
 */
export async function startNginx(folder: string, inHttp: (port: number) => string): Promise<Nginx> {
  const port = await freePort()
  await mkdir(join(folder, 'temp'), { recursive: true })
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${folder}/temp/${name};`,
  )
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; worker_processes 1; pid ${folder}/nginx.pid; error_log ${folder}/error.log;
events { worker_connections 512; }
http { ${temp.join(' ')} ${inHttp(port)} }
`,
  )
  const nginx = spawn('nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder, '-e', join(folder, 'error.log')], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` },
  })
  const exited = once(nginx, 'exit')
  while (!(await isListening(port))) {
    if (nginx.exitCode !== null) throw new Error('nginx did not start')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return {
    port,
    async [Symbol.asyncDispose]() {
      nginx.kill('SIGTERM')
      await exited
    },
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return await once(socket, 'connect').then(
    () => socket.destroy() !== undefined,
    () => false,
  )
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
