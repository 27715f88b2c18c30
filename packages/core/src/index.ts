export * from "./engine/changes.ts";
export { CHANGE_LETTERS, writeChanges } from "./engine/changes-file.ts";
export {
  type ErrorCode,
  type ErrorInit,
  HookError,
  InternalError,
  isPannierError,
  MountSourceError,
  NoRoomError,
  PannierError,
  RefusedError,
  TargetError,
} from "./errors.ts";
export {
  describeFailure,
  type Failure,
  failureLine,
  inVariables,
  oneLine,
  variableName,
} from "./failure.ts";
export type * from "./events.ts";
export * from "./engine/follow.ts";
export {
  history,
  historyAndHeld,
  type HistoryEntry,
  status,
  type TargetStatus,
} from "./engine/history.ts";
export {
  MOUNT_OPTIONS,
  type MountOption,
  type MountOptionName,
  type MountOptionValues,
  listMountOptions,
  readOption,
  standardOf,
} from "./mount/options.ts";
export type * from "./mount/sync-options.ts";
export * from "./engine/published-tree.ts";
export { makeFilter } from "./snapshot/filter.ts";
export { filterScope } from "./snapshot/scope.ts";
export { parseMaxDelete } from "./snapshot/guard.ts";
export { comparePaths, quotePath, unsafePath } from "./source/path.ts";
export * from "./source/contract.ts";
export * from "./source/errors.ts";
export * from "./source/location.ts";
export * from "./source/nearest.ts";
export * from "./source/options.ts";
export * from "./source/registry.ts";
export * from "./source/secrets.ts";
export { signerIn } from "./source/signers.ts";
export { type OpenedSource, openSource } from "./mount/source-context.ts";
export { rollback } from "./engine/rollback.ts";
export { plan } from "./engine/dry-run.ts";
export { sync } from "./engine/sync.ts";
export { backoff } from "./timing/backoff.ts";
export { sleep, startTimer } from "./timing/sleep.ts";
export { retry, type RetryOptions } from "./transfer/retry.ts";
export * from "./units.ts";
export { repair, verify } from "./engine/verify.ts";
export { inHome } from "./volume/place.ts";
export type { Fault, TreeReport } from "./volume/verify.ts";
