import { versionsContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

versionsContract(openInProcess)
