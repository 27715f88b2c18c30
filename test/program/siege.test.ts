/** The sidecar under siege: whatever is done to its port, its probes are answered, and its memory stays. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { constants, setPriority } from "node:os";
import { join } from "node:path";
import { file } from "@pannier/adapter-file";
import { sync } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { COMPILE_CACHE, FROM_SOURCES } from "../support/from-sources.ts";
import { startPannier } from "../support/pannier.ts";
import { workDirectory } from "./support.ts";
import { eventually } from "../support/eventually.ts";
import { ownTime } from "../support/own-time.ts";

const FULL = process.env["PANNIER_SCALE"] === "full";
/** Milliseconds of each siege. */
const LENGTH = FULL ? 10_000 : 1500;
/** Revisions of the history that is asked for. */
const REVISIONS = FULL ? 250 : 60;
const MIB = 1 << 20;

/** As `bin/pannier.js` starts a sidecar. */
const SMALL = {
  flags: ["--max-semi-space-size=1", "--optimize-for-size"],
  env: {
    MALLOC_ARENA_MAX: "1",
    MALLOC_TRIM_THRESHOLD_: "65536",
    MALLOC_MMAP_THRESHOLD_: "65536",
  },
};

interface Sidecar {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly port: number;
  /** Resident memory in bytes. */
  memory(): number;
}

async function start(config: string, cwd: string, ready = "/readyz"): Promise<Sidecar> {
  writeFileSync(join(cwd, "pannier.yaml"), config);
  const { child } = startPannier(["run", "--http=127.0.0.1:0"], { cwd, ...SMALL });
  onTestFinished(() => void child.kill("SIGKILL"));
  let log = "";
  child.stderr?.on("data", (text: string) => (log += text));
  const port = await eventually(() => {
    const [, found] = /listening on 127\.0\.0\.1:(\d+)/.exec(log) ?? [];
    if (found === undefined) throw new Error(`it does not listen: ${log}`);
    return Number(found);
  });
  const pid = child.pid as number;
  const memory = () => {
    const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return Number(kib) * 1024;
  };
  await eventually(async () => expect((await probe({ port, pid }, ready)).status).toBe(200));
  return { child, pid, port, memory };
}

async function attack(port: number, mode: string, count: number): Promise<ChildProcess> {
  const { child } = await startHelper("attacker.ts", `${port}`, mode, `${count}`);
  // It would not be on this machine, and does not take the sidecar's processors.
  setPriority(child.pid as number, constants.priority.PRIORITY_LOW);
  return child;
}

/** A process that says something once it is ready. */
async function startHelper(name: string, ...args: readonly string[]) {
  const program = join(import.meta.dirname, name);
  const child = spawn(process.execPath, [...FROM_SOURCES, program, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...COMPILE_CACHE },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const [said] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
  return { child, said: said.trim() };
}

/** As the kubelet does it: a connection of its own for each. @returns also how many milliseconds the sidecar took */
function probe(
  { port, pid }: Pick<Sidecar, "port" | "pid">,
  path: string,
): Promise<{ readonly status: number | string; readonly took: number }> {
  return new Promise((resolve) => {
    const took = ownTime(pid, process.pid);
    const socket = connect(port, "127.0.0.1");
    const end = (status: number | string) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ status, took: took() });
    };
    const timer = setTimeout(end, 30_000, "no answer");
    socket.on("error", (error) => end(error.message));
    socket.on("close", () => end("closed"));
    socket.once("data", (data) => end(Number(/^HTTP\/1\.1 (\d+)/.exec(data.toString())?.[1])));
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
  });
}

/** Probes ten times a second while the siege lasts. @returns the answers that were not 200, and by how much the memory grew at most */
async function endure(sidecar: Sidecar, mode: string, count: number) {
  const before = sidecar.memory();
  const attacker = await attack(sidecar.port, mode, count);
  const found = await look(sidecar, before);
  attacker.kill("SIGKILL");
  return found;
}

async function look(sidecar: Sidecar, before: number) {
  const wrong: unknown[] = [];
  let answered = 0;
  let most = before;
  const end = performance.now() + LENGTH;
  const probes: Promise<void>[] = [];
  const ask = async () => {
    const { status, took } = await probe(sidecar, "/livez");
    // What the kubelet gives it.
    if (status === 200 && took < 1000) answered++;
    else wrong.push([status, took]);
  };
  while (performance.now() < end || probes.length < 10) {
    probes.push(ask());
    most = Math.max(most, sidecar.memory());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await Promise.all(probes);
  return { wrong, answered, grown: most - before };
}

const mount = (name: string) => `{ name: ${name}, target: t/${name}, sources: [source] }`;

async function simple(more = ""): Promise<Sidecar> {
  const folder = await workDirectory();
  mkdirSync(join(folder, "source"));
  writeFileSync(join(folder, "source/a"), "1");
  writeFileSync(join(folder, "secret"), "hooked");
  return start(`mounts: [${mount("site")}]\n${more}`, folder);
}

const secret = "http: { webhookSecretFile: secret }\n";

const options = { timeout: 300_000 };

test.each([
  ["idle", 500, ""],
  ["headers", 500, ""],
  ["body", 500, secret],
  ["events", 500, ""],
  ["slowloris", 250, ""],
  ["unread", 250, ""],
  ["/metrics", 200, ""],
])(
  "probes are answered through sockets of whoever sends %s, %d of them",
  options,
  async (mode, count, more) => {
    const { wrong, answered, grown } = await endure(await simple(more), mode, count);
    expect(wrong).toEqual([]);
    expect(answered).toBeGreaterThan(5);
    expect(grown).toBeLessThan(40 * MIB);
  },
);

test.each([
  ["with a secret", secret],
  ["without one", ""],
])("webhooks of 1 MiB, 250 at a time, cost no memory: %s", options, async (_, more) => {
  const { wrong, answered, grown } = await endure(await simple(more), "webhooks", 250);
  expect(wrong).toEqual([]);
  expect(answered).toBeGreaterThan(5);
  expect(grown).toBeLessThan(40 * MIB);
});

test("a history is told 5 and 100 times a second, beside probes", options, async () => {
  const folder = await workDirectory();
  mkdirSync(join(folder, "source"));
  for (let index = 0; index < 200; index++) writeFileSync(join(folder, `source/${index}`), "1");
  const sources = [file(join(folder, "source"))];
  for (let revision = 0; revision < REVISIONS; revision++) {
    writeFileSync(join(folder, "source/0"), `${revision}`.padStart(revision, "x"));
    await sync({ sources, target: join(folder, "t/site"), keep: 60 });
  }
  const sidecar = await start(
    `mounts: [{ name: site, target: t/site, sources: [source], keep: 60 }]`,
    folder,
  );
  const response = await fetch(`http://127.0.0.1:${sidecar.port}/history/site`);
  const { history } = (await response.json()) as { history: { changes: unknown[] }[] };
  expect(history.map(({ changes }) => changes)).toEqual(
    Array.from({ length: 50 }, () => [{ change: "changed", path: "0" }]),
  );
  for (const rate of [5, 100]) {
    const { wrong, answered } = await endure(sidecar, "/history/site", rate);
    expect(wrong).toEqual([]);
    expect(answered).toBeGreaterThan(5);
  }
});

test("a hundred mounts, whose metrics are asked for 100 times a second", options, async () => {
  const folder = await workDirectory();
  mkdirSync(join(folder, "source"));
  writeFileSync(join(folder, "source/a"), "1");
  const mounts = Array.from({ length: 100 }, (_, index) => mount(`m${index}`));
  const sidecar = await start(`mounts: [${mounts.join(", ")}]\n`, folder);
  const { wrong, answered } = await endure(sidecar, "/metrics", 100);
  expect(wrong).toEqual([]);
  expect(answered).toBeGreaterThan(5);
});

test.each(["http", "ftp"])(
  "a listing without end, by %s, holds up nothing else",
  options,
  async (scheme) => {
    const { said } = await startHelper("endless.ts");
    const [http, ftp] = said.split(" ");
    const url = `${scheme}://127.0.0.1:${scheme === "http" ? http : ftp}/`;
    const folder = await workDirectory();
    mkdirSync(join(folder, "source"));
    writeFileSync(join(folder, "source/a"), "1");
    const sidecar = await start(
      `mounts:
  - ${mount("site").replace(" }", ", period: 100ms }")}
  - { name: hostile, target: t/hostile, sources: ["${url}"], timeout: 6s }
`,
      folder,
      "/livez",
    );
    const { wrong, answered, grown } = await look(sidecar, sidecar.memory());
    expect(wrong).toEqual([]);
    expect(answered).toBeGreaterThan(5);
    expect(grown).toBeLessThan(150 * MIB);
    writeFileSync(join(folder, "source/a"), "two");
    await eventually(() =>
      expect(readFileSync(join(folder, "t/site/current/a"), "utf8")).toBe("two"),
    );
    const took = ownTime();
    sidecar.child.kill("SIGTERM");
    await once(sidecar.child, "exit");
    // Not what the listing may take.
    expect(took()).toBeLessThan(5000);
  },
);
