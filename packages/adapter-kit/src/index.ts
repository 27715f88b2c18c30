export { describeAdapter } from "./describe-adapter.ts";
export {
  createFaultProxy,
  type FaultProxy,
  type Faults,
  type FaultStats,
  type HttpFault,
} from "./fault-proxy.ts";
export type * from "./harness.ts";
export { listAll, type Listed, type OpenedSource, openSource, readAll } from "./open-source.ts";
