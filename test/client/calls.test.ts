import { callsContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

callsContract(openInProcess)
