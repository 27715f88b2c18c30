import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { longestHold } from "./held.ts";
import { makePause } from "../src/timing/slices.ts";
import { openState, type State } from "../src/state/state.ts";
import { digestAfterPlan } from "../src/snapshot/revision.ts";

const ROWS = 200_000;
let directory: string;
let state: State;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-revision-"));
  state = openState(join(directory, "state.db"));
  state.db.exec(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
     INSERT INTO plan (path, layer, action, change, kind, fingerprint) SELECT 'dir/' || i, 0, 'put', 'added', 0, '1' FROM n`,
  );
});
afterAll(() => {
  state.close();
  rmSync(directory, { recursive: true });
});

test("naming a large tree holds nobody up", async () => {
  let digest = "";
  const held = await longestHold(async () => {
    digest = await digestAfterPlan(state, undefined, makePause());
  });
  expect(digest).toMatch(/^[0-9a-f]{64}$/);
  // 10 ms a slice; in one go it is a second.
  expect(held).toBeLessThan(250);
});

test("and is given up at once", async () => {
  const stop = new AbortController();
  const naming = digestAfterPlan(state, undefined, makePause(stop.signal));
  setImmediate(() => stop.abort(new Error("stopped")));
  await expect(naming).rejects.toThrow("stopped");
});
