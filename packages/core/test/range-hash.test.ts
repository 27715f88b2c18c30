import { closeSync, openSync } from "node:fs";
import { expect, onTestFinished, test } from "vitest";
import { openRangeHashes } from "../src/transfer/range-hash.ts";
import { refuseThreads } from "../../../test/support/no-threads.ts";

test("where the system has no room for a thread, no later question gets the answer to another", async () => {
  const hashes = openRangeHashes();
  onTestFinished(() => hashes.close());
  const fd = openSync(import.meta.filename, "r");
  onTestFinished(() => closeSync(fd));
  const allow = refuseThreads();
  const first = hashes.open(undefined);
  await expect(first.finish()).rejects.toThrow("EAGAIN");
  allow();
  const second = hashes.open(undefined);
  second.update(fd, 0, 10);
  await expect(second.finish()).rejects.toThrow("EAGAIN");
});
