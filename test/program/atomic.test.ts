import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { expect, test } from "vitest";
import { jsonLines, startPannier } from "../support/pannier.ts";
import { serveArchive } from "./archive.ts";
import { FULL, workDirectory } from "./support.ts";

const PUBLISHES = FULL ? 200 : 25;
const READER = fileURLToPath(new URL("reader.ts", import.meta.url));

test(
  `a reader sees whole trees only, during ${PUBLISHES} publishes`,
  { timeout: 300_000 },
  async () => {
    const target = join(await workDirectory(), "site");
    const archive = await serveArchive();
    const names = Array.from({ length: 30 }, (_, index) => `part-${index % 3}/file-${index}`);
    const still = Array.from({ length: 50 }, (_, index) => `still/file-${index}`);
    const setRevision = (revision: number) =>
      archive.set(
        Object.fromEntries([
          ...names.map((name) => [name, String(revision)]),
          ...still.map((name) => [name, "always the same"]),
        ]),
      );

    await setRevision(0);
    const running = startPannier(["watch", archive.url, target, "--json", "--period=10ms"]);
    const events = jsonLines(running);
    const published = () => events.until((event) => event["type"] === "published");
    await published();
    const reader = spawn(process.execPath, [READER, target, ...names], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const report = text(reader.stdout);

    for (let revision = 1; revision <= PUBLISHES; revision++) {
      await setRevision(revision);
      await published();
    }
    reader.stdin.end();
    await once(reader, "close");
    const seen = JSON.parse(await report) as {
      passes: number;
      revisions: number;
      outlived: number;
      faults: string[];
    };
    running.child.kill("SIGTERM");
    expect((await running.ended).code).toBe(0);
    console.log(
      `${seen.passes} whole passes over ${seen.revisions} revisions, ${seen.outlived} cut short by two publishes`,
    );
    expect(seen.faults).toEqual([]);
    expect(seen.revisions).toBeGreaterThan(PUBLISHES / 5);
  },
);
