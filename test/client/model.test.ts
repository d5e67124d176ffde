import { modelContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

modelContract(openInProcess)
