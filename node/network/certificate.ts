import { createPrivateKey, sign, X509Certificate } from 'node:crypto'
import type { AbortOptions, PrivateKey } from '@libp2p/interface'
import { generateCertificate } from '@libp2p/tls/utils'

/** A certificate and its key, PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** An element of DER: where what is in it begins, and where it ends. */
interface Element {
  readonly tag: number
  readonly from: number
  readonly to: number
}

const [utcTime, bitString, sequence] = [0x17, 0x03, 0x30]
const sinceEver = Buffer.from('700101000000Z')

/**
 * A certificate of libp2p's TLS, by @libp2p/tls but for one thing: it is valid since 1970. Theirs is since an hour ago by this machine's clock, and is
 * refused by whoever's clock is further behind; it is made for one connection, so its dates say nothing.
 * @throws the signal's reason
 */
export async function makeCertificate(privateKey: PrivateKey, options?: AbortOptions): Promise<Certificate> {
  const { cert, key } = await generateCertificate(privateKey, options)
  if (key === undefined || cert === undefined) throw new Error('a certificate without its key')
  const { raw } = new X509Certificate(cert)
  const body = elementAt(raw, elementAt(raw, 0).from)
  const algorithm = elementAt(raw, body.to)
  // Version, serial number, algorithm and issuer come before since when and until when it is valid.
  let at = body.from
  for (let before = 0; before < 4; before++) at = elementAt(raw, at).to
  const since = elementAt(raw, elementAt(raw, at).from)
  if (since.tag !== utcTime || since.to - since.from !== sinceEver.length)
    throw new Error('a certificate of another form')
  const start = elementAt(raw, 0).from
  const signed = Buffer.from(raw.subarray(start, body.to))
  sinceEver.copy(signed, since.from - start)
  const signature = sign('sha256', signed, createPrivateKey(key))
  const parts = [signed, raw.subarray(body.to, algorithm.to), element(bitString, Buffer.of(0), signature)]
  const text = element(sequence, ...parts)
    .toString('base64')
    .replace(/.{64}/g, '$&\n')
  return { cert: `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`, key }
}

function elementAt(der: Buffer, at: number): Element {
  const short = der.readUInt8(at + 1)
  const lengthBytes = short < 0x80 ? 0 : short & 0x7f
  const from = at + 2 + lengthBytes
  const length = lengthBytes === 0 ? short : der.readUIntBE(at + 2, lengthBytes)
  return { tag: der.readUInt8(at), from, to: from + length }
}

function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts)
  const { length } = content
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), content])
}
