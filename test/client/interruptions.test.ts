import { interruptionsContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

interruptionsContract(openInProcess)
