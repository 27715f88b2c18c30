import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openMemory } from "./memory.ts";
import { createPostPublish } from "./post-publish.ts";

test("a revision that comes just as the last hook has ended is not forgotten", async () => {
  const target = mkdtempSync(join(tmpdir(), "pannier-hooks-"));
  onTestFinished(() => rmSync(target, { recursive: true, force: true }));
  mkdirSync(join(target, ".pannier"));
  const memory = openMemory({ target, owner: undefined });
  const url = { url: "http://127.0.0.1:1/", headers: {}, timeout: 1000, retries: 0 };
  for (let turns = 0; turns < 12; turns++) {
    const ran: string[] = [];
    const published = (revision: string) => ({
      revision,
      previousRevision: undefined,
      path: target,
    });
    const hooks = createPostPublish([url as never], {
      memory,
      push: undefined as never,
      mount: "m",
      target,
      owner: undefined,
      env: {},
      redact: (text) => text,
      kill: new AbortController().signal,
      emit(event) {
        if (event.type !== "hook") return;
        ran.push(event.revision);
        if (event.revision !== `first-${turns}`) return;
        // So many turns of promises later: one of them is the moment at which the work ends.
        let later: Promise<undefined | void> = Promise.resolve();
        for (let turn = 0; turn < turns; turn++) later = later.then(() => undefined);
        void later.then(() => hooks.published(published(`second-${turns}`)));
      },
    });
    hooks.published(published(`first-${turns}`));
    // The port answers nothing: the hook fails, and is given up at once.
    while (ran.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    await hooks.idle();
    expect(ran, `${turns} turns`).toEqual([`first-${turns}`, `second-${turns}`]);
  }
});
