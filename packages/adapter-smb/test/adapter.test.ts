/** What needs no library and no server; test/real has Samba. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { listAll, openSource } from "@pannier/adapter-kit";
import {
  type Adapter,
  type Credentials,
  SourceError,
  type SourceSpec,
  sync,
  UsageError,
} from "@pannier/core";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { withFewDescriptors } from "../../../test/support/few-descriptors.ts";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";
import { type Address, addressOf, encodePath } from "../src/address.ts";
import { CallFailure, connectionError, libraryError, translate } from "../src/errors.ts";
import { smb } from "../src/index.ts";
import { listTree } from "../src/list.ts";
import { createPool, type Pool } from "../src/pool.ts";
import type { Facts } from "../src/protocol.ts";
import { signIn } from "../src/sign-in.ts";

const FAKE = new URL("./fake-helper.ts", import.meta.url);
const { signal } = new AbortController();

interface PoolChoices {
  readonly idleTimeout?: number;
  readonly user?: string;
  readonly script?: URL | undefined;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly checkConnection?: () => Promise<void>;
}

function poolOf(choices: PoolChoices = {}): Pool {
  const { idleTimeout = 20_000, user = "user", env = process.env } = choices;
  const pool = createPool({
    idleTimeout,
    env,
    script: "script" in choices ? choices.script : FAKE,
    connection: async () => ({
      share: "smb://host:445/share",
      user,
      password: "secret",
      domain: undefined,
      encrypt: "auto",
      sign: "auto",
      by: "password",
    }),
    checkConnection: choices.checkConnection ?? (async () => {}),
  });
  onTestFinished(() => pool.close());
  return pool;
}

function stat(pool: Pool, path: string): Promise<{ readonly facts: Facts }> {
  return pool.use(signal, (helper) => helper.ask({ op: "stat", path }, signal));
}

function partsOf(url: string): Address {
  return addressOf(smb(url).location);
}

function failure(failed: string): CallFailure {
  return new CallFailure({ failed });
}

/** Helper processes that there are. */
function children(): number {
  const pids = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ");
  return pids.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(fileURLToPath(FAKE));
    } catch {
      // It has ended since.
      return false;
    }
  }).length;
}

async function pidOf(pool: Pool): Promise<number> {
  return (await stat(pool, "/pid")).facts.size;
}

describe("a helper process", () => {
  test("that crashes is replaced, and whoever waited may try again", async () => {
    const pool = poolOf();
    const before = await pidOf(pool);
    await expect(stat(pool, "/crash")).rejects.toMatchObject({
      code: "unavailable",
      transient: true,
      message: "the process that talks to the server ended (SIGSEGV)",
    });
    const after = await pidOf(pool);
    expect(after).not.toBe(before);
    // One that answers stays.
    expect(await pidOf(pool)).toBe(after);
  });

  test("that hangs is ended after the timeout, and one that something still comes to is not", async () => {
    const pool = poolOf({ idleTimeout: 700 });
    const before = await pidOf(pool);
    await stat(pool, "/slow");
    expect(await pidOf(pool)).toBe(before);
    const began = performance.now();
    await expect(stat(pool, "/hang")).rejects.toMatchObject({
      code: "unavailable",
      message: "the server did not answer in time",
    });
    expect(performance.now() - began).toBeGreaterThan(650);
    expect(await pidOf(pool)).not.toBe(before);
  });

  test("that something comes to without an end is ended after ten minutes", async () => {
    const pool = poolOf({ idleTimeout: 700 });
    const before = await pidOf(pool);
    const asked = stat(pool, "/dribble");
    asked.catch(() => {});
    // It has been sent by then.
    await setTimeout(0);
    const began = performance.now();
    const clock = vi.spyOn(performance, "now");
    onTestFinished(() => clock.mockRestore());
    clock.mockImplementation(() => began + 10 * 60_000 + 1000);
    await expect(asked).rejects.toMatchObject({
      code: "unavailable",
      transient: false,
      message: "the server took ten minutes for one answer",
    });
    expect(await pidOf(pool)).not.toBe(before);
  });

  test("is asked again after a server's no, and not after what leaves the connection in doubt", async () => {
    const pool = poolOf();
    const before = await pidOf(pool);
    await expect(stat(pool, "/ENOENT")).rejects.toMatchObject({ failed: "ENOENT" });
    expect(await pidOf(pool)).toBe(before);
    for (const failed of ["EINVAL", "EPERM"]) {
      const now = await pidOf(pool);
      await expect(stat(pool, `/${failed}`)).rejects.toMatchObject({ failed });
      expect(await pidOf(pool), failed).not.toBe(now);
    }
  });

  test("is not waited for once the signal is aborted, by whoever comes next neither", async () => {
    const pool = poolOf();
    const before = await pidOf(pool);
    const abort = new AbortController();
    const reason = new Error("enough");
    const waiting = pool.use(abort.signal, (helper) =>
      helper.ask({ op: "stat", path: "/hang" }, abort.signal),
    );
    // It has been sent by then.
    await setTimeout(0);
    const later = performance.now() + 1000;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => later);
    abort.abort(reason);
    clock.mockRestore();
    await expect(waiting).rejects.toBe(reason);
    expect(await pidOf(pool)).not.toBe(before);
  });

  test("has company where there is more to do than one can", async () => {
    const pool = poolOf();
    await pidOf(pool);
    const pids = new Set<number>();
    while (pids.size < 2) {
      // Each of them takes a while.
      const slow = Promise.all([stat(pool, "/slow"), stat(pool, "/slow"), stat(pool, "/slow")]);
      const some = await Promise.all(Array.from({ length: 12 }, () => pidOf(pool)));
      await slow;
      for (const pid of some) pids.add(pid);
    }
    expect(pids.size).toBeLessThanOrEqual(4);
  });

  test("has one other beside it and no more where answers are quick, however many wait for theirs", async () => {
    const pool = poolOf();
    await Promise.all(Array.from({ length: 20 }, () => stat(pool, "/near")));
    expect(children()).toBe(1);
    await Promise.all(Array.from({ length: 400 }, () => stat(pool, "/near")));
    expect(children()).toBe(2);
  });

  test("has no company while it is being connected, though somebody leaves", async () => {
    const checking = Promise.withResolvers<void>();
    const pool = poolOf({
      user: "slow",
      checkConnection: () => {
        checking.resolve();
        return new Promise(() => {});
      },
    });
    const [stays, leaves] = [new AbortController(), new AbortController()];
    const waiting = [stays, leaves].map((by) => pool.lease(by.signal));
    await checking.promise;
    leaves.abort(new Error("enough"));
    await expect(waiting[1]).rejects.toThrow("enough");
    expect(children()).toBe(1);
    stays.abort(new Error("enough"));
    await expect(waiting[0]).rejects.toThrow("enough");
  });

  test("that nothing was asked of for ten seconds is ended, one that was started for nothing too", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const pool = poolOf();
    await Promise.all([stat(pool, "/slow"), stat(pool, "/file")]);
    expect(children()).toBe(2);
    vi.advanceTimersByTime(10_000);
    await expect.poll(children).toBe(0);
  });

  test("that cannot be started for want of descriptors is started as soon as there are some", async () => {
    const told = await withFewDescriptors(`
      const { createPool } = await import("${new URL("../src/pool.ts", import.meta.url)}");
      const { signal } = new AbortController();
      const pool = createPool({
        idleTimeout: 20_000,
        env: {},
        script: new URL("${FAKE}"),
        connection: async () => ({ user: "user" }),
        checkConnection: async () => {},
      });
      const look = () => pool.use(signal, (helper) => helper.ask({ op: "stat", path: "/file" }, signal));
      const give = takeDescriptors({ but: 3 });
      const error = await look().catch((error) => error);
      give();
      console.log(error.code, error.message, (await look()).facts.kind);
      pool.close();`);
    expect(told).toBe(
      "unavailable the process that talks to the server could not be started (EMFILE) file",
    );
  });

  test("that finds no library says what to install", async () => {
    await expect(stat(poolOf({ user: "nobody" }), "/file")).rejects.toMatchObject({
      code: "unsupported",
      transient: false,
      message: "libsmbclient, which smb sources need, is not installed",
      hint: expect.stringMatching(/libsmbclient \(Debian 12, Alpine\) or libsmbclient0/),
    });
  });
});

/** A share with one file. */
function shareWith(name: string): SourceSpec {
  const pool = poolOf();
  const { adapter, ...rest } = smb("smb://host/share");
  const open: Adapter["open"] = async (_location, _options, { request, retry }) => ({
    probe: async () => undefined,
    list: async (_, scope) => ({
      ordered: true,
      entries: listTree({
        pool,
        scope,
        root: `/${name}`,
        signal,
        request,
        retry,
        onShortName: () => {},
      }),
    }),
    read: async () => Buffer.from("x"),
    close: async () => {},
  });
  return { ...rest, adapter: { ...adapter, open } as never };
}

test.each([
  ["日".repeat(200), /日日日" holds a name longer than 255 bytes/],
  ["a\\b", /an invalid name: "a\\\\b"/],
  ["..", /an invalid name: "\.\."/],
  ["caf\ufffd", /the name of "caf\ufffd" is not Unicode/],
])("a name that cannot be published (%j) is refused", async (name, message) => {
  const target = await mkdtemp(join(tmpdir(), "pannier-smb-"));
  onTestFinished(() => rm(target, { recursive: true }));
  await expect(sync({ sources: [shareWith(name)], target })).rejects.toMatchObject({
    cause: { code: "invalid", message: expect.stringMatching(message) },
  });
});

test("a library that lacks what is needed of it is told as one that is missing", async () => {
  const dir = await mkdtemp(join(tmpdir(), "pannier-smb-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  // Some library.
  const maps = readFileSync("/proc/self/maps", "utf8");
  await symlink(
    / (\/\S*libm[.-]\S*so\S*)/.exec(maps)?.[1] as string,
    join(dir, "libsmbclient.so.0"),
  );
  const pool = poolOf({ script: undefined, env: { LD_LIBRARY_PATH: dir } });
  await expect(stat(pool, "/file")).rejects.toMatchObject({
    code: "unsupported",
    message: "libsmbclient, which smb sources need, is not installed",
  });
});

describe("an address", () => {
  test("is taken apart", () => {
    expect(partsOf("smb://host/share")).toEqual({
      host: "host",
      share: "share",
      url: "smb://host:445/share",
      path: "",
    });
    expect(partsOf("smb://[::1]:4450/Public%20Files/a%3Fb/%25/c/")).toEqual({
      host: "::1",
      share: "Public Files",
      url: "smb://%3A%3A1:4450/Public%20Files",
      path: "/a?b/%/c",
    });
    expect(encodePath("/a?b/%/c")).toBe("/a%3Fb/%25/c");
  });

  test.each(["smb:///share", "smb://host", "smb://host/", "smb://host/share/a%5Cb"])(
    "%s is none",
    (url) => {
      expect(() => partsOf(url)).toThrow(UsageError);
    },
  );

  test("with a wrong option or user is refused before anything is asked", async () => {
    for (const [url, credentials] of [
      ["smb://host/share?encrypt=yes", {}],
      ["smb://host/share?sign=required&signing=off", {}],
      ["smb://host/share?domain=A", { username: "B\\user" }],
      ["smb://host/share", { username: "u".repeat(256) }],
    ] as const) {
      // What the options are is found out when they are parsed, all else when the source is opened.
      const opening = (async () => openSource(smb(url), { credentials }))();
      await expect(opening, url).rejects.toThrow(UsageError);
    }
  });
});

describe("signing in", () => {
  const nobody = { username: undefined, password: undefined };
  const none = { KRB5CCNAME: "/nonexistent/tickets" };
  const by = (credentials: Credentials, env = none, domain?: string) =>
    signIn(nobody, credentials, { domain, sign: "auto" }, env);

  test("is by password, by ticket, or as a guest", async () => {
    expect(await by({ username: "ann", password: "x" })).toMatchObject({ by: "password" });
    expect(await by({ username: "ann", password: "" })).toMatchObject({ by: "password" });
    expect(await by({})).toMatchObject({ by: "guest", user: "" });
    const cache = { KRB5CCNAME: "KEYRING:session:ann" };
    expect(await by({ username: "ann" }, cache)).toMatchObject({ by: "kerberos" });
    expect(await by({}, cache)).toMatchObject({ by: "guest" });
    expect(await by({ username: "ann", password: "x" }, cache)).toMatchObject({ by: "password" });
  });

  test("knows the domain by the option or before the name", async () => {
    const found = { user: "ann", domain: "OFFICE" };
    const password = "x";
    expect(await by({ username: "OFFICE\\ann", password })).toMatchObject(found);
    expect(await by({ username: "OFFICE;ann", password })).toMatchObject(found);
    expect(await by({ username: "ann", password }, none, "OFFICE")).toMatchObject(found);
  });

  test("reads the password file again, and says which cannot be read", async () => {
    const dir = await mkdtemp(join(tmpdir(), "pannier-smb-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const passwordFile = join(dir, "password");
    const given = { username: "ann", passwordFile };
    await expect(by(given)).rejects.toMatchObject({
      name: "UsageError",
      message: `the password file ${passwordFile} cannot be read (ENOENT)`,
    });
    for (const password of ["one", "two"]) {
      await writeFile(passwordFile, `${password}\n`);
      expect(await by(given)).toMatchObject({ password });
    }
  });

  test("is refused where a password has no user, tickets are not where they should be, or a guest must sign", async () => {
    await expect(by({ password: "x" })).rejects.toMatchObject({ code: "auth" });
    for (const KRB5CCNAME of ["/nonexistent/tickets", "FILE:/nonexistent/tickets"]) {
      await expect(by({ username: "ann" }, { KRB5CCNAME })).rejects.toMatchObject({
        code: "auth",
        message: "there are no tickets at /nonexistent/tickets",
      });
    }
    const guest = signIn(nobody, {}, { domain: undefined, sign: "required" }, none);
    await expect(guest).rejects.toMatchObject({ code: "auth" });
  });
});

const SERVER = { host: "127.0.0.1", share: "share", by: "password" } as const;

test("what the library says is translated", async () => {
  const codes = {
    ENOENT: "not-found",
    EACCES: "auth",
    EBUSY: "unavailable",
    ECONNRESET: "unavailable",
    unencrypted: "unsupported",
  };
  for (const [failed, code] of Object.entries(codes)) {
    expect(translate(failure(failed), "a"), failed).toMatchObject({ code });
    expect(await connectionError(failure(failed), SERVER), failed).toMatchObject({
      code,
    });
  }
  // Not let in again: a new connection, with the password as it is by then, will tell.
  expect(translate(failure("EPERM"), "a")).toMatchObject({ code: "unavailable", transient: true });
  expect(await connectionError(failure("EPERM"), SERVER)).toMatchObject({
    code: "auth",
  });
  for (const failed of ["library", "koffi", "machine"]) {
    expect(libraryError(failure(failed))).toMatchObject({ code: "unsupported" });
  }
  const other = new SourceError("throttled", "x");
  expect(translate(other, "a")).toBe(other);
});

test("neither koffi nor the library is loaded before a source is used, nor in this process at all", async () => {
  const script = `
    const { smb } = await import("@pannier/adapter-smb");
    const { listAll, openSource } = await import("@pannier/adapter-kit");
    const { source, close } = await openSource(smb("smb://127.0.0.1:1/share"));
    await listAll(source).catch(() => {});
    await close();
    const { readFileSync } = await import("node:fs");
    console.log(/koffi|smbclient/.test(readFileSync("/proc/self/maps", "utf8")));`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [...FROM_SOURCES, "--no-addons", "--input-type=module", "-e", script],
    { cwd: import.meta.dirname },
  );
  expect(stdout.trim()).toBe("false");
});

test("a source whose server is not there says so, or what to install", async () => {
  const { source, close } = await openSource(smb("smb://127.0.0.1:1/share"));
  onTestFinished(close);
  await expect(listAll(source)).rejects.toMatchObject({
    message: expect.stringMatching(/^the connection was refused$|^libsmbclient, .* not installed$/),
  });
});

test("a name that the server lists and does not take is told as such, not as a broken connection", () => {
  for (const name of ["a:b", "a?b", "dir/a|b", "a\\b"]) {
    expect(translate(failure("EINVAL"), name)).toMatchObject({
      code: "invalid",
      message: `the server lists ${JSON.stringify(name)}, and does not take that name`,
    });
  }
  expect(translate(failure("EINVAL"), "plain")).toMatchObject({ code: "unavailable" });
});
