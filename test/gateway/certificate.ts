import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './programs.ts'

/** A key and a certificate that it signs itself, PEM. */
export interface Certificate {
  readonly keyPath: string
  readonly certPath: string
  readonly key: string
  readonly cert: string
}

/** Makes one for 127.0.0.1 and a host, in a folder. Needs `openssl`. */
export async function makeCertificate(folder: string, host = 'localhost'): Promise<Certificate> {
  const [keyPath, certPath] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=IP:127.0.0.1,DNS:${host}`]
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const made = await run('openssl', [
    'req',
    '-x509',
    ...curve,
    '-keyout',
    keyPath,
    '-out',
    certPath,
    '-days',
    '1',
    ...subject,
  ])
  if (made.exitCode !== 0) throw new Error(made.output)
  return { keyPath, certPath, key: await readFile(keyPath, 'utf8'), cert: await readFile(certPath, 'utf8') }
}
