/**
 * A process that publishes one revision after the other and dies in the middle: at the N-th call of a kind that changes
 * something on the volume. Arguments, as JSON: {@link CrashOrder}. Prints the number of each revision before it begins with it.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync, StatementSync } from "node:sqlite";
import { type CrashOrder, keepOf, revisionContent } from "./crash-content.ts";

const order = JSON.parse(process.argv[2] as string) as CrashOrder;
let calls = 0;

function diesIn<Key extends string>(owner: Record<Key, unknown>, name: Key, kind: string): void {
  const original = owner[name] as (...args: unknown[]) => unknown;
  owner[name] = function (this: unknown, ...args: unknown[]) {
    if (order.kind !== "any" && order.kind !== kind) return original.apply(this, args);
    calls++;
    if (calls === order.at && order.before) process.kill(process.pid, "SIGKILL");
    try {
      return original.apply(this, args);
    } finally {
      if (calls >= order.at) process.kill(process.pid, "SIGKILL");
    }
  };
}

for (const name of ["renameSync", "symlinkSync", "mkdirSync", "rmdirSync"] as const)
  diesIn(fs, name, "name");
for (const name of ["linkSync", "unlinkSync", "open", "futimes", "chmodSync"] as const)
  diesIn(fs, name, "file");
diesIn(DatabaseSync.prototype, "exec", "state");
diesIn(StatementSync.prototype, "run", "state");
syncBuiltinESMExports();

// Only now, so that the engine gets the functions above.
const { sync } = await import("../src/index.ts");
const { memorySource } = await import("./memory-source.ts");

const source = memorySource();
process.env["PANNIER_TEST_LANES"] = order.lanes ? "always" : "never";
if (order.lanes) {
  const counted = {
    ...order,
    what: "process" as const,
    calls: new Int32Array(new SharedArrayBuffer(4)),
  };
  source.lane = order.kind === "lane" ? { kill: counted } : {};
}
for (let revision = order.from; ; revision++) {
  fs.writeSync(1, `${revision}\n`);
  source.content = revisionContent(order.seed, revision);
  await sync({
    sources: [source],
    target: order.target,
    publish: order.publish,
    keep: keepOf(revision),
    maxDelete: "100%",
    concurrency: 4,
  });
}
