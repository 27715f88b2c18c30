/** ConfigMaps by label: Pannier beside k8s-sidecar, on an API server of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createFaultProxy } from "@pannier/adapter-kit";
import { kube, type KubeServer, startOwnKube } from "../test/real/servers/kube.ts";
import { end, findProgram, type Ground, until } from "../test/real/servers/process.ts";
import { freePort } from "../test/support/free-port.ts";
import { type Command, markdown, median } from "./measure.ts";
import { observe } from "./process.ts";
import { pannier } from "./tools.ts";

const OBJECTS = Number(process.env["PANNIER_BENCH_FILES"] ?? 1000);
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 15);
/** Seconds in which nothing happens: k8s-sidecar begins its watch again each minute, and ours polls. */
const IDLE = 130;
/** Seconds after which something counts as never. */
const NEVER = 200;
const NAMESPACE = "bench";
const SELECTOR = "grafana_dashboard=1";

/** As large as a small dashboard. */
const textOf = (i: number, text: string) => `${text} ${`${i} `.repeat(1000)}`;

const objectOf = (i: number, text: string) => ({
  metadata: { namespace: NAMESPACE, name: `map-${i}`, labels: { grafana_dashboard: "1" } },
  data: { [`key-${i}.json`]: textOf(i, text) },
});

interface Start {
  readonly directory: string;
  readonly kubeconfig: string;
  /** Called after a change. */
  readonly reload: string;
}

interface Contestant {
  readonly name: string;
  /** As the audit log has it. */
  readonly agent: RegExp;
  command(start: Start): Promise<Command>;
  file(directory: string, i: number): string;
}

const ours: Contestant = {
  name: "`pannier run`",
  agent: /^pannier/,
  async command({ directory, kubeconfig, reload }) {
    const config = join(directory, "pannier.yaml");
    const mount = {
      name: "dashboards",
      target: join(directory, "tree"),
      sources: [`k8s://${NAMESPACE}/configmaps?selector=${encodeURIComponent(SELECTOR)}`],
      hooks: { postPublish: { url: reload } },
    };
    const port = await freePort();
    await writeFile(config, JSON.stringify({ mounts: [mount], http: { host: "127.0.0.1", port } }));
    return { ...pannier("run", "--config", config), env: { KUBECONFIG: kubeconfig } };
  },
  file: (directory, i) => join(directory, `tree/current/key-${i}.json`),
};

function sidecar(): Contestant {
  const program = (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((directory) => join(directory, "k8s-sidecar"))
    .find((path) => existsSync(path));
  if (program === undefined) throw new Error("k8s-sidecar is not in the path");
  return {
    name: "k8s-sidecar",
    agent: /python/,
    async command({ directory, kubeconfig, reload }) {
      const [LABEL = "", LABEL_VALUE = ""] = SELECTOR.split("=");
      return {
        program,
        args: [],
        env: {
          KUBECONFIG: kubeconfig,
          LABEL,
          LABEL_VALUE,
          NAMESPACE,
          FOLDER: join(directory, "tree"),
          RESOURCE: "configmap",
          METHOD: "WATCH",
          REQ_URL: reload,
          REQ_METHOD: "POST",
          REQ_PAYLOAD: "{}",
          HEALTH_HOST: "127.0.0.1",
          HEALTH_PORT: String(await freePort()),
          // The test's authority is as old ones are.
          DISABLE_X509_STRICT_VERIFICATION: "true",
        },
      };
    },
    file: (directory, i) => join(directory, `tree/key-${i}.json`),
  };
}

interface Field {
  readonly server: KubeServer;
  readonly ground: Ground;
  /** Requests for ConfigMaps until now, by the agent. */
  requests(agent: RegExp): number;
  put(i: number, text: string): Promise<unknown>;
}

/** An API server that writes down who asks for ConfigMaps, with all of them in it. */
async function makeField(ground: Ground): Promise<Field> {
  const programs = ["kube-apiserver", "etcd", "openssl"].map((name) => findProgram(name) ?? "");
  if (programs.includes("")) throw new Error("kube-apiserver, etcd and openssl are needed");
  const [policy, log] = [join(ground.base, "policy.yaml"), join(ground.base, "audit.log")];
  await writeFile(
    policy,
    JSON.stringify({
      apiVersion: "audit.k8s.io/v1",
      kind: "Policy",
      omitStages: ["RequestReceived"],
      rules: [
        { level: "Metadata", resources: [{ group: "", resources: ["configmaps"] }] },
        { level: "None" },
      ],
    }),
  );
  const server = await startOwnKube(ground, programs, {
    flags: [`--audit-policy-file=${policy}`, `--audit-log-path=${log}`],
  });
  await kube(server, "POST", "/api/v1/namespaces", { metadata: { name: NAMESPACE } });
  const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
  await all(numbers(OBJECTS), (i) => kube(server, "POST", path, objectOf(i, "first")));
  return {
    server,
    ground,
    put: (i, text) => kube(server, "PUT", `${path}/map-${i}`, objectOf(i, text)),
    requests: (agent) =>
      readFileSync(log, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as { userAgent?: string; stage: string; verb: string })
        // A watch is written down when it starts, and once more when it ends.
        .filter(({ verb, stage }) => (verb === "watch") === (stage === "ResponseStarted"))
        .filter(({ userAgent = "" }) => agent.test(userAgent)).length,
  };
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

async function all(items: number[], work: (i: number) => Promise<unknown>): Promise<void> {
  const left = [...items];
  const worker = async () => {
    for (let i = left.shift(); i !== undefined; i = left.shift()) await work(i);
  };
  await Promise.all(Array.from({ length: 16 }, worker));
}

interface Runner {
  readonly contestant: Contestant;
  readonly pid: number;
  readonly proxy: Awaited<ReturnType<typeof createFaultProxy>>;
  /** Reloads until now. */
  reloads(): number;
  shows(i: number, text: string): boolean;
  has(i: number): boolean;
}

/** Starts one that reaches the API server by a proxy of its own. */
async function startRunner({ server, ground }: Field, contestant: Contestant): Promise<Runner> {
  const directory = await mkdtemp(join(ground.base, "runner-"));
  await mkdir(join(directory, "tree"));
  const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: server.port } });
  const kubeconfig = join(directory, "kubeconfig");
  const text = readFileSync(server.kubeconfig, "utf8");
  await writeFile(kubeconfig, text.replace(`:${server.port}"`, `:${proxy.port}"`));
  let reloads = 0;
  const hooks = createServer((request, response) => {
    request.resume();
    reloads++;
    response.end("ok");
  });
  hooks.listen(0, "127.0.0.1");
  hooks.unref();
  await once(hooks, "listening");
  const reload = `http://127.0.0.1:${(hooks.address() as AddressInfo).port}/reload`;
  const command = await contestant.command({ directory, kubeconfig, reload });
  const child: ChildProcess = spawn(command.program, command.args, {
    env: { ...process.env, ...command.env },
    stdio: [
      "ignore",
      "ignore",
      process.env["PANNIER_BENCH_LOG"] === undefined ? "ignore" : "inherit",
    ],
    detached: true,
  });
  ground.children.push(child);
  const read = (i: number) => {
    const file = contestant.file(directory, i);
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  };
  return {
    contestant,
    pid: child.pid as number,
    proxy,
    reloads: () => reloads,
    shows: (i, shown) => read(i) === textOf(i, shown),
    has: (i) => read(i) !== undefined,
  };
}

/** MiB: the most that was resident, what is now, and what of that is the process's own. */
function memory(pid: number): { peak: number; resident: number; own: number } {
  const [status, rollup] = ["status", "smaps_rollup"].map((name) =>
    readFileSync(`/proc/${pid}/${name}`, "utf8"),
  ) as [string, string];
  return {
    peak: mebibytes(status, "VmHWM"),
    resident: mebibytes(status, "VmRSS"),
    own: mebibytes(rollup, "Private_Dirty") + mebibytes(rollup, "Private_Clean"),
  };
}

function mebibytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1]) / 1024;
}

/** Seconds until something is so; `Infinity` where it never is. */
async function secondsUntil(done: () => boolean, patience = NEVER): Promise<number> {
  const began = performance.now();
  const passed = () => (performance.now() - began) / 1000;
  while (!done()) {
    if (passed() > patience) return Infinity;
    await delay(1);
  }
  return passed();
}

const seconds = (value: number) =>
  value === Infinity ? "never" : value.toFixed(value < 10 ? 2 : 0);
const ms = (values: readonly number[]) =>
  [Math.min(...values), median(values), Math.max(...values)]
    .map((value) => (value * 1000).toFixed(0))
    .join(" / ");

/** From its start until the tree is whole, then one change after the other. */
async function firstAndChanges(field: Field, contestant: Contestant) {
  const { agent } = contestant;
  const before = field.requests(agent);
  const began = performance.now();
  const runner = await startRunner(field, contestant);
  const last = await secondsUntil(() => numbers(OBJECTS).every((i) => runner.has(i)));
  if (last === Infinity) throw new Error(`${contestant.name} does not come to an end`);
  const wall = (performance.now() - began) / 1000;
  const { cpu } = observe(runner.pid);
  const first = {
    wall,
    cpu,
    peak: memory(runner.pid).peak,
    requests: field.requests(agent) - before,
  };
  // The watch begins.
  await field.put(0, contestant.name);
  await secondsUntil(() => runner.shows(0, contestant.name));
  await delay(5000);

  const took: number[] = [];
  const textIn = (round: number) => `round ${round} of ${contestant.name}`;
  const asked = field.requests(agent);
  const busy = observe(runner.pid).cpu;
  for (const round of numbers(ROUNDS)) {
    const i = 1 + ((round * 37) % (OBJECTS - 1));
    const put = field.put(i, textIn(round));
    took.push(await secondsUntil(() => runner.shows(i, textIn(round))));
    await put;
    await delay(500);
  }
  const changes = {
    took,
    requests: (field.requests(agent) - asked) / ROUNDS,
    cpu: (observe(runner.pid).cpu - busy) / ROUNDS,
  };
  process.stderr.write(`  ${contestant.name}: ${JSON.stringify({ first, changes })}\n`);
  return { runner, first, changes };
}

/** What each does while nothing happens; at the same time. */
async function idle(field: Field, runners: readonly Runner[]) {
  const look = () =>
    runners.map(({ pid, contestant: { agent } }) => ({
      cpu: observe(pid).cpu,
      requests: field.requests(agent),
    }));
  const before = look();
  await delay(IDLE * 1000);
  return look().map(({ cpu, requests }, index) => ({
    cpu: ((cpu - (before[index]?.cpu ?? 0)) * 60) / IDLE,
    requests: ((requests - (before[index]?.requests ?? 0)) * 60) / IDLE,
    ...memory((runners[index] as Runner).pid),
  }));
}

/** A hundred changes at once: reloads, and seconds until the last file is there. */
async function storm(field: Field, runners: readonly Runner[]) {
  const before = runners.map(({ reloads }) => reloads());
  const changed = numbers(100);
  const began = performance.now();
  await all(changed, (i) => field.put(i, "storm"));
  const took = await Promise.all(
    runners.map(async ({ shows }) => {
      const whole = await secondsUntil(() => changed.every((i) => shows(i, "storm")));
      return whole === Infinity ? whole : (performance.now() - began) / 1000;
    }),
  );
  // The last reload comes after the last file.
  await delay(5000);
  return runners.map(({ reloads }, index) => ({
    reloads: reloads() - (before[index] ?? 0),
    seconds: took[index] as number,
  }));
}

/** An object is deleted while the API server cannot be reached. */
async function missedDeletion(field: Field, runners: readonly Runner[]) {
  await Promise.all(runners.map(({ proxy }) => proxy.set({ refuse: true })));
  await kube(
    field.server,
    "DELETE",
    `/api/v1/namespaces/${NAMESPACE}/configmaps/map-${OBJECTS - 1}`,
  );
  await Promise.all(runners.map(({ proxy }) => proxy.set({})));
  return Promise.all(runners.map(({ has }) => secondsUntil(() => !has(OBJECTS - 1))));
}

/** The watch's connection says nothing more, from a change on. */
async function deadWatch(field: Field, runners: readonly Runner[]) {
  await Promise.all(runners.map(({ proxy }) => proxy.set({ stallAfter: 0, times: 1 })));
  await field.put(5, "unheard");
  return Promise.all(runners.map(({ shows }) => secondsUntil(() => shows(5, "unheard"))));
}

export async function k8s(): Promise<string> {
  const contestants = [ours, sidecar()];
  const ground: Ground = { base: await mkdtemp(join(tmpdir(), "pannier-bench-")), children: [] };
  const measured: Awaited<ReturnType<typeof firstAndChanges>>[] = [];
  try {
    const field = await makeField(ground);
    for (const contestant of contestants) measured.push(await firstAndChanges(field, contestant));
    const runners = measured.map(({ runner }) => runner);
    const quiet = await idle(field, runners);
    const stormed = await storm(field, runners);
    const deleted = await missedDeletion(field, runners);
    // Both have a watch again.
    await field.put(6, "again");
    await until("the watch", async () => runners.every(({ shows }) => shows(6, "again")), 200_000);
    await delay(5000);
    const unheard = await deadWatch(field, runners);
    process.stderr.write(`  ${JSON.stringify({ quiet, stormed, deleted, unheard })}\n`);

    const names = ["", ...contestants.map(({ name }) => name)];
    const of = <Key extends "first" | "changes">(key: Key) => measured.map((one) => one[key]);
    return [
      markdown(names, [
        ["start to the whole tree, s", ...of("first").map(({ wall }) => seconds(wall))],
        ["… requests", ...of("first").map(({ requests }) => String(requests))],
        ["… CPU s", ...of("first").map(({ cpu }) => cpu.toFixed(2))],
        ["… peak MiB", ...of("first").map(({ peak }) => peak.toFixed(0))],
        [
          "change to the file, ms (min / median / max)",
          ...of("changes").map(({ took }) => ms(took)),
        ],
        ["… requests", ...of("changes").map(({ requests }) => requests.toFixed(1))],
        ["… CPU ms", ...of("changes").map(({ cpu }) => (cpu * 1000).toFixed(0))],
        ["idle: CPU ms a minute", ...quiet.map(({ cpu }) => (cpu * 1000).toFixed(0))],
        ["… requests a minute", ...quiet.map(({ requests }) => requests.toFixed(1))],
        ["… MiB resident", ...quiet.map(({ resident }) => resident.toFixed(0))],
        ["… MiB of its own", ...quiet.map(({ own }) => own.toFixed(0))],
      ]),
      "What goes wrong with watches, and a storm:",
      markdown(names, [
        ["100 changes at once: reloads", ...stormed.map(({ reloads }) => String(reloads))],
        ["… s until the last file", ...stormed.map((one) => seconds(one.seconds))],
        ["deleted while the connection was cut: s until the file is gone", ...deleted.map(seconds)],
        ["changed while the watch was dead: s until the file is there", ...unheard.map(seconds)],
      ]),
    ].join("\n\n");
  } finally {
    await Promise.all(ground.children.map(end));
    await Promise.all(measured.map(({ runner }) => runner.proxy.close()));
    await rm(ground.base, { recursive: true, force: true });
  }
}
