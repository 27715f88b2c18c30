import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { ownTime } from "./own-time.ts";

test.skipIf(!existsSync("/proc/self/schedstat"))(
  "leaves out what a process waits for a processor, and nothing else",
  { meta: { skipReason: "the kernel does not tell" } },
  async () => {
    for (let i = 0; i < 3 * availableParallelism(); i++) {
      const busy = spawn(process.execPath, ["-e", "console.log(); for (;;);"]);
      onTestFinished(() => void busy.kill("SIGKILL"));
      await new Promise((resolve) => busy.stdout.once("data", resolve));
    }
    const began = performance.now();
    const took = ownTime();
    const before = process.cpuUsage();
    while (process.cpuUsage(before).user < 300_000);
    const own = took();
    expect(own).toBeGreaterThan(250);
    expect(own).toBeLessThan((performance.now() - began) / 1.5);
    await sleep(500);
    expect(took() - own).toBeGreaterThan(450);
  },
);
