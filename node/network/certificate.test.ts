import { randomBytes, X509Certificate } from 'node:crypto'
import { generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils'
import { afterEach, expect, test, vi } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { peerIdOf, privateKeyOf } from './agent-peer.ts'
import { makeCertificate } from './certificate.ts'

afterEach(() => {
  vi.useRealTimers()
})

const hourMs = 3600_000

test('is taken by who has libp2p’s own checks, hours and years behind or ahead, and says whose it is', async () => {
  const key = new AgentKey(randomBytes(32))
  const privateKey = await privateKeyOf(key)
  for (let made = 0; made < 20; made++) {
    const { raw } = new X509Certificate((await makeCertificate(privateKey)).cert)
    for (const skewMs of [0, -5 * hourMs, -40 * 365 * 24 * hourMs, 40 * 365 * 24 * hourMs]) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + skewMs })
      const peer = await verifyPeerCertificate(raw)
      vi.useRealTimers()
      expect(peer.equals(peerIdOf(key.publicKey))).toBe(true)
    }
  }
})

test('is there because libp2p’s own are refused by who is hours behind', async () => {
  const { cert } = await generateCertificate(await privateKeyOf(new AgentKey(randomBytes(32))))
  const { raw } = new X509Certificate(cert as string)
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 5 * hourMs })
  await expect(verifyPeerCertificate(raw)).rejects.toThrow('not valid yet')
})
