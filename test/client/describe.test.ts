import { describeContract } from './contract.ts'
import { openInProcess } from './in-process.ts'

describeContract(openInProcess)
