/** The k8s adapter against kube-apiserver and etcd. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { createFaultProxy, describeAdapter, listAll, openSource } from "@pannier/adapter-kit";
import { k8s } from "@pannier/adapter-k8s";
import { follow, sync } from "@pannier/core";
import * as vitest from "vitest";
import type { ObjectInit } from "../../packages/adapter-k8s/test/api-server.ts";
import { harnessFor, kubeconfigFor, type Writer } from "../../packages/adapter-k8s/test/stores.ts";
import { describeOutcome, startPannier } from "../support/pannier.ts";
import { kube, KUBE_START, type KubeServer, startOwnKube } from "./servers/kube.ts";
import { end, findProgram, type Ground } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const { expect, onTestFinished, test } = vitest;

type Resource = "configmaps" | "secrets";

/** As many requests at once as an API server takes from one user without holding any back. */
const AT_ONCE = 32;

function writerOf(server: KubeServer): Writer {
  return {
    port: server.port,
    token: server.adminToken,
    caFile: server.caFile,
    put: (resource, object) => put(server, resource, object),
    async delete(resource, namespace, name) {
      const path = `/api/v1/namespaces/${namespace}/${resource}/${name}`;
      await kube(server, "DELETE", path).catch((error: Error) => {
        if (!error.message.includes(": 404 ")) throw error;
      });
    },
  };
}

async function put(server: KubeServer, resource: Resource, object: ObjectInit): Promise<void> {
  const { namespace, name } = object.metadata;
  const path = `/api/v1/namespaces/${namespace}/${resource}`;
  await kube(server, "PUT", `${path}/${name}`, object).catch(async (error: Error) => {
    if (!error.message.includes(": 404 ")) throw error;
    await kube(server, "POST", path, object);
  });
}

async function all<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>) {
  const left = [...items];
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** As {@link all}. @returns how often nothing was done for so long that a storm of changes may be over */
async function inARow<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>) {
  let pauses = 0;
  let last = performance.now();
  await all(items, async (item) => {
    await work(item);
    const now = performance.now();
    if (now - last > 50) pauses++;
    last = now;
  });
  return pauses;
}

let namespaces = 0;

async function newNamespace(server: KubeServer): Promise<string> {
  const name = `test-${process.pid}-${++namespaces}`;
  await kube(server, "POST", "/api/v1/namespaces", { metadata: { name } });
  return name;
}

const mapOf = (namespace: string, i: number, text: string): ObjectInit => ({
  metadata: { namespace, name: `map-${i}`, labels: { app: "site" } },
  data: { [`key-${i}`]: text },
});

function target(): string {
  const directory = mkdtempSync(join(tmpdir(), "pannier-k8s-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

function sourceOf(server: KubeServer, namespace: string, port = server.port) {
  const kubeconfig = kubeconfigFor(port, { token: server.adminToken, caFile: server.caFile });
  return k8s(`k8s://${namespace}/configmaps?selector=app%3Dsite`, { kubeconfig });
}

/** All files of a tree with their content and mode. */
function treeOf(directory: string): Record<string, readonly [content: string, mode: number]> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    names
      .map((name) => [name, statSync(join(directory, name))] as const)
      .filter(([, status]) => status.isFile())
      .map(([name, { mode }]) => [name, [readFileSync(join(directory, name), "latin1"), mode]]),
  );
}

/** What a reload hook is told: the revisions, in order. */
async function startReloads() {
  const revisions: string[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const { revision } = JSON.parse(await readText(request)) as { revision: string };
      revisions.push(revision);
      response.end();
    })();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/reload`, revisions };
}

/** The sidecar with mounts of the same ConfigMaps, and without a poll. */
async function startSidecar(
  server: KubeServer,
  namespace: string,
  names: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
) {
  const directory = target();
  const mounts = names.map((name) => ({
    name,
    target: join(directory, name),
    sources: [`k8s://${namespace}/configmaps?selector=app%3Dsite`],
    period: "1h",
    ...more,
  }));
  const config = { mounts, http: { enabled: false } };
  await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
  const { child, ended } = startPannier(["run"], {
    cwd: directory,
    env: { KUBECONFIG: server.kubeconfig },
  });
  onTestFinished(async () => {
    child.kill("SIGTERM");
    const outcome = await ended;
    expect(outcome.code, describeOutcome(outcome)).toBe(0);
  });
  return {
    current: (name: string) => join(directory, name, "current"),
    text(name: string, i: number) {
      const file = join(directory, name, `current/key-${i}`);
      return existsSync(file) ? readFileSync(file, "utf8") : undefined;
    },
  };
}

/** Follows, and counts what is published. */
function followed(source: ReturnType<typeof sourceOf>, period: string) {
  const to = target();
  const stop = new AbortController();
  const seen = {
    published: 0,
    synced: 0,
    requests: 0,
    errors: [] as string[],
    to,
    read: (name: string) => {
      const file = join(to, "current", name);
      return existsSync(file) ? readFileSync(file, "utf8") : undefined;
    },
    text: (i: number): string | undefined => seen.read(`key-${i}`),
    names: () => readdirSync(join(to, "current")),
  };
  const running = (async () => {
    const events = follow({ sources: [source], target: to, period }, { signal: stop.signal });
    for await (const event of events) {
      if (event.type === "published") seen.published++;
      // A sync that finds nothing new has asked the server.
      if (event.type === "done" && event.result.result === "published")
        seen.requests += event.result.requests;
      if (event.type === "waiting") seen.synced++;
      if (event.type === "failed") seen.errors.push(event.error.message);
    }
  })();
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  return seen;
}

describeWith("kube", "Kubernetes", (server) => {
  vitest.describe.each(["configmaps", "secrets"] as const)("%s", (resource) => {
    describeAdapter(
      vitest,
      harnessFor(writerOf(server), resource, { network: "tcp", integrity: true }),
      // An object takes 1 MiB, with the names of its keys.
      { largeFile: 1_000_000, manyFiles: 1100, idleTimeout: 1000, timeout: 120_000 },
    );
  });

  test("names the verb and the resource that RBAC refuses, and needs three verbs", async () => {
    const namespace = await newNamespace(server);
    await put(server, "configmaps", mapOf(namespace, 1, "1"));
    const kubeconfig = kubeconfigFor(server.port, { ...server, token: server.tokens.reader });
    const source = k8s(`k8s://${namespace}/configmaps`, { kubeconfig });
    const to = target();
    const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
    const grant = (verbs: readonly string[]) =>
      kube(server, "PUT", `${rbac}/roles/reader`, {
        metadata: { name: "reader" },
        rules: [{ apiGroups: [""], resources: ["configmaps"], verbs }],
      });
    await kube(server, "POST", `${rbac}/roles`, { metadata: { name: "reader" }, rules: [] });
    await kube(server, "POST", `${rbac}/rolebindings`, {
      metadata: { name: "reader" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reader" },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "reader" }],
    });
    const attempt = () => sync({ sources: [source], target: to });
    await expect(attempt()).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringContaining(
        `may not list configmaps in the namespace ${namespace}`,
      ) as string,
    });
    await grant(["list"]);
    // The authorizer has its own watch on the roles.
    await expect.poll(attempt).toMatchObject({ result: "published" });
    await expect(attempt()).rejects.toThrow(/may not watch configmaps .*cannot watch resource/);
    await grant(["get", "list", "watch"]);
    await expect.poll(() => attempt().catch(String)).toMatchObject({ result: "unchanged" });
  });

  test("10,000 ConfigMaps", { timeout: 600_000 }, async () => {
    const namespace = await newNamespace(server);
    const numbers = Array.from({ length: 10_000 }, (_, i) => i);
    await all(numbers, (i) => put(server, "configmaps", mapOf(namespace, i, `${i}`)));
    const to = target();
    const first = await sync({ sources: [sourceOf(server, namespace)], target: to });
    // A probe, and pages of 500.
    expect(first).toMatchObject({ added: 10_000, requests: 21 });
    const second = await sync({ sources: [sourceOf(server, namespace)], target: to });
    expect(second).toMatchObject({ result: "unchanged", requests: 1 });
    await put(server, "configmaps", mapOf(namespace, 4321, "changed"));
    const third = await sync({ sources: [sourceOf(server, namespace)], target: to });
    expect(third).toMatchObject({ added: 0, changed: 1, deleted: 0 });
    console.log(
      JSON.stringify(
        [first, second, third].map(({ requests, duration }) => ({ requests, duration })),
      ),
    );
  });

  test("a hundred changes in a row are no hundred publishes, and one change comes at once", async () => {
    const namespace = await newNamespace(server);
    const numbers = Array.from({ length: 100 }, (_, i) => i);
    await all(numbers, (i) => put(server, "configmaps", mapOf(namespace, i, "before")));
    const seen = followed(sourceOf(server, namespace), "1h");
    await expect.poll(() => seen.published).toBe(1);
    // What comes without a poll came by the watch: it is there.
    await put(server, "configmaps", mapOf(namespace, 0, "ready"));
    await expect.poll(() => seen.text(0)).toBe("ready");
    const pauses = await inARow(numbers, (i) =>
      put(server, "configmaps", mapOf(namespace, i, "after")),
    );
    await expect.poll(() => numbers.every((i) => seen.text(i) === "after")).toBe(true);
    // One, but for pauses of the machine between two of them.
    expect(seen.published).toBeLessThanOrEqual(6 + pauses);
    const before = seen.published;

    const took: number[] = [];
    for (let round = 0; round < 7; round++) {
      const began = performance.now();
      await put(server, "configmaps", mapOf(namespace, 7, `round ${round}`));
      while (seen.text(7) !== `round ${round}`) await new Promise((done) => setTimeout(done, 5));
      took.push(performance.now() - began);
    }
    console.log(
      "from a change to the tree, in ms:",
      took.map(Math.round).toSorted((a, b) => a - b),
    );
    await kube(server, "DELETE", `/api/v1/namespaces/${namespace}/configmaps/map-7`);
    await expect.poll(() => seen.names()).not.toContain("key-7");
    expect(seen.published).toBe(before + 8);
  });

  test.each(["configmaps", "secrets"] as const)(
    "%s: what the watch brings makes the tree that a listing makes, without a request",
    async (resource) => {
      const namespace = await newNamespace(server);
      const kubeconfig = kubeconfigFor(server.port, { ...server, token: server.adminToken });
      const source = k8s(`k8s://${namespace}/${resource}`, { kubeconfig, selector: "app=site" });
      const value = (text: string) => (resource === "secrets" ? btoa(text) : text);
      const write = (name: string, keys: Record<string, string>, more: object = {}) => {
        const data = Object.fromEntries(Object.entries(keys).map(([key, v]) => [key, value(v)]));
        const metadata = { namespace, name, labels: { app: "site" }, ...more };
        return put(server, resource, { metadata, data });
      };
      const remove = (name: string) => writerOf(server).delete(resource, namespace, name);
      const path = `/api/v1/namespaces/${namespace}/${resource}`;
      for (const i of [1, 2, 3, 4, 5]) await write(`o-${i}`, { [`k-${i}`]: "0", [`l-${i}`]: "0" });
      const seen = followed(source, "1h");
      await expect.poll(() => seen.published).toBe(1);
      let rounds = 0;
      const settled = async () => {
        await write("marker", { marker: String(++rounds) });
        await expect.poll(() => seen.read("marker")).toBe(String(rounds));
      };
      // The first may need a listing still: the watch began after what was listed.
      let before: number;
      do {
        before = seen.requests;
        await settled();
      } while (seen.requests > before);
      const steps: readonly (() => Promise<unknown>)[] = [
        () => write("o-1", { "k-1": "changed" }),
        () => remove("o-2"),
        () => write("o-2", { "k-2": "again" }, { annotations: { "pannier.dev/folder": "sub" } }),
        () => write("o-3", { "k-3": "0" }, { labels: { app: "other" } }),
        () => write("o-3", { "k-3": "back" }),
        () => remove("o-4").then(() => write("o-6", { "k-4": "0", "k-5-new": "1" })),
        () => write("o-6", {}).then(() => write("o-5", { "k-4": "taken" })),
        () => kube(server, "PATCH", `${path}/o-5`, { immutable: true }),
        () => remove("o-5").then(() => write("o-5", { "k-5": "replaced" })),
        ...(resource === "secrets"
          ? []
          : [() => kube(server, "PATCH", `${path}/o-1`, { binaryData: { bytes: "AP8K" } })]),
        () => kube(server, "DELETE", `${path}?labelSelector=app%3Dsite`),
        () => write("o-1", { "k-1": "new" }),
      ];
      for (const step of steps) {
        before = seen.requests;
        await step();
        await settled();
        const to = target();
        await sync({ sources: [source], target: to });
        expect(treeOf(join(seen.to, "current"))).toEqual(treeOf(join(to, "current")));
        expect(seen.requests - before, "requests").toBe(0);
      }
      expect(seen.errors).toEqual([]);
    },
  );

  test("a hundred changes are one reload, and it comes after the last of them", async () => {
    const namespace = await newNamespace(server);
    const numbers = Array.from({ length: 100 }, (_, i) => i);
    await all(numbers, (i) => put(server, "configmaps", mapOf(namespace, i, "before")));
    const { url, revisions } = await startReloads();
    const hooks = { postPublish: { url } };
    const sidecar = await startSidecar(server, namespace, ["site"], { hooks });
    const published = () => basename(readlinkSync(sidecar.current("site")));
    await expect.poll(() => revisions.length).toBe(1);
    // What comes without a poll came by the watch: it is there.
    await put(server, "configmaps", mapOf(namespace, 0, "ready"));
    await expect.poll(() => revisions.length).toBe(2);
    const pauses = await inARow(numbers, (i) =>
      put(server, "configmaps", mapOf(namespace, i, "after")),
    );
    await expect.poll(() => numbers.filter((i) => sidecar.text("site", i) !== "after")).toEqual([]);
    await expect.poll(() => revisions.at(-1)).toBe(published());
    // One, but for pauses of a busy machine between two changes.
    const reloads = revisions.length - 2;
    console.log(`reloads of a hundred changes: ${reloads}, and ${pauses} pauses`);
    expect(reloads).toBeLessThanOrEqual(10 + pauses);
    expect(new Set(revisions).size, revisions.join()).toBe(revisions.length);
  });

  test("one change reaches a hundred mounts of one process", async () => {
    const namespace = await newNamespace(server);
    const numbers = Array.from({ length: 20 }, (_, i) => i);
    await all(numbers, (i) => put(server, "configmaps", mapOf(namespace, i, "before")));
    const names = Array.from({ length: 100 }, (_, i) => `mount-${i}`);
    const sidecar = await startSidecar(server, namespace, names);
    const show = (text: string) => names.every((name) => sidecar.text(name, 7) === text);
    const options = { interval: 5 };
    await expect.poll(() => show("before"), options).toBe(true);
    const took: number[] = [];
    for (let round = 0; round < 4; round++) {
      const began = performance.now();
      await put(server, "configmaps", mapOf(namespace, 7, `round ${round}`));
      await expect.poll(() => show(`round ${round}`), options).toBe(true);
      // In the first, watches may still begin.
      if (round > 0) took.push(performance.now() - began);
    }
    const sorted = took.map(Math.round).toSorted((a, b) => a - b);
    console.log("from a change to a hundred trees, in ms:", sorted);
    // A second on a machine with nothing else to do.
    expect(sorted[1]).toBeLessThan(60_000);
  });

  test("notices a deletion that happened while the watch was cut", async () => {
    const namespace = await newNamespace(server);
    for (const i of [1, 2, 3]) await put(server, "configmaps", mapOf(namespace, i, "0"));
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: server.port } });
    onTestFinished(() => proxy.close());
    // Nothing but the watch can tell it.
    const seen = followed(sourceOf(server, namespace, proxy.port), "1h");
    await put(server, "configmaps", mapOf(namespace, 1, "1"));
    await expect.poll(() => seen.text(1)).toBe("1");
    await proxy.set({ refuse: true });
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    await kube(server, "DELETE", `${path}/map-2`);
    await proxy.set({});
    await expect.poll(() => seen.names().toSorted()).toEqual(["key-1", "key-3"]);
    // Where the watch is silent, a poll tells.
    const polling = followed(sourceOf(server, namespace, proxy.port), "2s");
    await expect.poll(() => polling.synced).toBeGreaterThan(1);
    await proxy.set({ stallAfter: 0, times: 4 });
    await kube(server, "DELETE", `${path}/map-3`);
    await expect.poll(() => polling.names()).toEqual(["key-1"]);
  });

  test("goes on where the watch is cut or dead", async () => {
    const namespace = await newNamespace(server);
    await put(server, "configmaps", mapOf(namespace, 1, "0"));
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: server.port } });
    onTestFinished(() => proxy.close());
    const watching = followed(sourceOf(server, namespace, proxy.port), "1h");
    const polling = followed(sourceOf(server, namespace, proxy.port), "2s");
    await expect.poll(() => [watching.synced > 0, polling.synced > 1]).toEqual([true, true]);
    await proxy.set({ refuse: true });
    await put(server, "configmaps", mapOf(namespace, 1, "1"));
    await new Promise((done) => setTimeout(done, 500));
    await proxy.set({});
    await expect.poll(() => [watching.text(1), polling.text(1)]).toEqual(["1", "1"]);
    // What is open now is silent from here on, and so are new connections, but for the poll's later ones.
    await proxy.set({ stallAfter: 0, times: 4 });
    await put(server, "configmaps", mapOf(namespace, 1, "2"));
    await expect.poll(() => polling.text(1)).toBe("2");
  });
});

describeWith("kube", "Kubernetes, started again", () => {
  test(
    "notices what happened while the API server was away, and what it forgot",
    { timeout: KUBE_START },
    async () => {
      const ground: Ground = { base: await mkdtemp(join(tmpdir(), "pannier-kube-")), children: [] };
      onTestFinished(async () => {
        await Promise.all(ground.children.map(end));
        await rm(ground.base, { recursive: true });
      });
      const programs = ["kube-apiserver", "etcd", "openssl"].map((name) => findProgram(name) ?? "");
      const server = await startOwnKube(ground, programs);
      await put(server, "configmaps", mapOf("default", 1, "0"));
      await put(server, "configmaps", mapOf("default", 2, "0"));
      await put(server, "configmaps", mapOf("default", 3, "0"));
      const seen = followed(sourceOf(server, "default"), "1s");
      const watching = followed(sourceOf(server, "default"), "1h");
      await expect.poll(() => [seen.text(1), watching.text(1)]).toEqual(["0", "0"]);
      await end(server.apiServer);
      await expect.poll(() => seen.errors.length).toBeGreaterThan(0);
      // It vanishes while nobody could tell: behind the API server's back.
      execFileSync(findProgram("etcdctl") ?? "", [
        `--endpoints=http://127.0.0.1:${server.etcdPort}`,
        "del",
        "/registry/configmaps/default/map-3",
      ]);
      await server.restart();
      await expect.poll(() => watching.text(3)).toBeUndefined();
      await kube(server, "DELETE", "/api/v1/namespaces/default/configmaps/map-2");
      await put(server, "configmaps", mapOf("default", 1, "1"));
      for (const follower of [seen, watching]) {
        await expect
          .poll(() => [1, 2, 3].map((i) => follower.text(i)))
          .toEqual(["1", undefined, undefined]);
      }

      // A listing that was published before the server forgot: 410.
      const to = target();
      const syncOnce = () => sync({ sources: [sourceOf(server, "default")], target: to });
      await syncOnce();
      await put(server, "configmaps", mapOf("default", 1, "2"));
      const { metadata } = (await kube(server, "GET", "/api/v1/namespaces/default/configmaps")) as {
        metadata: { resourceVersion: string };
      };
      execFileSync(
        findProgram("etcdctl") ?? "",
        [`--endpoints=http://127.0.0.1:${server.etcdPort}`, "compact", metadata.resourceVersion],
        { env: { ...process.env, ETCDCTL_API: "3" }, stdio: "pipe" },
      );
      // Its cache of what happened is gone with it.
      await end(server.apiServer);
      await end(ground.children.at(-1) ?? server.apiServer);
      await server.restart();
      const { source } = await openSource(sourceOf(server, "default"));
      onTestFinished(() => source.close());
      const { listing } = await listAll(source);
      expect(await syncOnce()).toMatchObject({ result: "published", changed: 1 });
      const { signal } = new AbortController();
      expect(await source.probe(signal, "default=2")).toBeUndefined();
      expect(await source.probe(signal, listing.token?.())).toEqual({ token: listing.token?.() });
    },
  );
});
