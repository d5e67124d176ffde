import { beforeEach, expect, test } from 'vitest'
import { OpenPacks } from './open-packs.ts'
import { SimulatedDisk, systemError } from './test-support/simulated-disk.ts'

let disk: SimulatedDisk
let open: number
let most: number

beforeEach(async () => {
  disk = new SimulatedDisk()
  for (let i = 0; i < 10; i++) await (await disk.open(`/${i}`, 'create')).close()
  open = 0
  most = 0
  disk.fault = ({ kind }) => {
    if (kind === 'open') most = Math.max(most, ++open)
    if (kind === 'close') open--
    return undefined
  }
})

test('holds no more files open than it may, however many are asked for at once, and closes them all', async () => {
  const packs = new OpenPacks(disk, 3)
  const byte = new Uint8Array(1)
  await Promise.all(Array.from({ length: 200 }, (_, i) => packs.use(`/${(i * 7) % 10}`, (file) => file.read(byte, 0))))
  expect(most).toBe(3)
  await packs.close()
  expect(open).toBe(0)
})

test('a file forgotten while it is used serves its user and is closed after', async () => {
  const packs = new OpenPacks(disk, 3)
  const go = Promise.withResolvers<void>()
  const using = packs.use('/1', async (file) => {
    await go.promise
    return file.read(new Uint8Array(1), 0)
  })
  await packs.use('/1', (file) => file.size())
  packs.forget('/1')
  await new Promise((resolve) => setImmediate(resolve))
  expect(open).toBe(1)
  go.resolve()
  expect(await using).toBe(0)
  await packs.close()
  expect(open).toBe(0)
})

test('gives back an idle file when the system is out of descriptors, and a file that cannot be opened costs no place', async () => {
  const packs = new OpenPacks(disk, 5)
  await packs.use('/1', (file) => file.size())
  const counting = disk.fault
  disk.fault = (operation) => (operation.kind === 'open' && open > 0 ? systemError('EMFILE') : counting(operation))
  await packs.use('/2', (file) => file.size())
  expect(open).toBe(1)
  disk.fault = counting
  for (let i = 0; i < 20; i++)
    await expect(packs.use('/none', (file) => file.size())).rejects.toMatchObject({ code: 'ENOENT' })
  disk.fault = () => undefined
  await Promise.all(Array.from({ length: 10 }, (_, i) => packs.use(`/${i}`, (file) => file.size())))
})
