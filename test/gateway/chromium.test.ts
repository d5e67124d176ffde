import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Logger } from '../../node/index.ts'
import { seededBytes } from '../client/contract-support.ts'
import { type Chromium, type Page, startChromium } from './chromium.ts'
import { startCuttingProxy } from './cutting-proxy.ts'
import { startTestGateway, type TestGateway } from './gateways.ts'
import { isInstalled } from './programs.ts'
import { makeVideo } from './video.ts'

/** Bounds hangs, not speed. */
const waiting = { timeout: 45_000, interval: 20 }

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe.skipIf(!isInstalled('chromium'))('Chromium', () => {
  /** What the gateway answered: statuses, and codes of what it broke off. */
  const answers: { status: number; code: string | undefined; bytes: number }[] = []
  let gateway: TestGateway
  let chromium: Chromium
  beforeAll(async () => {
    const ignore = (): void => {}
    const debug = (message: string, fields?: object) => message === 'answered' && answers.push(fields as never)
    const logger: Logger = { debug, info: ignore, warn: ignore, error: ignore }
    gateway = await startTestGateway({}, logger)
    chromium = await startChromium()
  })
  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]()
    await gateway?.[Symbol.asyncDispose]()
  })

  /** A link to content, and a page of another origin, which is told nothing but that. */
  async function pageBeside(name: string, data: Uint8Array, contentType: string) {
    const { id } = await gateway.node.client.artifact.create({ name, data, contentType })
    const page = await chromium.open()
    await page.navigate(`http://localhost:${new URL(gateway.url).port}/healthz`)
    answers.length = 0
    return { page, link: gateway.link(id, { disposition: 'inline' }) }
  }

  test('plays a video and seeks in it by ranges, from another origin, and has the whole with its SHA-256', async () => {
    const { bytes, seconds } = makeVideo(30, 1_000_000)
    const { page, link } = await pageBeside('video.webm', bytes, 'video/webm')
    await page.evaluate(watching(link))
    expect(await page.evaluate('video.duration')).toBe(seconds)
    // White in its first half, black in its second.
    for (const [at, light] of [
      [seconds - 3, 0],
      [1.5, 255],
      [seconds - 10, 0],
    ] as const) {
      expect([at, await page.evaluate(`seek(${at})`)]).toEqual([at, { at, light }])
    }
    expect(await page.evaluate<number>('play()')).toBeGreaterThan(seconds - 10)
    // It asked for parts, and let go of what it did not need.
    expect(answers.filter(({ status }) => status === 206).length).toBeGreaterThanOrEqual(3)
    expect(answers.every(({ bytes: sent }) => sent < bytes.length)).toBe(true)
    await page.evaluate('video.remove(); video.src = ""')
    expect(await page.evaluate(digestOf(link))).toBe(sha256(bytes))
  })

  test('pauses a download, whose connection breaks meanwhile, and goes on with the rest', async () => {
    const data = seededBytes('chromium download', 64_000_000)
    const { id } = await gateway.node.client.artifact.create({ name: 'download.bin', data })
    const { folder } = chromium
    await chromium.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: folder, eventsEnabled: true })
    const [downloads, page] = [await chromium.open(), await chromium.open()]
    await downloads.navigate('chrome://downloads')
    answers.length = 0
    // It is not through before it is paused.
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    await using proxy = await startCuttingProxy(gateway.node.gateway?.port as number, {
      afterBytes: 5_000_000,
      times: 1,
      held,
    })
    const link = new URL(gateway.link(id))
    link.port = String(proxy.port)
    const received = chromium.next('Browser.downloadProgress', ({ receivedBytes }) => receivedBytes > 0)
    // A download is no page: that it does not become one is told as a failure.
    void page.send('Page.navigate', { url: link.href }).catch(() => {})
    await received
    await vi.waitFor(async () => expect(await press(downloads, 'Pause')).toBe(true), waiting)
    release()
    await vi.waitFor(() => expect(answers[0]?.code).toBe('CLOSED'), waiting)
    await vi.waitFor(async () => {
      // Once more where it learns only then that its connection is broken.
      await press(downloads, 'Resume')
      // It has another name until it is whole.
      expect(sha256(await readFile(join(folder, 'download.bin')))).toBe(sha256(data))
    }, waiting)
    await vi.waitFor(() => expect(answers.at(-1)).toMatchObject({ status: 206, code: undefined }), waiting)
    const [first, ...others] = answers
    expect(first?.bytes).toBeLessThan(data.length)
    expect(others.every(({ status, bytes }) => status === 206 && bytes < data.length)).toBe(true)
  })
})

/**
 * Shows a video; then `seek` gives where it is and how light the picture is, `play` where it has come to after a while. `seeked` may come before the
 * picture of that place is there to be drawn: `requestVideoFrameCallback` (https://wicg.github.io/video-rvfc) tells when it is, and of which time it is.
 */
function watching(link: string): string {
  return `
    const video = document.createElement('video')
    const event = (name) => new Promise((resolve, reject) => {
      video.addEventListener(name, resolve, { once: true })
      video.addEventListener('error', () => reject(new Error(video.error.message)), { once: true })
    })
    const light = () => {
      const canvas = document.createElement('canvas')
      const context = canvas.getContext('2d')
      context.drawImage(video, 0, 0)
      return context.getImageData(8, 8, 1, 1).data[0]
    }
    const seek = async (at) => {
      const shown = new Promise((resolve) => {
        const look = (_, { mediaTime }) =>
          Math.abs(mediaTime - at) < 0.15 ? resolve() : video.requestVideoFrameCallback(look)
        video.requestVideoFrameCallback(look)
      })
      const seeked = event('seeked')
      video.currentTime = at
      await seeked
      await shown
      return { at: video.currentTime, light: light() }
    }
    const play = async () => {
      await video.play()
      const from = video.currentTime
      while (video.currentTime === from) await event('timeupdate')
      video.pause()
      return video.currentTime
    }
    Object.assign(globalThis, { video, seek, play })
    // Without this its pixels may not be looked at, and with it only if the gateway lets any origin.
    video.crossOrigin = 'anonymous'
    video.muted = true
    const loaded = event('loadeddata')
    video.src = ${JSON.stringify(link)}
    document.body.append(video)
    loaded.then(() => {})`
}

/** SHA-256 of what a page gets by fetch, hex. */
function digestOf(link: string): string {
  return `(async () => {
    const answer = await fetch(${JSON.stringify(link)})
    const digest = await crypto.subtle.digest('SHA-256', await answer.arrayBuffer())
    return new Uint8Array(digest).toHex()
  })()`
}

/** Presses what pauses or goes on with the one download in the list of downloads, if it says so; gives whether it did. */
async function press(downloads: Page, label: 'Pause' | 'Resume'): Promise<boolean> {
  return await downloads.evaluate(`(() => {
    const list = document.querySelector('downloads-manager').shadowRoot
    const button = list.querySelector('downloads-item')?.shadowRoot.querySelector('#pause-or-resume')
    if (button === null || button === undefined || button.hidden || button.textContent.trim() !== '${label}') return false
    button.click()
    return true
  })()`)
}
