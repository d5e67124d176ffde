import { manyContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

manyContract(openInProcess)
