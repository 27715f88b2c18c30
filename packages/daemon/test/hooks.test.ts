/** Hooks: that they gate, that they end, that they run once, and what they are told. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { SourceError } from "@pannier/core";
import { expect, it, onTestFinished, vi } from "vitest";
import type { HooksConfig, PostPublishConfig } from "../src/config/config.ts";
import { daemonConfig, mountConfig, type Running, scratch, startDaemon } from "./run-daemon.ts";
import { ownTime } from "../../../test/support/own-time.ts";
import { eventually } from "../../../test/support/eventually.ts";

const shell = (script: string, timeout = 10_000) => ({
  command: ["/bin/sh", "-c", script],
  timeout,
  env: {},
});
const after = (script: string, more: { retries?: number; timeout?: number } = {}) => ({
  ...shell(script, more.timeout),
  retries: more.retries ?? 0,
});

/** One mount, `site`, in `FOLDER/t`. */
function start(
  folder: string,
  hooks: Partial<HooksConfig>,
  more: Parameters<typeof startDaemon>[1] & { readonly period?: number } = {},
): Running {
  const mount = mountConfig("site", join(folder, "t"), {
    hooks,
    options: { period: more.period ?? 50 },
  });
  return startDaemon(daemonConfig([mount]), more);
}

const published = (folder: string, path: string) => {
  const file = join(folder, "t/current", path);
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
};
const runs = (daemon: Running) =>
  daemon.events.flatMap(([, event]) => (event.type === "hook" ? [event] : []));
/** Resolves after some more polls. */
const polls = async (daemon: Running, count = 3) => {
  const before = daemon.source("site").lists;
  await eventually(() =>
    expect(daemon.source("site").lists).toBeGreaterThanOrEqual(before + count),
  );
};

it("gates what is published by what it finds in the candidate tree", async () => {
  const folder = scratch();
  const asked = join(folder, "asked");
  const daemon = start(folder, {
    prePublish: { ...shell(`echo x >> ${asked}; ls; ! test -e bad`), retry: 60_000 },
  });
  await daemon.event("site", "published");
  daemon.source("site").content = { a: "2", bad: "" };
  const failed = await daemon.event("site", "failed");
  expect(failed.error.name).toBe("HookError");
  expect(failed.error.message).toMatch(/it ended with code 1: a\nbad$/);
  await polls(daemon);
  // Asked once about each revision, however often the source is looked at.
  expect(readFileSync(asked, "utf8")).toBe("x\nx\n");
  expect(published(folder, "a")).toBe("site");
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  expect(await daemon.status("site")).toMatchObject({ error: { code: "hook" } });
  daemon.source("site").content = { a: "3" };
  await eventually(() => expect(published(folder, "a")).toBe("3"));
  expect(readFileSync(asked, "utf8")).toBe("x\nx\nx\n");
});

it("counts a refusal once, however often the source is looked at", async () => {
  const gated = { prePublish: { ...shell("test -e a"), retry: 60_000 } };
  const mount = mountConfig("site", join(scratch(), "t"), {
    hooks: gated,
    options: { period: 20 },
  });
  const daemon = startDaemon(daemonConfig([mount], { maxFailures: 2 }), {
    contents: { site: { b: "1" } },
  });
  await daemon.event("site", "failed");
  await polls(daemon, 5);
  expect(await daemon.status("site")).toMatchObject({ failures: 1, error: { code: "hook" } });
  expect((await daemon.get("/metrics")).text).toContain(
    'pannier_syncs_total{mount="site",result="failed"} 1\n',
  );
  daemon.source("site").content = { b: "2" };
  await daemon.event("site", "failed", ({ failures }) => failures === 2);
  // After a success it counts from zero.
  daemon.source("site").content = { a: "1" };
  await daemon.event("site", "done");
  daemon.source("site").content = { b: "2" };
  await eventually(async () => expect(await daemon.status("site")).toMatchObject({ failures: 1 }));
});

it("asks again after its time, and at once when somebody asks for a sync", async () => {
  const folder = scratch();
  const gate = join(folder, "gate");
  const hook = { ...shell(`test -e ${gate}`), retry: 400 };
  const daemon = start(folder, { prePublish: hook });
  await daemon.event("site", "failed");
  await eventually(() => expect(runs(daemon).length).toBeGreaterThan(1));
  writeFileSync(gate, "");
  await daemon.event("site", "published");
});

it("ends a hook that hangs with all that it started, and keeps what was published", async () => {
  const folder = scratch();
  const pids = join(folder, "pids");
  // Deaf to SIGTERM, with a grandchild that holds on to the output.
  const script = `trap '' TERM; echo $$ >> ${pids}; (trap '' TERM; sleep 1000) & echo $! >> ${pids}; wait; sleep 1000`;
  const daemon = start(folder, { prePublish: { ...shell(script, 2000), retry: 60_000 } });
  const { error } = await daemon.event("site", "failed");
  expect(error.message).toMatch(/did not end within 2 s and was killed/);
  expect(runs(daemon)[0]).toMatchObject({ hook: "prePublish", result: "timeout" });
  const [leader, child] = readFileSync(pids, "utf8").trim().split("\n").map(Number);
  for (const pid of [leader, child])
    await eventually(() => expect(isRunning(pid as number)).toBe(false));
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  expect(published(folder, "a")).toBeUndefined();
});

it.each([
  ["in its process group", "sleep 1000 & echo $! > PID", "success"],
  [
    "in a session of its own",
    "setsid sh -c 'echo $$ > PID; sleep 1000 & wait' & while ! test -s PID; do sleep 0.02; done",
    "success",
  ],
  [
    "in a session of its own, at its timeout",
    "setsid sh -c 'echo $$ > PID; sleep 1000' & sleep 1000",
    "timeout",
  ],
])("leaves nothing running that a hook did not wait for, %s", async (_, script, result) => {
  const folder = scratch();
  const pid = join(folder, "pid");
  const hook = after(script.replaceAll("PID", pid), result === "timeout" ? { timeout: 1000 } : {});
  const daemon = start(folder, { postPublish: [hook] });
  expect(await daemon.event("site", "hook")).toMatchObject({ result });
  await eventually(() => expect(isRunning(Number(readFileSync(pid, "utf8")))).toBe(false));
});

/** Zombies run no more: whoever is process 1 here may be in no hurry to reap. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

it("tells a hook what changed, and none of our secrets", async () => {
  const folder = scratch();
  const told = join(folder, "told");
  const script = `env > ${told}; cat "$PANNIER_CHANGES" >> ${told}; pwd >> ${told}; cat /proc/self/cmdline`;
  const hook = { ...after(script), env: { EXTRA: "given" } };
  const daemon = start(
    folder,
    { postPublish: [hook] },
    {
      env: {
        PATH: "/usr/bin:/bin",
        LC_ALL: "C",
        PANNIER_PASSWORD: "s3cret",
        AWS_SECRET_ACCESS_KEY: "s3cret",
        NODE_OPTIONS: "",
      },
      contents: { site: { a: "1", "b\nc": "2" } },
    },
  );
  const first = await daemon.event("site", "hook");
  expect(readFileSync(told, "utf8")).toContain('A\ta\nA\t"b\\nc"\n');
  daemon.source("site").content = { a: "1", d: "3" };
  const second = await daemon.event("site", "hook", ({ revision }) => revision !== first.revision);
  const text = readFileSync(told, "utf8");
  const path = join(folder, "t/current");
  for (const line of [
    "PANNIER_MOUNT=site",
    `PANNIER_REVISION=${second.revision}`,
    `PANNIER_PREVIOUS_REVISION=${first.revision}`,
    `PANNIER_PATH=${path}`,
    "EXTRA=given",
    "LC_ALL=C",
  ])
    expect(text.split("\n")).toContain(line);
  expect(text).toContain('D\t"b\\nc"\nA\td\n');
  expect(text).not.toContain("s3cret");
  expect(text).not.toContain("NODE_OPTIONS");
});

it.each([
  ["short", 'echo "with $TOKEN"'],
  ["long, and cut in the middle of it", 'printf %s "$TOKEN"; head -c 1995 /dev/zero | tr "\\0" x'],
])("tells nobody what a hook was given, where it prints that: %s", async (_, print) => {
  const daemon = start(scratch(), {
    prePublish: {
      ...shell(`${print}; exit 1`),
      env: { TOKEN: "s3cret-t0ken", SHORT: "x" },
      retry: 60_000,
    },
  });
  await daemon.event("site", "failed");
  const { text } = await daemon.get("/status");
  expect(text).toMatch(/with \*\*\*|x{1995}/);
  expect(text).not.toContain("t0ken");
});

it("tries a hook that fails again until it succeeds, and says why", async () => {
  const folder = scratch();
  const daemon = start(folder, {
    postPublish: [after(`test -e ${folder}/up || { echo "not up" >&2; exit 3; }`, { retries: 9 })],
  });
  const failed = await daemon.event("site", "hook");
  expect(failed).toMatchObject({ result: "failure", message: "it ended with code 3: not up" });
  expect(failed.retry).toBeGreaterThan(800);
  writeFileSync(join(folder, "up"), "");
  await daemon.event("site", "hook", ({ result }) => result === "success");
  await polls(daemon);
  expect(runs(daemon)).toHaveLength(2);
});

it("gives a hook up after its tries, until there is another revision; syncs go on", async () => {
  const folder = scratch();
  const daemon = start(folder, { postPublish: [after("exit 1")] });
  expect((await daemon.event("site", "hook")).retry).toBeUndefined();
  await polls(daemon);
  expect(runs(daemon)).toHaveLength(1);
  daemon.source("site").content = { a: "2" };
  await eventually(() => expect(runs(daemon)).toHaveLength(2));
  expect(published(folder, "a")).toBe("2");
  expect(await daemon.status("site")).toMatchObject({ failures: 0 });
});

it("runs the hooks of a list one after the other, also past one that was given up", async () => {
  const folder = scratch();
  const log = join(folder, "log");
  const step = (name: string, code = 0) =>
    after(`echo ${name} begins >> ${log}; sleep 0.1; echo ${name} ends >> ${log}; exit ${code}`);
  const daemon = start(folder, { postPublish: [step("one"), step("two", 1), step("three")] });
  const lines = ["one", "two", "three"].flatMap((name) => [`${name} begins`, `${name} ends`]);
  const seen = () => (existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : []);
  await eventually(() => expect(seen()).toEqual(lines));
  daemon.source("site").content = { a: "2" };
  await eventually(() => expect(seen()).toEqual([...lines, ...lines]));
});

it("shows a hook that failed for good, until it succeeds for a later revision", async () => {
  const folder = scratch();
  const daemon = start(folder, {
    postPublish: [after("true"), after(`test "$(cat a)" = good || { echo no; exit 1; }`)],
  });
  const { revision } = await daemon.event("site", "hook", ({ result }) => result === "failure");
  expect(await daemon.status("site")).toMatchObject({
    failures: 0,
    failedHooks: [{ hook: "/bin/sh", revision, message: "it ended with code 1: no" }],
  });
  const metric = /^pannier_failed_hooks\{mount="site"\} (\d+)$/m;
  expect(metric.exec((await daemon.get("/metrics")).text)?.[1]).toBe("1");
  daemon.source("site").content = { a: "good" };
  await eventually(async () =>
    expect(await daemon.status("site")).toMatchObject({ failedHooks: [] }),
  );
  expect(metric.exec((await daemon.get("/metrics")).text)?.[1]).toBe("0");
});

it.each([
  ["a hook after publishing", "true", 9],
  ["a hook after publishing, and before that a mount's source", "gone", 5],
])("with --once, tells by its exit code of what failed: %s", async (_, other, code) => {
  const folder = scratch();
  const hooks = { postPublish: [after("exit 1")] };
  const daemon = startDaemon(
    daemonConfig([
      mountConfig("site", join(folder, "t"), { hooks }),
      mountConfig("other", join(folder, "other")),
    ]),
    { once: true },
  );
  if (other === "gone")
    daemon.source("other").beforeList = () => {
      throw new SourceError("unavailable", "gone", { transient: false });
    };
  expect(await daemon.exit).toBe(code);
  expect(published(folder, "a")).toBe("site");
});

it("runs a hook again for a revision that is back, after it failed for another in between", async () => {
  const folder = scratch();
  const daemon = start(folder, {
    postPublish: [after(`cat a >> ${folder}/seen; test "$(cat a)" = good`)],
  });
  const seen = () => readFileSync(join(folder, "seen"), "utf8");
  daemon.source("site").content = { a: "good" };
  await daemon.event("site", "hook", ({ result }) => result === "success");
  const before = seen();
  daemon.source("site").content = { a: "bad" };
  await eventually(() => expect(seen()).toBe(`${before}bad`));
  await eventually(() => expect(runs(daemon).at(-1)).toMatchObject({ result: "failure" }));
  daemon.source("site").content = { a: "good" };
  await eventually(() => expect(seen()).toBe(`${before}badgood`));
});

it("does not let a new revision wait for the next try of the one before", async () => {
  const folder = scratch();
  const daemon = start(folder, {
    postPublish: [
      // It fails when told to, so that the revision comes while it runs.
      after(
        `cat a >> ${folder}/seen; test "$(cat a)" = new || { while ! test -e ${folder}/go; do sleep 0.02; done; exit 1; }`,
        { retries: 9 },
      ),
    ],
  });
  const seen = () => readFileSync(join(folder, "seen"), "utf8");
  await eventually(() => expect(existsSync(join(folder, "seen"))).toBe(true));
  daemon.source("site").content = { a: "new" };
  await daemon.event("site", "done", ({ result }) => result.previousRevision !== undefined);
  // Nothing that waits for a time goes on from here.
  vi.useFakeTimers({ toFake: ["setTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  writeFileSync(join(folder, "go"), "");
  await daemon.event("site", "hook", ({ result }) => result === "success");
  vi.useRealTimers();
  expect(seen()).toBe("sitenew");
});

it("runs a hook for the latest revision only, where others came while it ran", async () => {
  const folder = scratch();
  const daemon = start(folder, {
    postPublish: [
      after(`cat a >> ${folder}/seen; while ! test -e ${folder}/go; do sleep 0.02; done`),
    ],
  });
  await eventually(() => expect(existsSync(join(folder, "seen"))).toBe(true));
  for (const text of ["2", "3", "4"]) {
    daemon.source("site").content = { a: text };
    await eventually(() => expect(published(folder, "a")).toBe(text));
  }
  writeFileSync(join(folder, "go"), "");
  await eventually(() => expect(runs(daemon)).toHaveLength(2));
  await polls(daemon);
  expect(readFileSync(join(folder, "seen"), "utf8")).toBe("site4");
});

it("neither repeats nor forgets a hook over a restart", async () => {
  const folder = scratch();
  const hooks = {
    postPublish: [after(`echo ran >> ${folder}/ran; test ! -e ${folder}/fail`, { retries: 9 })],
  };
  const ran = () => readFileSync(join(folder, "ran"), "utf8").trim().split("\n").length;
  const first = start(folder, hooks);
  await first.event("site", "hook");
  await first.stop();
  const second = start(folder, hooks);
  await polls(second);
  expect(ran()).toBe(1);
  writeFileSync(join(folder, "fail"), "");
  second.source("site").content = { a: "2" };
  await second.event("site", "hook");
  await second.stop();
  expect(ran()).toBe(2);
  const third = start(folder, hooks, { contents: { site: { a: "2" } } });
  expect(await third.event("site", "hook")).toMatchObject({ result: "failure" });
  expect(ran()).toBe(3);
});

it("gives a hook under way its grace at the end, and not more", async () => {
  const folder = scratch();
  // It does something after it was told to end, and then never ends.
  const script = `cd ${folder}; echo > begun; until test -e go; do sleep 0.02; done; echo > done; sleep 1000`;
  const mount = mountConfig("site", join(folder, "t"), { hooks: { postPublish: [after(script)] } });
  const daemon = startDaemon(daemonConfig([mount], { shutdownGrace: 4000 }));
  await eventually(() => expect(existsSync(join(folder, "begun"))).toBe(true));
  const stopped = daemon.stop();
  writeFileSync(join(folder, "go"), "");
  expect(await stopped).toBe(0);
  expect(existsSync(join(folder, "done"))).toBe(true);
});

it("ends a hook that heeds no signal when the grace is over, a reload under way or not", async () => {
  const folder = scratch();
  const file = join(folder, "pannier.yaml");
  // Tells of the signal that it does not heed.
  const script = `trap 'echo > ${folder}/told' TERM; echo >> ${folder}/begun; while :; do sleep 0.05; done`;
  const config = (keep: number) =>
    daemonConfig(
      [
        mountConfig("site", join(folder, "t"), {
          hooks: { postPublish: [after(script, { timeout: 60_000 })] },
          options: { keep },
        }),
      ],
      { shutdownGrace: 4000 },
    );
  writeFileSync(file, "");
  const daemon = startDaemon(() => config(existsSync(join(folder, "begun")) ? 3 : 2), { file });
  await eventually(() => expect(existsSync(join(folder, "begun"))).toBe(true));
  writeFileSync(file, "changed");
  const took = ownTime();
  // The reload has told the hook to end.
  await eventually(() => expect(existsSync(join(folder, "told"))).toBe(true));
  expect(await daemon.stop()).toBe(0);
  expect(took()).toBeLessThan(7000);
  expect(readFileSync(join(folder, "begun"), "utf8")).toBe("\n");
});

async function listen(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const call = (url: string, more: Partial<Extract<PostPublishConfig, { url: string }>> = {}) => ({
  url,
  method: "POST",
  headers: {},
  timeout: 2000,
  retries: 5,
  ...more,
});

it("calls a URL, with its headers, until it is answered well", async () => {
  const seen: [IncomingMessage, string][] = [];
  const url = await listen(async (request, response) => {
    let body = "";
    for await (const part of request) body += String(part);
    seen.push([request, body]);
    response.writeHead(seen.length === 1 ? 503 : 204).end();
  });
  const folder = scratch();
  const hook = call(`${url.replace("//", "//ann:p%40ss@")}/-/reload?key=s3cret`, {
    headers: { "x-token": "t0ken" },
  });
  const daemon = start(folder, { postPublish: [hook] });
  const done = await daemon.event("site", "hook", ({ result }) => result === "success");
  expect(done.what).toBe(`${url}/-/reload`);
  expect(runs(daemon).map(({ message }) => message)).toEqual([
    "it was answered with status 503",
    undefined,
  ]);
  const [request, body] = seen[1] as [IncomingMessage, string];
  expect(request).toMatchObject({
    method: "POST",
    url: "/-/reload?key=s3cret",
    headers: {
      "x-token": "t0ken",
      authorization: `Basic ${Buffer.from("ann:p@ss").toString("base64")}`,
      "content-type": "application/json",
    },
  });
  expect(JSON.parse(body)).toEqual({
    mount: "site",
    revision: done.revision,
    previousRevision: null,
  });
});

it("follows no redirect with its headers, and waits for no answer for ever", async () => {
  let reached = 0;
  const other = await listen((_, response) => {
    reached++;
    response.end();
  });
  const redirecting = await listen((_, response) =>
    response.writeHead(302, { location: other }).end(),
  );
  const silent = await listen(() => {});
  const daemon = start(scratch(), {
    postPublish: [
      call(redirecting, { retries: 0, headers: { authorization: "Bearer x" } }),
      call(silent, { retries: 0, timeout: 200 }),
      call("http://127.0.0.1:1/", { retries: 0 }),
    ],
  });
  await eventually(() => expect(runs(daemon)).toHaveLength(3));
  const messages = Object.fromEntries(runs(daemon).map(({ what, message }) => [what, message]));
  expect(messages).toEqual({
    [`${redirecting}/`]: "it was answered with status 302",
    [`${silent}/`]: "it was not answered within 0.2 s",
    "http://127.0.0.1:1/": "it failed (ECONNREFUSED)",
  });
  expect(reached).toBe(0);
});

it("signals the master of a server, and not its workers", async () => {
  const folder = scratch();
  mkdirSync(join(folder, "bin"));
  const name = `pn-${process.pid}`;
  // Its own name, as a program has it, and a child of the same name.
  writeFileSync(
    join(folder, "bin", name),
    `#!/bin/sh\ntrap 'echo "$1" >> ${folder}/signalled' HUP\ntest "$1" = master && "$0" worker &\necho "$1" >> ${folder}/up\nwhile :; do sleep 0.05; done\n`,
    { mode: 0o755 },
  );
  const server = spawn(join(folder, "bin", name), ["master"], { detached: true, stdio: "ignore" });
  onTestFinished(() => void process.kill(-(server.pid as number), "SIGKILL"));
  await eventually(() =>
    expect(readFileSync(join(folder, "up"), "utf8").split("\n")).toHaveLength(3),
  );
  const daemon = start(folder, {
    postPublish: [
      { signal: "SIGHUP", process: name, retries: 0 },
      { signal: "SIGHUP", process: "no-such-program", retries: 0 },
    ],
  });
  await eventually(() => expect(runs(daemon)).toHaveLength(2));
  expect(
    runs(daemon)
      .map(({ what, result }) => [what, result])
      .toSorted(),
  ).toEqual([
    ["SIGHUP to no-such-program", "failure"],
    [`SIGHUP to ${name}`, "success"],
  ]);
  await eventually(() => expect(readFileSync(join(folder, "signalled"), "utf8")).toBe("master\n"));
});

it("says that a command is not there", async () => {
  const daemon = start(scratch(), {
    postPublish: [{ command: ["/no/such/program"], timeout: 1000, env: {}, retries: 0 }],
  });
  expect(await daemon.event("site", "hook")).toMatchObject({
    result: "failure",
    message: "it cannot be started (ENOENT)",
  });
});
