/** What a lock file names is fetched, also where the branch has moved on. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sync } from "@pannier/core";
import { describe, expect, test } from "vitest";
import { git } from "../src/index.ts";
import { scratchDirectory, setup, skipped, withoutGit } from "./setup.ts";

const shared = setup();

describe.skipIf(withoutGit)(`a lock file${skipped}`, () => {
  test.each(["cli", "js"] as const)("of an older commit (engine=%s)", async (engine) => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const work = await scratchDirectory();
    const lock = join(work, "pannier.lock");
    const sources = [git(repository.url, { engine })];
    const run = (target: string, locked: boolean) =>
      sync({ sources, target: join(work, target), lock, locked });
    const shown = (target: string) => readFile(join(work, target, "current", "a"), "utf8");
    await run("one", false);
    const text = await readFile(lock, "utf8");
    await repository.commit({ a: "2" });
    expect(await run("two", true)).toMatchObject({ result: "published" });
    expect(await shown("two")).toBe("1");
    expect(await run("two", true)).toMatchObject({ result: "unchanged" });
    expect(await readFile(lock, "utf8")).toBe(text);
    // Without it the branch is followed; with it there is a way back.
    expect(await run("one", false)).toMatchObject({ result: "published" });
    expect(await shown("one")).toBe("2");
    await writeFile(lock, text);
    expect(await run("one", true)).toMatchObject({ result: "published" });
    expect(await shown("one")).toBe("1");
  });
});
