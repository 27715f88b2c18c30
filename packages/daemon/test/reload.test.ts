/** Taking a changed configuration over. */
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "@pannier/core";
import { expect, it, onTestFinished } from "vitest";
import { readConfigFile } from "../src/config/file.ts";
import type { DaemonInit } from "../src/index.ts";
import { failToOpen, neverClosing, type Running, scratch, startDaemon } from "./run-daemon.ts";
import { eventually } from "../../../test/support/eventually.ts";

const FULL = process.env["PANNIER_SCALE"] === "full";

/** A directory as the kubelet makes it of a ConfigMap: the file is a link through `..data`, which is replaced as a whole. */
function configMap(folder: string) {
  let version = 0;
  const write = (text: string) => {
    const before = `..v${version}`;
    const data = `..v${++version}`;
    mkdirSync(join(folder, data));
    writeFileSync(join(folder, data, "pannier.yaml"), text);
    symlinkSync(data, join(folder, "..data_tmp"));
    renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    rmSync(join(folder, before), { recursive: true, force: true });
  };
  return {
    write,
    first(text: string) {
      write(text);
      symlinkSync("..data/pannier.yaml", join(folder, "pannier.yaml"));
      return join(folder, "pannier.yaml");
    },
  };
}

function start(file: string, more: Partial<DaemonInit> = {}): Running {
  return startDaemon(() => readConfigFile(file, { env: {} }), { file, ...more });
}

const mount = (name: string, more = "") =>
  `  - { name: ${name}, target: targets/${name}, sources: ["memory://${name}"], period: 1h${more} }\n`;
const HTTP = "http: { host: 127.0.0.1, port: 0 }\n";
const keeping = (count: number) =>
  `mounts:\n${mount("same")}${mount("other", `, keep: ${count}`)}${HTTP}`;
const openFiles = () => readdirSync("/proc/self/fd").length;
const starts = (daemon: Running, name: string) =>
  daemon.events.filter(([of, { type }]) => of === name && type === "started").length;
const takenOver = (daemon: Running) =>
  daemon.log.filter((line) => line.startsWith("info config loaded")).length;

it("starts, stops and restarts what changed, and nothing else", async () => {
  const folder = scratch();
  const map = configMap(folder);
  const daemon = start(
    map.first(`mounts:\n${mount("same")}${mount("gone")}${mount("other")}${HTTP}`),
  );
  for (const name of ["same", "gone", "other"]) await daemon.event(name, "waiting");
  const url = await daemon.url("/status");
  map.write(`mounts:\n${mount("new")}${mount("same")}${mount("other", ", keep: 5")}${HTTP}`);
  expect(
    await daemon.logged(/"mounts":3,"started":"new","restarted":"other","stopped":"gone"/),
  ).toBeTruthy();
  await daemon.event("new", "done");
  const { mounts } = (await (await fetch(url)).json()) as { mounts: { name: string }[] };
  expect(mounts.map(({ name }) => name)).toEqual(["new", "same", "other"]);
  await eventually(() => expect(starts(daemon, "other")).toBe(2));
  expect(starts(daemon, "same")).toBe(1);
  const { text } = await daemon.get("/metrics");
  expect(text).not.toContain('mount="gone"');
  expect(text).toContain('pannier_config_reloads_total{result="success"} 1');
});

it.each([
  [
    "a mistake",
    `mounts:\n${mount("site", ", kep: 3")}${HTTP}`,
    /unknown key .*"kep".* did you mean .*"keep"/,
  ],
  ["half a file", "mounts:\n  - { name: site", /flow map/i],
  ["what the engine refuses", `mounts:\n${mount("site", ", link: a/b")}${HTTP}`, /link name/],
  [
    "a period of nothing",
    `mounts:\n${mount("site").replace("1h", "0")}${HTTP}`,
    /period: it must be greater than 0/,
  ],
  [
    "a timeout of nothing",
    `mounts:\n${mount("site", ", timeout: 0s")}${HTTP}`,
    /timeout: it must be greater than 0/,
  ],
  [
    "what an adapter refuses",
    `mounts:\n${mount("site").replace("memory://site", "memory://refused")}${HTTP}`,
    /no such ref/,
  ],
  [
    "a port that cannot be had",
    `mounts:\n${mount("site")}http: { host: 192.0.2.1, port: 9 }\n`,
    /HTTP port/,
  ],
])("refuses %s, says so, and goes on as before", async (_, text, why) => {
  const folder = scratch();
  const map = configMap(folder);
  const good = `mounts:\n${mount("site")}${HTTP}`;
  const daemon = start(map.first(good));
  await daemon.event("site", "waiting");
  failToOpen(daemon.source("refused"), new UsageError("no such ref"));
  map.write(text);
  expect(await daemon.logged(/is refused, the old one stays in force/)).toMatch(why);
  const { config } = JSON.parse((await daemon.get("/status")).text) as {
    config: { error: string };
  };
  expect(config.error).toMatch(why);
  expect(config.error).not.toContain(folder);
  expect((await daemon.get("/metrics")).text).toMatch(/^pannier_config_last_reload_successful 0$/m);
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  expect(starts(daemon, "site")).toBe(1);
  map.write(`${good}# right again\n`);
  await eventually(async () =>
    expect((await daemon.get("/metrics")).text).toMatch(
      /^pannier_config_last_reload_successful 1$/m,
    ),
  );
  expect(starts(daemon, "site")).toBe(1);
});

it("goes on although a source of the old configuration does not end, and says that it does not live", async () => {
  const map = configMap(scratch());
  const hurried = `${HTTP}shutdownGrace: 100ms\n`;
  const file = map.first(`mounts:\n${mount("site")}${hurried}`);
  const daemon = start(file, { resolveSources: neverClosing });
  await daemon.event("site", "waiting");
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  for (const keep of [3, 4]) {
    map.write(`mounts:\n${mount("site", `, keep: ${keep}`)}${hurried}`);
    await eventually(() => expect(takenOver(daemon)).toBe(keep - 1));
  }
  // It still holds the target, which only another process can have.
  expect((await daemon.event("site", "failed")).error.message).toMatch(/another Pannier/);
  expect(await daemon.get("/livez")).toEqual({ status: 503, text: "no attempt ends: site\n" });
});

it("moves to another port", async () => {
  const folder = scratch();
  const map = configMap(folder);
  const daemon = start(map.first(`mounts:\n${mount("site")}${HTTP}`));
  await daemon.event("site", "waiting");
  const before = await daemon.url("/livez");
  const other = start(configMap(scratch()).first(`mounts:\n${mount("x")}${HTTP}`));
  const { port } = new URL(await other.url("/"));
  await other.stop();
  map.write(`mounts:\n${mount("site")}http: { host: 127.0.0.1, port: ${port} }\n`);
  await eventually(async () => {
    expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
    await expect(fetch(before)).rejects.toThrow("fetch failed");
  });
  expect(starts(daemon, "site")).toBe(1);
});

it("takes a configuration over later that could not be had at first", async () => {
  const folder = scratch();
  const map = configMap(folder);
  const daemon = start(map.first(`mounts:\n${mount("site")}${HTTP}`));
  await daemon.event("site", "waiting");
  const other = start(configMap(scratch()).first(`mounts:\n${mount("x")}${HTTP}`));
  const { port } = new URL(await other.url("/"));
  map.write(`mounts:\n${mount("site")}http: { host: 127.0.0.1, port: ${port} }\n`);
  await daemon.logged(/is refused/);
  await other.stop();
  // Without it, the next look would come some seconds later.
  writeFileSync(join(folder, "another-file"), "");
  await eventually(() => expect(takenOver(daemon)).toBe(2));
  expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
  expect(daemon.log.filter((line) => line.includes("is refused"))).toHaveLength(1);
});

it("takes its configuration from a pipe, which is read once and never changes", async () => {
  const folder = scratch();
  const pipe = join(folder, "pipe");
  writeFileSync(join(folder, "text"), `mounts:\n${mount("site")}${HTTP}`);
  execFileSync("mkfifo", [pipe]);
  const writer = spawn("/bin/sh", ["-c", `cat ${folder}/text > ${pipe}`]);
  onTestFinished(() => void writer.kill());
  const daemon = start(pipe);
  await daemon.event("site", "waiting");
  // Something happens beside it: whoever read it again would wait for a writer, and all else with them.
  const file = join(folder, "pannier.yaml");
  writeFileSync(file, `mounts:\n${mount("x")}${HTTP}`);
  const beside = start(file);
  await beside.event("x", "waiting");
  writeFileSync(file, `mounts:\n${mount("y")}${HTTP}`);
  // That one looks after as long, and not before the first.
  await beside.event("y", "waiting");
  expect(await daemon.get("/livez")).toMatchObject({ status: 200 });
  expect(takenOver(daemon)).toBe(1);
});

it("bears many changes", async () => {
  const count = FULL ? 100 : 8;
  const map = configMap(scratch());
  const daemon = start(map.first(keeping(1)));
  await daemon.event("other", "waiting");
  let before = 0;
  for (let change = 1; change <= count; change++) {
    map.write(keeping(change + 1));
    await eventually(() => expect(takenOver(daemon)).toBe(change + 1));
    await eventually(() => expect(starts(daemon, "other")).toBe(change + 1));
    if (change === 5) before = openFiles();
  }
  expect(starts(daemon, "same")).toBe(1);
  expect(await daemon.get("/readyz")).toMatchObject({ status: 200 });
  await eventually(() => expect(openFiles()).toBeLessThanOrEqual(before + 3));
});
