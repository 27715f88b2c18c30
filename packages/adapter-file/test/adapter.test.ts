/** What is particular to files, beside the conformance suite. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { sync } from "@pannier/core";
import {
  type Entry,
  type FileEntry,
  type Source,
  SourceError,
  type SourceErrorCode,
  UsageError,
} from "@pannier/core/adapter";
import { listAll, type OpenedSource, openSource, readAll } from "@pannier/adapter-kit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { file } from "../src/index.ts";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { refuseThreads } from "../../../test/support/no-threads.ts";

let dir: string;
let opened: OpenedSource[];
const { signal } = new AbortController();
/** A namespace of users with a limit of its own: namespaces(7), `/proc/sys/user`. */
const NAMESPACE = ["--user", "--map-root-user", "sh", "-c"];
const LIMIT = "echo 5 > /proc/sys/user/max_inotify_watches";
const root = process.getuid?.() === 0;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pannier-file-"));
  opened = [];
});
afterEach(async () => {
  for (const { close } of opened) await close();
  rmSync(dir, { recursive: true });
});

async function open(path = dir, options: Parameters<typeof file>[1] = {}): Promise<OpenedSource> {
  const source = await openSource(file(path, options));
  opened.push(source);
  return source;
}

/** When the last file was written, as files say; milliseconds. */
let written = Date.now() - 24 * 60 * 60 * 1000;

/** Writes files, but not just now, when they could change again without showing. */
async function put(files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
    written += 1000;
    utimesSync(join(dir, path), written / 1000, written / 1000);
  }
}

async function code(failing: Promise<unknown>): Promise<SourceErrorCode | string> {
  const error = await failing.then(
    () => "no error",
    (thrown: unknown) => thrown,
  );
  return error instanceof SourceError ? error.code : String(error);
}

describe("addresses", () => {
  test("a path, a file URL, and one with escapes are the same", async () => {
    const path = join(dir, "a b%#?é");
    mkdirSync(path);
    writeFileSync(join(path, "x"), "");
    for (const url of [path, `${path}/`, `file://${dir}/a%20b%25%23%3F%C3%A9`]) {
      expect((await listAll((await open(url)).source)).paths).toEqual(["x"]);
    }
  });

  test("another machine's files are refused", async () => {
    await expect(open("file://server/share")).rejects.toThrow(UsageError);
  });

  test("a single file is listed by its name, has a probe, and is read", async () => {
    await put({ "app.json": "{}" });
    symlinkSync("app.json", join(dir, "link.json"));
    for (const name of ["app.json", "link.json"]) {
      const { source, requests } = await open(join(dir, name));
      const token = (await source.probe(signal))?.token;
      expect(requests).toEqual(["probe"]);
      const listed = await listAll(source);
      expect(listed.paths).toEqual([name]);
      expect(listed.listing.token?.()).toBe(token);
      expect((await readAll(source, listed.file(name))).toString()).toBe("{}");
    }
    const { source } = await open(join(dir, "app.json"));
    const { token } = (await source.probe(signal)) ?? {};
    await put({ "app.json": "[]" });
    expect((await source.probe(signal))?.token).not.toBe(token);
  });

  test("the path may be a symlink to the directory", async () => {
    await put({ "v1/page": "first", "v2/page": "two" });
    symlinkSync("v1", join(dir, "current"));
    const { source } = await open(join(dir, "current"));
    const first = await listAll(source);
    symlinkSync("v2", join(dir, "next"));
    renameSync(join(dir, "next"), join(dir, "current"));
    const second = await listAll(source);
    expect((await readAll(source, second.file("page"))).toString()).toBe("two");
    expect(await code(readAll(source, first.file("page")))).toBe("changed");
  });
});

describe("what is left out or refused", () => {
  test("a FIFO and a socket are left out with one warning, and never opened", async () => {
    await put({ page: "x" });
    execFileSync("mkfifo", [join(dir, "fifo")]);
    const server = createServer().listen(join(dir, "socket"));
    const { source, warnings } = await open();
    expect((await listAll(source)).paths).toEqual(["page"]);
    await listAll(source);
    server.close();
    expect(warnings).toEqual([expect.stringContaining('"fifo" and 1 more')]);
  });

  test("a name that is not UTF-8 is named in the error", async () => {
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/caf`), Buffer.from([0xe9])]), "");
    const failing = listAll((await open()).source);
    await expect(failing).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/caf.*636166e9/),
    });
    rmSync(Buffer.concat([Buffer.from(`${dir}/caf`), Buffer.from([0xe9])]) as never);
  });

  test("a name with a real replacement character is fine", async () => {
    await put({ "a\ufffdb": "x" });
    expect((await listAll((await open()).source)).paths).toEqual(["a\ufffdb"]);
  });

  test("what may not be read is a matter of permission, and named", async () => {
    await put({ "open/page": "x", "closed/page": "x" });
    chmodSync(dir, 0o755);
    chmodSync(join(dir, "open/page"), 0);
    const { source } = await open();
    const entry = (await listAll(source)).file("open/page");
    chmodSync(join(dir, "closed"), 0);
    await unprivileged(async () => {
      await expect(readAll(source, entry)).rejects.toMatchObject({ code: "auth" });
      await expect(listAll(source)).rejects.toMatchObject({
        code: "auth",
        message: expect.stringContaining("closed"),
      });
    });
  });

  test("a device is no source", async () => {
    expect(await code(listAll((await open("/dev/null")).source))).toBe("unsupported");
  });
});

describe("changes", () => {
  test("a file that may change again without showing is told to be read again", async () => {
    await put({ page: "one" });
    const { source } = await open();
    // As just written, by a clock that is a second ahead, which outlasts a busy machine.
    const mtime = Date.now() + 1000;
    utimesSync(join(dir, "page"), new Date(mtime), new Date(mtime));
    const fresh = (await listAll(source)).file("page");
    expect(fresh.fingerprint).toBe(`3-${mtime}~`);
    expect((await readAll(source, fresh)).toString()).toBe("one");
    await sleep(mtime + 60 - Date.now());
    const later = (await listAll(source)).file("page");
    expect(later.fingerprint).toBe(`3-${mtime}`);
    expect((await listAll(source)).file("page").fingerprint).toBe(later.fingerprint);
  });

  test("fractions of a millisecond count", async () => {
    await put({ page: "x" });
    const path = join(dir, "page");
    utimesSync(path, 1_700_000_000, 1_700_000_000.0001);
    const { source } = await open();
    const first = (await listAll(source)).file("page");
    utimesSync(path, 1_700_000_000, 1_700_000_000.0002);
    const second = (await listAll(source)).file("page");
    expect(first.mtime).toBeCloseTo(1_700_000_000_000.1, 2);
    expect(second.fingerprint).not.toBe(first.fingerprint);
  });

  test("files of a ConfigMap volume are listed as they are meant, and switch together", async () => {
    await put({ "..2024_01/a": "1", "..2024_01/b": "1" });
    symlinkSync("..2024_01", join(dir, "..data"));
    for (const name of ["a", "b"]) symlinkSync(`..data/${name}`, join(dir, name));
    const { source } = await open();
    const first = await listAll(source);
    expect([...first.entries.values()]).toMatchObject([
      { kind: "file", path: "a" },
      { kind: "file", path: "b" },
    ]);

    await put({ "..2024_02/a": "two", "..2024_02/b": "two" });
    symlinkSync("..2024_02", join(dir, "..data_tmp"));
    renameSync(join(dir, "..data_tmp"), join(dir, "..data"));
    rmSync(join(dir, "..2024_01"), { recursive: true });
    expect(await code(readAll(source, first.file("a")))).toBe("not-found");
    const second = await listAll(source);
    expect((await readAll(source, second.file("b"))).toString()).toBe("two");
  });

  test("a tree that is replaced while it is listed is not listed as a mixture", async () => {
    await put({ "v1/a/x": "1", "v1/b/x": "1", "v2/a/x": "2" });
    symlinkSync("v1", join(dir, "current"));
    const { source } = await open(join(dir, "current"));
    const { entries } = await source.list(signal);
    renameSync(join(dir, "v1"), join(dir, "away"));
    renameSync(join(dir, "v2"), join(dir, "v1"));
    expect(await code(drain(entries))).toBe("changed");
  });
});

describe("confinement", () => {
  test.each(["a file", "a directory on the way"])(
    "a link put in the place of %s is not followed",
    async (what) => {
      await put({ "tree/dir/page": "inside", "elsewhere/page": "inside" });
      // Even of the same size and time.
      const time = new Date(1_700_000_000_000);
      for (const path of ["tree/dir/page", "elsewhere/page"])
        utimesSync(join(dir, path), time, time);
      const { source } = await open(join(dir, "tree"));
      const entry = (await listAll(source)).file("dir/page");
      const local = source.localPath?.(entry);
      await local?.check();
      const victim = what === "a file" ? "tree/dir/page" : "tree/dir";
      rmSync(join(dir, victim), { recursive: true });
      symlinkSync(join(dir, what === "a file" ? "elsewhere/page" : "elsewhere"), join(dir, victim));
      expect(await code(readAll(source, entry))).toBe("changed");
      expect(await code(local?.check() as Promise<void>)).toBe("changed");
    },
  );

  test("an entry with dots does not lead out of the tree", async () => {
    await put({ "tree/page": "x", secret: "s" });
    const { source } = await open(join(dir, "tree"));
    await listAll(source);
    const { size, mtimeMs } = statSync(join(dir, "secret"));
    const forged: FileEntry = {
      kind: "file",
      path: "../secret",
      fingerprint: `${size}-${mtimeMs}`,
    };
    expect(await code(readAll(source, forged))).toBe("changed");
  });

  test("a FIFO put in the place of a file does not block", async () => {
    await put({ page: "x" });
    const { source } = await open();
    const entry = (await listAll(source)).file("page");
    rmSync(join(dir, "page"));
    execFileSync("mkfifo", [join(dir, "page")]);
    expect(await code(readAll(source, entry))).toBe("changed");
  });

  test("the local path is checked after the copy", async () => {
    await put({ page: "old" });
    const { source } = await open();
    const local = source.localPath?.((await listAll(source)).file("page"));
    expect(local).toMatchObject({ path: join(dir, "page"), disposable: false });
    await put({ page: "new" });
    expect(await code(local?.check() as Promise<void>)).toBe("changed");
  });
});

describe("a source that went away", () => {
  test("is not found when it never was there", async () => {
    expect(await code(listAll((await open(join(dir, "nowhere"))).source))).toBe("not-found");
  });

  test("is unavailable once it was listed, or published by an earlier process", async () => {
    await put({ "tree/page": "x", "app.json": "{}" });
    const { source } = await open(join(dir, "tree"));
    await listAll(source);
    rmSync(join(dir, "tree"), { recursive: true });
    expect(await code(listAll(source))).toBe("unavailable");

    const later = await open(join(dir, "gone.json"));
    expect(await code(later.source.probe(signal))).toBe("not-found");
    expect(await code(later.source.probe(signal, "token"))).toBe("unavailable");
  });

  test("is unavailable while a required file is missing", async () => {
    await put({ "tree/page": "x" });
    const { source } = await open(join(dir, "tree"), { required: ".mounted" });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining(".mounted"),
    });
    await put({ "tree/.mounted": "" });
    expect((await listAll(source)).paths).toEqual([".mounted", "page"]);
  });

  test("is unavailable while nothing is mounted, where a mount is asked for", async () => {
    await put({ page: "x" });
    expect(await code(listAll((await open(dir, { mountpoint: true })).source))).toBe("unavailable");
  });

  test.skipIf(!canMount())(
    "an unmounted volume is not an empty one",
    { meta: { skipReason: "no permission to mount" } },
    async () => {
      const mount = join(dir, "a mount");
      mkdirSync(mount);
      execFileSync("mount", ["-t", "tmpfs", "none", mount]);
      let mounted = true;
      const unmount = (...flags: string[]) => {
        if (mounted) execFileSync("umount", [...flags, mount]);
        mounted = false;
      };
      try {
        await put({ "a mount/dir/page": "x" });
        const { source } = await open(mount);
        const asked = await open(mount, { mountpoint: true });
        expect((await listAll(asked.source)).paths).toEqual(["dir/page"]);
        expect((await listAll(source)).paths).toEqual(["dir/page"]);

        // In the middle of a listing: what was found under the mount is not the whole truth.
        const { entries } = await source.list(signal);
        unmount("--lazy");
        expect(await code(drain(entries))).toBe("unavailable");
        expect(readdirSync(mount)).toEqual([]);
        expect(await code(listAll(source))).toBe("unavailable");
        expect(await code(listAll(asked.source))).toBe("unavailable");
      } finally {
        unmount("--lazy");
      }
    },
  );
});

describe("hints", () => {
  test.each([
    ["a new file in a new directory", () => put({ "new/deep/er/page": "x" })],
    ["a deletion", async () => rmSync(join(dir, "sub/page"))],
    ["a directory moved in", async () => renameSync(outside(), join(dir, "in"))],
  ])("tell of %s, and of what happens in it later", async (_what, change) => {
    await put({ page: "x", "sub/page": "x" });
    const hints = await watching((await open()).source);
    await change();
    expect(await hints.next()).toBe(true);
    for (const path of ["new/deep/er/page", "in/inner/page", "sub/again"]) {
      if (!existsSync(dirname(join(dir, path)))) continue;
      await hints.settle();
      writeFileSync(join(dir, path), "more");
      expect(await hints.next()).toBe(true);
    }
    await hints.stop();
  });

  test("follow a path that is a symlink to where it leads next", async () => {
    await put({ "v1/page": "1", "v2/page": "2" });
    symlinkSync("v1", join(dir, "current"));
    const hints = await watching((await open(join(dir, "current"))).source, ["v1"]);
    symlinkSync("v2", join(dir, "next"));
    renameSync(join(dir, "next"), join(dir, "current"));
    expect(await hints.next()).toBe(true);
    await hints.settle(["v2"]);
    writeFileSync(join(dir, "v2/page"), "more");
    expect(await hints.next()).toBe(true);
    await hints.stop();
  });

  test("of a single file", async () => {
    await put({ "app.json": "{}" });
    const hints = await watching((await open(join(dir, "app.json"))).source);
    writeFileSync(join(dir, "app.tmp"), "[]");
    renameSync(join(dir, "app.tmp"), join(dir, "app.json"));
    expect(await hints.next()).toBe(true);
    await hints.stop();
  });
});

test.skipIf(!mayLimitWatches())(
  "without watches to be had, hints end with what to do",
  { meta: { skipReason: "no user namespaces" } },
  () => {
    for (let i = 0; i < 8; i++) mkdirSync(join(dir, `dir-${i}`));
    const script = `
      const { file } = await import("${new URL("../src/index.ts", import.meta.url).href}");
      const { openSource } = await import("@pannier/adapter-kit");
      const { source } = await openSource(file(${JSON.stringify(dir)}));
      const hints = source.watch(AbortSignal.timeout(5000))[Symbol.asyncIterator]();
      await hints.next().catch(({ code, hint }) => console.log(code, hint));`;
    const node = `${process.execPath} ${FROM_SOURCES.join(" ")} --input-type=module --eval "$0"`;
    const said = execFileSync("unshare", [...NAMESPACE, `${LIMIT} && exec ${node}`, script], {
      cwd: import.meta.dirname,
    });
    expect(said.toString()).toBe("unsupported raise fs.inotify.max_user_watches\n");
  },
);

interface Hints {
  /** Whether a hint came. */
  next(): Promise<boolean>;
  /** Waits until directories are watched, and takes the hints of what was done until now. @param wanted default: all */
  settle(wanted?: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

/** Starts watching, and waits until the watches are there. */
async function watching(source: Source, names?: readonly string[]): Promise<Hints> {
  const abort = new AbortController();
  const iterator = source.watch?.(abort.signal)[Symbol.asyncIterator]() as AsyncIterator<void>;
  let pending = iterator.next();
  await untilWatched(names);
  return {
    async next() {
      const { done } = await pending;
      pending = iterator.next();
      return done !== true;
    },
    async settle(wanted) {
      await untilWatched(wanted);
      for (let quiet = 0; quiet < 10; quiet++) {
        const hinted = await Promise.race([pending.then(() => true), turn(false)]);
        if (!hinted) continue;
        quiet = 0;
        pending = iterator.next();
      }
    },
    async stop() {
      abort.abort();
      await eventually(async () => {
        const { done } = await pending;
        if (done !== true) pending = iterator.next();
        expect(done).toBe(true);
      });
    },
  };
}

/** Waits until the kernel watches `dir`, and directories below, for this process: proc_pid_fdinfo(5). */
async function untilWatched(names?: readonly string[]): Promise<void> {
  await eventually(() => {
    const below = readdirSync(dir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name));
    const paths = [dir, ...(names?.map((name) => join(dir, name)) ?? below)];
    expect(watchedInodes()).toEqual(
      expect.arrayContaining(paths.map((path) => statSync(path).ino)),
    );
  });
}

function watchedInodes(): number[] {
  const inodes: number[] = [];
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    let text = "";
    try {
      text = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    } catch {
      // Closed meanwhile.
    }
    for (const [, inode = ""] of text.matchAll(/^inotify wd:\S+ ino:([0-9a-f]+) /gm)) {
      inodes.push(Number.parseInt(inode, 16));
    }
  }
  return inodes;
}

/** A directory with another in it, beside the source. */
function outside(): string {
  const made = mkdtempSync(join(dirname(dir), "pannier-outside-"));
  mkdirSync(join(made, "inner"));
  return made;
}

async function drain(
  entries: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
): Promise<void> {
  for await (const batch of entries) void batch;
}

function mayLimitWatches(): boolean {
  try {
    execFileSync("unshare", [...NAMESPACE, LIMIT], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Root may read everything: takes on another user's rights meanwhile. */
async function unprivileged(run: () => Promise<void>): Promise<void> {
  if (root) process.seteuid?.(65_534);
  try {
    await run();
  } finally {
    if (root) process.seteuid?.(0);
    chmodSync(join(dir, "closed"), 0o755);
  }
}

function canMount(): boolean {
  if (!root || process.platform !== "linux") return false;
  const probe = mkdtempSync(join(tmpdir(), "pannier-mount-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "none", probe], { stdio: "ignore" });
    execFileSync("umount", [probe]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(probe, { recursive: true });
  }
}

test("where the system has no room for a thread, the listing fails and says so", async () => {
  await put({ a: "1" });
  const { source } = await open(dir);
  const allow = refuseThreads();
  const listing = listAll(source);
  await expect(listing).rejects.toThrow("as no thread can be started");
  await expect(listing).rejects.toMatchObject({ code: "unavailable", transient: true });
  allow();
  expect((await listAll(source)).paths).toEqual(["a"]);
});

test("what filters leave out is not judged", async () => {
  const target = mkdtempSync(join(tmpdir(), "pannier-file-target-"));
  try {
    writeFileSync(join(dir, "a.txt"), "a");
    // Latin-1.
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/caf`), Buffer.from([0xe9])]), "");
    const options = { sources: [file(dir)], target };
    await expect(sync(options)).rejects.toMatchObject({
      message: expect.stringContaining("not UTF-8"),
    });
    await sync({ ...options, exclude: ["caf*"] });
    expect(readdirSync(join(target, "current"))).toEqual(["a.txt"]);
    writeFileSync(join(dir, ".pannierignore"), "caf*\n");
    expect((await sync(options)).result).toBe("unchanged");
  } finally {
    rmSync(target, { recursive: true });
  }
});

test.skipIf(!root).each([
  ["that may not be read", 0o700],
  ["of which only the names may be read", 0o744],
])("a directory %s is left out by filters", (_, mode) => {
  const target = mkdtempSync(join(tmpdir(), "pannier-file-target-"));
  try {
    chmodSync(dir, 0o755);
    chmodSync(target, 0o777);
    writeFileSync(join(dir, "a.txt"), "a");
    mkdirSync(join(dir, "lost+found"));
    writeFileSync(join(dir, "lost+found/b"), "b");
    chmodSync(join(dir, "lost+found"), mode);
    const program = `
      import { sync } from "@pannier/core";
      import { file } from "@pannier/adapter-file";
      process.setgroups([]); process.setgid(65534); process.setuid(65534);
      const options = { sources: [file(${JSON.stringify(dir)})], target: ${JSON.stringify(target)} };
      const refused = await sync(options).then(() => "nothing", (error) => error.cause.code);
      await sync({ ...options, exclude: ["lost+found/"] });
      console.log(refused);
    `;
    const args = [...FROM_SOURCES, "--input-type=module", "--eval", program];
    const { stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: "utf8",
      cwd: import.meta.dirname,
    });
    expect(stdout, stderr).toBe("auth\n");
    expect(readdirSync(join(target, "current"))).toEqual(["a.txt"]);
  } finally {
    rmSync(target, { recursive: true });
  }
});
