/** The content pipeline's CPU work on worker threads. */
export { WorkerPool } from './pool.ts'
