/** A system that has no room for another thread, as under a limit of processes. */
import { syncBuiltinESMExports } from "node:module";
import workers from "node:worker_threads";
import { onTestFinished } from "vitest";

/** For the rest of the test, or until the function is called. */
export function refuseThreads(): () => void {
  const { Worker } = workers;
  workers.Worker = refuse as never;
  syncBuiltinESMExports();
  const allow = () => {
    workers.Worker = Worker;
    syncBuiltinESMExports();
  };
  onTestFinished(allow);
  return allow;
}

function refuse(): never {
  throw new Error("Worker initialization failure: EAGAIN");
}
