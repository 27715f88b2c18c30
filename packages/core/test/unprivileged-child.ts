/** Syncs as a user who may do nothing beyond what permissions allow. Arguments: target, mode of directories, umask. */
import assert from "node:assert/strict";
import { unlinkSync, writeFileSync, chmodSync } from "node:fs";
import { join } from "node:path";
import { repair, rollback, sync, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";

const [target, dirMode, umask] = process.argv.slice(2) as [string, string, string];
process.setgroups?.([]);
process.setgid?.(65_534);
process.setuid?.(65_534);
process.umask(Number.parseInt(umask, 8));

const source = memorySource();
const options = { sources: [source], target, dirMode: Number(dirMode), maxDelete: "100%" };
for (let i = 0; i < 6; i++) {
  source.content =
    i % 2 === 0
      ? { "d/e/same": "1", "d/e/f": String(i), [`new${i}/x`]: "1" }
      : { "d/e/same": "1", "d/e/f/g": String(i), y: "1" };
  await sync(options);
  assert.deepEqual(readTree(join(target, "current")), source.content);
}
const prePublish = () => Promise.reject(new Error("no"));
source.content = { z: "1" };
await assert.rejects(sync({ ...options, prePublish }));
chmodSync(join(target, "current/d"), 0o755);
writeFileSync(join(target, "current/d/extra"), "x");
chmodSync(join(target, "current"), 0o755);
unlinkSync(join(target, "current/y"));
chmodSync(join(target, "current/d"), Number(dirMode));
chmodSync(join(target, "current"), Number(dirMode));
await repair(options);
assert.deepEqual(readTree(join(target, "current")), source.content);
source.content = { z: "2" };
await sync({ ...options, keep: 3 });
await rollback(target);
assert.deepEqual(readTree(join(target, "current")), { z: "1" });
assert.deepEqual(await verify(target), { checked: 1, changed: 0, missing: 0, extra: 0 });

// A directory that somebody has locked is named as what stands in the way, not as a fault of ours.
source.content = { z: "3", "d/x": "1" };
const onEvent = (event: { readonly type: string; readonly step?: string }) => {
  if (event.step === "fetch") chmodSync(join(target, ".pannier"), 0o555);
};
await assert.rejects(sync({ ...options, onEvent, keep: 1 }), {
  name: "TargetError",
  permission: true,
});
chmodSync(join(target, ".pannier"), 0o755);
await sync({ ...options, keep: 1 });
assert.deepEqual(readTree(join(target, "current")), source.content);
