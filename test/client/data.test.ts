import { dataContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

dataContract(openInProcess)
