/** Memory must not follow the number of entries. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

/** `PANNIER_TEST_ENTRIES=1000000` for a long run. */
const ENTRIES = Number(process.env["PANNIER_TEST_ENTRIES"] ?? 100_000);

it.runIf(existsSync("/proc/self/status")).each([
  { ordered: false, layers: 1 },
  { ordered: true, layers: 2 },
])(
  "plans many entries in little memory: %o",
  { timeout: 60_000 + ENTRIES / 5 },
  ({ ordered, layers }) => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [
        "--conditions=pannier-source",
        // Too little for the listing, were it held.
        "--max-old-space-size=32",
        join(import.meta.dirname, "many-child.ts"),
        ...[ENTRIES, ordered, layers].map(String),
      ],
      { encoding: "utf8" },
    );
    expect(stderr).toBe("");
    const { added, peak } = JSON.parse(stdout) as { added: number; peak: number };
    expect(added).toBe(ENTRIES);
    // In megabytes, of which Node itself takes some 60.
    expect(peak).toBeLessThan(300);
  },
);
