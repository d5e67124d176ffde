import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'

/** Gives each test of the calling file a folder of its own, removed after it. */
export function useFolder(): { readonly path: string; readonly dataDir: string } {
  const place = { path: '', dataDir: '' }
  beforeEach(async () => {
    place.path = await mkdtemp(join(tmpdir(), 'artifact-hub-faults-'))
    place.dataDir = join(place.path, 'data')
  })
  afterEach(() => rm(place.path, { recursive: true, force: true }))
  return place
}
