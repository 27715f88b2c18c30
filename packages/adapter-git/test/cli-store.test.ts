import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, onTestFinished, test } from "vitest";
import { gitVersion, makeRepository } from "../../../test/support/git-server.ts";
import { cliStore } from "../src/store/cli.ts";
import { CacheDamaged } from "../src/store/store.ts";

describe.skipIf(gitVersion === undefined)(
  "objects by git",
  { meta: { skipReason: "git is not installed" } },
  () => {
    test("a pack that git gives up on while more of it comes is damaged, in git's words", async () => {
      const directory = await mkdtemp(join(tmpdir(), "pannier-git-"));
      onTestFinished(() => rm(directory, { recursive: true }));
      await makeRepository(directory);
      const store = cliStore(directory, true);
      onTestFinished(() => store.close());
      // More at once than a pipe takes, so that its writer waits while git ends.
      const pack = Array.from({ length: 10 }, () => Buffer.alloc(1 << 20, "no pack"));
      const { signal } = new AbortController();
      for (let i = 0; i < 10; i++) {
        const adding = store.addPack(Readable.from(pack), signal);
        await expect(adding).rejects.toThrow(/pack signature mismatch/);
        await expect(adding).rejects.toBeInstanceOf(CacheDamaged);
      }
    });
  },
);
