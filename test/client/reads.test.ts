import { readsContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

readsContract(openInProcess)
