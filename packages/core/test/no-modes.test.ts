/** A volume whose file system keeps no permission bits, before the engine is even imported. */
import { mkdtempSync, type Mode, type NoParamCallback, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { repair, sync, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";

await vi.hoisted(async () => {
  const { default: fs } = await import("node:fs");
  const { syncBuiltinESMExports } = await import("node:module");
  const refused = Object.assign(new Error("not permitted"), { code: "EPERM", syscall: "chmod" });
  const refuse = () => {
    throw refused;
  };
  const fchmod = (_fd: number, _mode: Mode, done: NoParamCallback) => done(refused);
  Object.assign(fs, { chmodSync: refuse, fchmodSync: refuse, fchmod });
  syncBuiltinESMExports();
  process.umask(0o022);
});

it.each(["swap", "mirror"] as const)("is no damage: %s", async (publish) => {
  const target = mkdtempSync(join(tmpdir(), "pannier-modes-"));
  onTestFinished(() => rmSync(target, { recursive: true, force: true }));
  const source = memorySource({ "d/a": { text: "1", mode: 0o777 } });
  const options = { sources: [source], target, publish, dirMode: 0o777 };
  const root = publish === "swap" ? join(target, "current") : target;
  await sync(options);
  expect(statSync(join(root, "d/a")).mode & 0o777).not.toBe(0o777);
  expect(await verify(target)).toMatchObject({ checked: 1, changed: 0 });
  expect(await repair(options)).toMatchObject({ result: "unchanged" });
  expect(source.reads).toEqual(["d/a"]);
  // Only the mode is another: it is copied.
  source.content = { "d/a": { text: "1", mode: 0o766 } };
  await sync(options);
  expect(readTree(root)).toEqual({ "d/a": "1" });
  expect(source.reads).toEqual(["d/a"]);
  expect(await verify(target)).toMatchObject({ checked: 1, changed: 0 });
});
