/** A Node that is too old for the engine says so. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { COMPILE_CACHE, FROM_SOURCES } from "../../../test/support/from-sources.ts";

const TOO_OLD = "is too old: Pannier needs 22.13 or later. Install a current Node";

test("what imports the core is told of the version, not of a module that is not there", () => {
  // As if by a Node without it.
  const { stderr } = spawnSync(
    process.execPath,
    [
      ...FROM_SOURCES,
      "--input-type=module",
      "-e",
      `process.getBuiltinModule = undefined; await import("@pannier/core");`,
    ],
    { cwd: import.meta.dirname, encoding: "utf8", env: { ...process.env, ...COMPILE_CACHE } },
  );
  expect(stderr).toContain(`Error: Node ${process.versions.node} ${TOO_OLD}`);
});
