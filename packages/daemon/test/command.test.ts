import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";

it("fails, and nothing else does, where the process may open no more files", async () => {
  const script = `
    import { openSync } from "node:fs";
    import { runCommand } from ${JSON.stringify(new URL("../src/hooks/command.ts", import.meta.url))};
    const { signal } = new AbortController();
    try { for (;;) openSync("/dev/null"); } catch {}
    await runCommand({ command: ["/bin/true"], cwd: "/", env: {}, own: {}, timeout: 1000, signal, kill: signal })
      .catch(({ name, message }) => console.log(name, message));
  `;
  const args = [...FROM_SOURCES, "--input-type=module", "--eval", script];
  const { stdout } = await promisify(execFile)("/bin/sh", [
    "-c",
    'ulimit -n 100; exec "$0" "$@"',
    process.execPath,
    ...args,
  ]);
  expect(stdout).toBe("HookFailure it cannot be started (EMFILE)\n");
});
