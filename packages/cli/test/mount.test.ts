/** The commands that work on a target, each on a directory as its source. */
import { EventEmitter } from "node:events";
import { mkdir, mkdtemp, readFile, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockFile } from "../../core/src/state/lock-file.ts";
import { run as runIn, type RunOptions } from "./run.ts";

/** A busy machine may take its time. */
const PATIENCE = { timeout: 10_000 };

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
  await put("site/index.html", "hello");
  await put("site/docs/a.txt", "a");
});

afterEach(() => rm(folder, { recursive: true }));

async function put(path: string, text: string): Promise<void> {
  await mkdir(join(folder, path, ".."), { recursive: true });
  await writeFile(join(folder, path), text);
  // One that was written just now might change again without showing, and is read once more.
  await utimes(join(folder, path), 1_700_000_000, 1_700_000_000);
}

const run = (args: string[], options: RunOptions = {}) => runIn(args, { cwd: folder, ...options });
const published = (path: string) => readFile(join(folder, "out/current", path), "utf8");
const json = async (args: string[], options: RunOptions = {}) => {
  const { stdout } = await run([...args, "--json"], options);
  return JSON.parse(stdout) as Record<string, unknown>;
};

test("sync publishes, and says so in a line or an object", async () => {
  const { code, stdout, stderr } = await run(["sync", "site", "out"]);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^published [0-9a-f]{12} at out\/current: 2 added, 0 changed, 0 deleted\n {2}2 files, 6 B; received .* in \d+ requests?, [\d.]+m?s\n$/,
  );
  expect(await published("docs/a.txt")).toBe("a");
  expect((await run(["sync", "site", "out"])).stdout).toMatch(
    /^unchanged [0-9a-f]{12}\n {2}2 files, 6 B; /,
  );
  await put("site/docs/a.txt", "other");
  expect(
    await json(["sync"], { env: { PANNIER_SOURCE: "site", PANNIER_TARGET: "out" } }),
  ).toMatchObject({
    result: "published",
    path: join(folder, "out/current"),
    added: 0,
    changed: 1,
    deleted: 0,
    files: 2,
  });
});

test("--verify-content notices what size and time do not show", async () => {
  await run(["sync", "site", "out"]);
  await put("site/docs/a.txt", "b");
  const env = { PANNIER_VERIFY_CONTENT: "true" };
  expect(await json(["sync", "site", "out"])).toMatchObject({ result: "unchanged" });
  expect(await json(["sync", "site", "out"], { env })).toMatchObject({ changed: 1 });
  expect(await published("docs/a.txt")).toBe("b");
  await put("site/docs/a.txt", "c");
  await run(["sync", "site", "out", "--verify-content"]);
  expect(await published("docs/a.txt")).toBe("c");
});

test("sources are layered, and flags and variables reach the engine", async () => {
  await put("over/index.html", "over");
  await put("over/skipped.psd", "x");
  const env = { PANNIER_EXCLUDE: "*.psd\ndocs", PANNIER_LINK: "live", PANNIER_MODE: "600" };
  expect(await json(["sync", "site", "over", "out"], { env })).toMatchObject({ files: 1 });
  expect(await readdir(join(folder, "out/live"))).toEqual(["index.html"]);
  expect(await readFile(join(folder, "out/live/index.html"), "utf8")).toBe("over");
});

test.each([
  [["--max-files", "1"], 6],
  [["--max-bytes", "5"], 7],
  [["--publish", "sideways"], 2],
])("%j is refused, and nothing is published", async (flags, expected) => {
  const { code, stderr, stdout } = await run(["sync", "site", "out", ...flags]);
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(stdout).toBe("");
  expect(code).toBe(expected);
  await expect(published("index.html")).rejects.toThrow("ENOENT");
});

test("a source that is not there: exit 4, one line that names it", async () => {
  const { code, stderr } = await run(["sync", "nowhere", "out"]);
  expect(code).toBe(4);
  expect(stderr).toMatch(/^pannier: error: cannot sync file:\/\/\S+\/nowhere: .+\n$/);
});

test("plan shows what would be done and does nothing of it", async () => {
  const first = await run(["plan", "site", "out"]);
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(
    /^A {9}1 B {2}docs\/a\.txt\nA {9}5 B {2}index\.html\n2 additions, 0 changes, 0 deletions; the tree would be \S+: 2 files, 6 B\n$/,
  );
  expect(await readdir(folder)).toEqual(["site"]);
  await run(["sync", "site", "out"]);
  expect((await run(["plan", "site", "out"])).stdout).toMatch(
    /^nothing to do: \S+ is published\n$/,
  );
  await rm(join(folder, "site/docs"), { recursive: true });
  await put("site/new.txt", "new");
  expect(await json(["sync", "site", "out", "--dry-run"])).toMatchObject({
    result: "planned",
    changes: [
      { change: "deleted", path: "docs/a.txt" },
      { change: "added", path: "new.txt", size: 3 },
    ],
    added: 1,
    deleted: 1,
  });
  expect(await published("docs/a.txt")).toBe("a");
});

test("a plan that is refused shows what it was", async () => {
  await run(["sync", "site", "out"]);
  await rm(join(folder, "site/docs"), { recursive: true });
  const { code, stdout, stderr } = await run([
    "plan",
    "site",
    "out",
    "--json",
    "--max-delete",
    "0",
  ]);
  expect(code).toBe(6);
  expect(JSON.parse(stdout)).toMatchObject({
    changes: [{ change: "deleted", path: "docs/a.txt" }],
    error: { code: "refused", exitCode: 6 },
  });
  expect(stderr.trimEnd().split("\n")).toHaveLength(1);
});

test("status, history and rollback", async () => {
  const nothing = await run(["status", "out"]);
  expect(nothing.code).toBe(2);
  expect(nothing.stderr).toMatch(
    /^pannier: error: nothing is published at .*\. Sync to it first\n$/,
  );

  const first = await json(["sync", "site", "out"]);
  await put("site/index.html", "second");
  const second = await json(["sync", "site", "out"]);
  expect(await json(["status", "out"])).toMatchObject({
    revision: second["revision"],
    files: 2,
    bytes: 7,
    publish: "swap",
    link: "current",
    held: false,
    sources: [{ adapter: "file", into: "" }],
  });
  const { generations } = await json(["history", "out"]);
  expect(generations).toMatchObject([
    { revision: second["revision"], published: true },
    { revision: first["revision"], published: false },
  ]);

  const back = await run(["rollback", "out"]);
  expect(back.stderr).toBe("");
  expect(back.stdout).toContain(
    `published ${String(first["revision"]).slice(0, 12)} again: 0 added, 1 changed`,
  );
  expect(await published("index.html")).toBe("hello");
  const { stdout } = await run(["status"], { env: { PANNIER_TARGET: "out" } });
  expect(stdout).toMatch(
    /^revision {3}\S+ \(rolled back to[^]*\ncontent {4}2 files, 6 B\nsource {5}file:\/\/\S+\/site\n$/,
  );
  expect((await run(["history", "out"])).stdout).toMatch(/ published {2}\S+ {2}\+0 ~1 -0\n/);
  const unknown = await run(["rollback", "out", "zzz"]);
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain("revision zzz is not kept");
});

test("rollback holds back what the source holds now, seen or not, until it changes", async () => {
  await json(["sync", "site", "out"]);
  await put("site/index.html", "second");
  await json(["sync", "site", "out"]);
  await put("site/index.html", "the third, unseen");
  await run(["rollback", "out"]);
  expect(await json(["sync", "site", "out"])).toMatchObject({ result: "unchanged" });
  expect(await published("index.html")).toBe("hello");
  expect(await json(["status", "out"])).toMatchObject({ held: true });
  await put("site/index.html", "the fourth of them");
  await json(["sync", "site", "out"]);
  expect(await published("index.html")).toBe("the fourth of them");
  expect(await json(["status", "out"])).toMatchObject({ held: false });
});

test("rollback beside a sidecar says where to roll back, and nothing else", async () => {
  await json(["sync", "site", "out"]);
  await put("site/index.html", "second");
  await json(["sync", "site", "out"]);
  const unlock = lockFile(join(folder, "out/.pannier/lock"));
  const { code, stderr } = await run(["rollback", "out"]);
  unlock();
  expect(code).not.toBe(0);
  expect(stderr).toMatch(
    /^pannier: error: another Pannier is at work on \S+\. If it is a sidecar, roll back there: POST \/rollback\/MOUNT, or the dashboard\n$/,
  );
});

test("verify finds damage, and --repair mends it from the recorded source", async () => {
  await run(["sync", "site", "out"]);
  expect((await run(["verify", "out"])).stdout).toBe("2 files checked, all as published\n");
  await writeFile(join(folder, "out/current/index.html"), "HELLO");
  await rm(join(folder, "out/current/docs/a.txt"));
  await writeFile(join(folder, "out/current/new"), "");
  const found = await run(["verify", "out"]);
  expect(found.code).toBe(6);
  expect(found.stdout.trimEnd().split("\n").toSorted()).toEqual([
    "1 file checked: 1 changed, 1 missing, 1 extra",
    "changed  index.html",
    "extra    new",
    "missing  docs/a.txt",
  ]);
  expect(await json(["verify", "out", "--repair"])).toMatchObject({
    ok: true,
    changed: 1,
    paths: { changed: ["index.html"], missing: ["docs/a.txt"], extra: ["new"] },
    repaired: { result: "published" },
  });
  expect(await published("index.html")).toBe("hello");
  expect((await run(["verify", "out"])).code).toBe(0);
});

test("watch follows changes, syncs when asked to, and ends well on a signal", async () => {
  const signals = new EventEmitter();
  const events: { type: string; result?: { result: string; changed: number } }[] = [];
  const seen = (type: string) => events.filter((event) => event.type === type).length;
  const watching = run(["watch", "site", "out", "--json", "--period", "1h"], {
    signals,
    onOutput: (line) => events.push(JSON.parse(line) as (typeof events)[number]),
  });
  await expect.poll(() => seen("waiting"), PATIENCE).toBe(1);
  expect(await published("index.html")).toBe("hello");

  signals.emit("SIGUSR1");
  await expect.poll(() => seen("waiting"), PATIENCE).toBe(2);
  expect(events.findLast(({ type }) => type === "done")?.result?.result).toBe("unchanged");

  await put("site/index.html", "changed");
  await expect.poll(() => seen("published"), PATIENCE).toBe(2);
  expect(await published("index.html")).toBe("changed");

  signals.emit("SIGTERM", "SIGTERM");
  const { code, stderr } = await watching;
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(events.find(({ type }) => type === "planned")).toHaveProperty("time");
});

test("watch logs what fails and goes on; --once is a sync", async () => {
  const signals = new EventEmitter();
  const logged: { level: string; msg: string }[] = [];
  const { code, stdout } = await run(
    ["watch", "nowhere", "out", "--period", "1h", "--log-format", "json"],
    {
      signals,
      onOutput(line) {
        const record = JSON.parse(line) as (typeof logged)[number];
        logged.push(record);
        // The warning of the watch and the failed sync, whichever comes first.
        const levels = logged.map(({ level }) => level);
        if (levels.includes("error") && levels.includes("warn")) signals.emit("SIGINT", "SIGINT");
      },
    },
  );
  expect(code).toBe(0);
  expect(stdout).toBe("");
  const msgs = logged.map(({ msg }) => msg);
  expect(msgs).toHaveLength(4);
  expect(msgs[0]).toMatch(/^watching file:\/\/\S+\/nowhere; nothing is at out\/current yet$/);
  expect(msgs).toContain("cannot be watched, only polled: the source's path does not exist");
  expect(logged.find(({ level }) => level === "error")).toMatchObject({
    msg: expect.stringContaining("/nowhere: the source's path does not exist") as string,
    failures: 1,
  });
  expect(msgs.at(-1)).toBe("stopped; what is published stays");
  expect((await run(["watch", "site", "out", "--once"])).stdout).toMatch(/^published /);
});

test("a secret of a URL or a variable is in no output and nowhere on the volume", async () => {
  const env = {
    PANNIER_PASSWORD: "opensesame",
    PANNIER_ADAPTER: join(import.meta.dirname, "shelf-adapter.ts"),
  };
  let said = "";
  for (const host of ["top", "locked", "gone"])
    for (const command of ["sync", "plan"])
      for (const flags of [["--json"], ["--log-level", "debug"]]) {
        const { stdout, stderr } = await run(
          [command, `shelf://ann:hunter22@${host}/`, "out", ...flags],
          { env },
        );
        said += stdout + stderr;
      }
  said += (await run(["status", "out"])).stdout + (await run(["history", "out", "--json"])).stdout;
  for (const entry of await readdir(join(folder, "out"), { recursive: true, withFileTypes: true }))
    if (entry.isFile()) said += await readFile(join(entry.parentPath, entry.name), "latin1");
  expect(said).toContain("shelf://top/");
  expect(said).not.toMatch(/hunter22|opensesame/);
});

test("progress shows on a terminal, and is gone at the end", async () => {
  const { stderr } = await run(["sync", "site", "out"], { terminal: true });
  expect(stderr).toContain("\u001b[K\u001b[2masking for changes");
  expect(stderr.endsWith("\r\u001b[K")).toBe(true);
  const plain = { terminal: true, env: { NO_COLOR: "1" } };
  expect((await run(["sync", "site", "out"], plain)).stderr).not.toContain("\u001b[2m");
  const dumb = { terminal: true, env: { TERM: "dumb" } };
  expect((await run(["sync", "site", "out"], dumb)).stderr).toBe("");
});

test("a target that another process holds: exit 2", async () => {
  const signals = new EventEmitter();
  let other: Promise<{ code: number; stderr: string }> | undefined;
  await run(["watch", "site", "out", "--json"], {
    signals,
    onOutput(line) {
      if (!line.includes('"waiting"')) return;
      other ??= run(["sync", "site", "out"]).finally(() => signals.emit("SIGTERM", "SIGTERM"));
    },
  });
  expect(await other).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^pannier: .+\n$/) as string,
  });
});

test("a target that is a file, or that lies inside its source: exit 2", async () => {
  await put("plain", "");
  for (const target of ["plain", "site/out"]) {
    const { code, stderr } = await run(["sync", "site", target]);
    expect(stderr).toMatch(/^pannier: .+\n$/);
    expect(code).toBe(2);
  }
});
